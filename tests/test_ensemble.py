"""Who votes, who runs, how votes are joined, which rule is chosen and what it costs."""

import dataclasses
import itertools
import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from specialists.baselines import Budget
from specialists.calibration import Calibration
from specialists.combination import (
    FittedDustbin,
    LearnedCombination,
    combine,
    concatenate_subsets,
    cross_fitted,
    cross_fitted_dustbins,
    fit_combination,
    fit_dustbin,
    within_subsets,
)
from specialists.config import CombinationConfig
from specialists.distillation import HARD_TRIALS
from specialists.ensemble import (
    PAPER,
    Candidate,
    Choice,
    CombinationRule,
    Ensemble,
    KeptRows,
    MemberPredictions,
    active_specialists,
    affordable,
    choose,
    choose_rule,
    cost_sample,
    join,
    score,
    score_rules,
)
from specialists.ensemble.judging import Judge, deferral_limit
from specialists.errors import DamagedError
from specialists.predictions import DensePredictions
from specialists.specialist import Specialist
from specialists.training import TrainingCost

C, DIM = 8, 5
SUBSETS = [torch.tensor([0, 1]), torch.tensor([2, 5, 6]), torch.tensor([1, 2])]
NUMBERS = LearnedCombination(
    torch.tensor([0.5, 2.0, 3.0]).double(), 0.8, torch.tensor([1.2, 1.0, 0.7]).double()
)
DUSTBIN = FittedDustbin(0.4, 0.7, 0.3)
RULES = [
    PAPER,
    CombinationRule("kl", 3, 2.0),
    CombinationRule("kl", None),
    CombinationRule("side_by_side", 2),
    CombinationRule("within_subsets", 2, 4.0),
    CombinationRule("learned", 3, 1.0, NUMBERS),
    CombinationRule("kl", None, members=(2, 0)),
    CombinationRule("learned", 2, 1.0, NUMBERS, members=(1,)),
    CombinationRule("kl", 2, 2.0, defer_above=0.5),
    CombinationRule("kl", 2, 4.0, dustbin=DUSTBIN),
    CombinationRule("side_by_side", None, members=(0, 2), defer_above=0.4),
]
RULE_NAMES = [
    f"{rule.method}-{rule.n}-{rule.members}-{rule.defer_above}-{rule.dustbin is not None}"
    for rule in RULES
]


class Spy(nn.Module):
    """A linear layer that remembers how many rows it was given at a time."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(DIM, n_outputs)
        self.rows: list[int] = []

    def forward(self, x):
        self.rows.append(len(x))
        return self.layer(x)


def made(lower: nn.Module | None = None, rule: CombinationRule = PAPER) -> Ensemble:
    torch.manual_seed(0)
    specialists = [
        Specialist(Spy(len(subset) + 1), subset, Calibration(0.5, 1.5, 0.1), TrainingCost(100, 1e3))
        for subset in SUBSETS
    ]
    upper = nn.Linear(DIM, C)
    nn.init.normal_(upper.weight, std=2.0)
    return Ensemble(upper, specialists, rule, 1.7, lower)


def inputs(n: int = 40) -> torch.Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(1))


def rows_seen(ensemble: Ensemble) -> list[int]:
    return [sum(member.network.rows) for member in ensemble.specialists]  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 2, 5, 8, 100, None])
def test_the_most_probable_classes_select_the_specialists_that_hold_them(n):
    log_probs = F.log_softmax(inputs() @ torch.randn(DIM, C), dim=-1)
    active = active_specialists(DensePredictions(log_probs), SUBSETS, CombinationRule("kl", n))
    for row, votes in zip(log_probs, active, strict=True):
        best = set(row.argsort(descending=True)[: C if n is None else n].tolist())
        expected = [n is None or bool(best & set(subset.tolist())) for subset in SUBSETS]
        assert votes.tolist() == expected


def test_a_row_whose_best_class_nobody_covers_has_no_active_specialist():
    log_probs = torch.full((1, C), -5.0).index_fill(1, torch.tensor([3]), -0.01)
    generalist = DensePredictions(log_probs.log_softmax(1))
    assert not active_specialists(generalist, SUBSETS, PAPER).any()
    specialists = [torch.full((1, len(s) + 1), -1.0).log_softmax(1) for s in SUBSETS]
    q = join(generalist, specialists, SUBSETS, torch.zeros(1, 3, dtype=torch.bool), PAPER)
    torch.testing.assert_close(q.dense(), generalist.dense())


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_specialists_run_on_the_rows_where_they_are_active_and_on_no_others(rule):
    ensemble = made(rule=rule)
    ensemble.predictions(inputs())
    generalist = ensemble.generalist_predictions(inputs())
    active = active_specialists(generalist, SUBSETS, rule)
    assert rows_seen(ensemble) == active.sum(0).tolist()


def test_a_specialist_that_nobody_asks_does_not_run():
    ensemble = made()
    ensemble.specialist_log_probs(inputs(), torch.zeros(40, 3, dtype=torch.bool))
    assert rows_seen(ensemble) == [0, 0, 0]


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
@pytest.mark.parametrize("at_a_time", [7, 8192])
def test_what_an_ensemble_says_is_its_parts_joined(rule, at_a_time, monkeypatch):
    monkeypatch.setattr("specialists.ensemble.members.ROWS_AT_A_TIME", at_a_time)
    lower = nn.Sequential(nn.Linear(DIM, DIM), nn.Tanh())
    ensemble, x = made(lower, rule), inputs()
    with torch.no_grad():
        features = lower(x)
        generalist = F.log_softmax(ensemble.upper(features) / 1.7, dim=-1)
        each = [s.calibration.log_probs(s.network(features)) for s in ensemble.specialists]
    active = active_specialists(DensePredictions(generalist), SUBSETS, rule)
    if rule.dustbin is not None:
        each = rule.dustbin.mended(generalist, each, SUBSETS, active)
    if rule.method == "kl":
        weights = torch.full((3,), rule.weight)
        expected = combine(generalist, each, SUBSETS, active, weights).log_probs
    elif rule.method == "learned":
        temperatures = zip(each, (1.2, 1.0, 0.7), strict=True)
        generalist = F.log_softmax(generalist / 0.8, dim=-1)
        each = [F.log_softmax(x / t, dim=-1) for x, t in temperatures]
        weights = torch.tensor([0.5, 2.0, 3.0])
        expected = combine(generalist, each, SUBSETS, active, weights).log_probs
    elif rule.method == "within_subsets":
        expected = within_subsets(generalist, each, SUBSETS, active, weight=4.0)
    else:
        expected = concatenate_subsets(generalist, each, SUBSETS, active)
    found = ensemble.predictions(x).dense()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(40))


def test_specialists_influence_what_the_ensemble_says():
    ensemble = made(rule=CombinationRule("kl", None))
    before = ensemble.predictions(inputs()).dense()
    nn.init.normal_(ensemble.specialists[1].network.layer.weight, std=3.0)  # type: ignore
    after = ensemble.predictions(inputs()).dense()
    assert float((before.exp() - after.exp()).abs().max()) > 0.05


@pytest.mark.parametrize("members", [(), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("n", [1, 3, None])
def test_only_members_vote(members, n):
    log_probs = F.log_softmax(inputs() @ torch.randn(DIM, C), dim=-1)
    active = active_specialists(
        DensePredictions(log_probs), SUBSETS, CombinationRule("kl", n, members=members)
    )
    everyone = active_specialists(DensePredictions(log_probs), SUBSETS, CombinationRule("kl", n))
    allowed = torch.tensor([m in members for m in range(3)])
    assert torch.equal(active, everyone & allowed)


@pytest.mark.parametrize(
    "rule", [CombinationRule("kl", 2), CombinationRule("side_by_side", None, members=(0, 2))]
)
def test_a_generalist_that_is_sure_enough_answers_alone(rule):
    found, _ = predictions()
    cascade = dataclasses.replace(rule, defer_above=0.5)
    sure = found.generalist.dense().exp().amax(1) > 0.5
    assert 0 < sure.sum() < len(sure)
    everywhere = found.active(rule)
    assert torch.equal(found.active(cascade), everywhere & ~sure[:, None])
    joined, asked = found.joined(cascade), found.joined(rule)
    torch.testing.assert_close(joined[sure].dense(), found.generalist[sure].dense())
    torch.testing.assert_close(joined[~sure].dense(), asked[~sure].dense())
    assert found.flops(cascade) < found.flops(rule)


@pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 0.99])
def test_a_limit_defers_the_least_sure_rows_and_that_share_of_them(share):
    found, _ = predictions()
    limit = deferral_limit(found.generalist, share)
    n = math.ceil(share * 200)
    last, surer = found.generalist.dense().double().exp().amax(1).sort().values[n - 1 : n + 1]
    assert limit == pytest.approx(float(last + surer) / 2)
    assert found.active(CombinationRule("kl", None, defer_above=limit)).any(1).sum() == n
    assert deferral_limit(found.generalist, 1.0) is None


def test_rows_that_are_equally_sure_are_deferred_together_whatever_rounding_does():
    sure, unsure = torch.full((1, C), 0.05 / (C - 1)), torch.full((1, C), 0.5 / (C - 1))
    sure[0, 0], unsure[0, 0] = 0.95, 0.5
    log_probs = torch.cat([unsure] * 8 + [sure] * 2).log()
    log_probs[:4] += 1e-7
    generalist = DensePredictions(log_probs)
    limit = deferral_limit(generalist, 0.2)
    assert limit == pytest.approx(0.725)
    active = active_specialists(generalist, SUBSETS, CombinationRule("kl", None, defer_above=limit))
    assert active.all(1).tolist() == [True] * 8 + [False] * 2
    assert deferral_limit(generalist, 0.9) is None
    assert deferral_limit(generalist[:1], 0.01) is None


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_without_members_the_ensemble_is_exactly_its_generalist(rule):
    nobody = dataclasses.replace(rule, members=())
    ensemble, found = made(rule=nobody), predictions()[0]
    expected = ensemble.generalist_predictions(inputs()).dense()
    assert torch.equal(ensemble.predictions(inputs()).dense(), expected)
    assert rows_seen(ensemble) == [0, 0, 0]
    assert found.joined(nobody) is found.generalist
    assert found.flops(nobody) == found.generalist_flops
    assert ensemble.members == []
    assert ensemble.parameters == DIM * C + C
    assert nobody.in_words() == "the generalist alone"
    assert CombinationRule.from_dict(json.loads(json.dumps(nobody.to_dict()))).members == ()


def test_the_papers_rule_is_one_class_and_weight_one():
    assert CombinationRule("kl", 1, 1.0) == PAPER
    assert PAPER.to_dict() == {"rule": "kl", "n": 1, "weight": 1.0}


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_a_rule_is_read_back_as_it_was_written(rule):
    written = json.loads(json.dumps({**rule.to_dict(), "top1": 0.5}))
    again = CombinationRule.from_dict(written)
    assert again.to_dict() == rule.to_dict()
    assert ("learned" in written) == (rule.method == "learned")
    found = predictions(30)[0]
    assert torch.equal(found.joined(again).dense(), found.joined(rule).dense())


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            PAPER,
            "the KL combination, asking the specialists of each row's most probable class, "
            "each with the generalist's weight",
        ),
        (
            CombinationRule("kl", 3, 0.5),
            "each row's 3 most probable classes, each with 0.5 times the generalist's weight",
        ),
        (
            CombinationRule("within_subsets", None, 2.0),
            "averaged within subsets, asking every specialist, each with 2 times",
        ),
        (
            CombinationRule("learned", None, 2.0, NUMBERS),
            "with learned weights and temperatures, asking every",
        ),
        (
            CombinationRule("side_by_side", 2),
            "subset parts side by side, asking the specialists of each row's 2 most",
        ),
        (
            CombinationRule("kl", None, members=(4,)),
            "asking every specialist, each with the generalist's weight, specialist 4 only",
        ),
        (CombinationRule("kl", None, members=(0, 2, 5)), "weight, specialists 0, 2 and 5 only"),
        (
            CombinationRule("kl", 1, members=tuple(range(15))),
            "specialists 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ",
        ),
        (CombinationRule("kl", 1, members=tuple(range(15))), "11 and 3 more only"),
        (
            CombinationRule("kl", 1, defer_above=0.99987),
            "; where the generalist is more than 99.99% sure, it answers alone",
        ),
        (
            CombinationRule("kl", 1, 4.0, dustbin=DUSTBIN, members=(0, 2)),
            "each with 4 times the generalist's weight, what they say of all other classes fitted "
            "on the rows where they are asked, specialists 0 and 2 only",
        ),
        (
            CombinationRule("kl", 1, defer_above=0.4567),
            "; where the generalist is more than 45.7% sure, it answers alone",
        ),
    ],
)
def test_a_rule_is_told_in_words(rule, words):
    assert words in rule.in_words()
    assert ("'s weight" in rule.in_words()) == (rule.method in ("kl", "within_subsets"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (PAPER, "kl, n = 1, weight 1"),
        (CombinationRule("side_by_side", None), "side_by_side, n = all"),
        (
            CombinationRule("within_subsets", 3, 0.5, members=(2, 4), defer_above=0.975),
            "within_subsets, n = 3, weight 0.5, 2 specialists, alone above 97.5%",
        ),
        (CombinationRule("kl", 2, defer_above=0.9999), "kl, n = 2, weight 1, alone above 99.99%"),
        (CombinationRule("kl", 1, 4.0, dustbin=DUSTBIN), "kl, n = 1, weight 4, fitted dustbins"),
    ],
)
def test_a_rule_is_told_in_short(rule, words):
    assert rule.in_short() == words


def test_parameters_count_the_shared_trunk_once():
    upper = DIM * C + C
    specialists = sum((DIM + 1) * (len(subset) + 1) for subset in SUBSETS)
    every = CombinationRule("kl", None)
    assert made(rule=every).parameters == upper + specialists
    assert made(nn.Linear(DIM, DIM), every).parameters == upper + specialists + DIM * DIM + DIM


def test_flops_are_the_generalists_and_those_of_the_active_specialists():
    generalist, each = made(nn.Linear(DIM, DIM)).flops(inputs())
    assert generalist == 2 * DIM * DIM + 2 * DIM * C
    assert each.tolist() == [2 * DIM * 3, 2 * DIM * 4, 2 * DIM * 3]
    found = made(nn.Linear(DIM, DIM)).member_predictions(inputs(60))
    active = found.active(CombinationRule("kl", 1))
    assert 0 < active.sum() < active.numel()
    asked = float((active * each).sum(1).mean())
    assert found.flops(CombinationRule("kl", 1)) == pytest.approx(generalist + asked)


def predictions(n: int = 200) -> tuple[MemberPredictions, torch.Tensor]:
    found = made().member_predictions(inputs(n))
    labels = torch.multinomial(
        found.joined(CombinationRule("kl", 2, 1.0)).dense().exp(),
        1,
        generator=torch.Generator().manual_seed(0),
    )
    return found, labels.squeeze(1)


SETTINGS = CombinationConfig(n=(1, 2), weights=(0.5, 1.0), deferral=(1.0, 0.4), max_cost=1.9)


def test_every_rule_is_judged_once_with_its_cost():
    found, labels = predictions()
    candidates = score_rules(found, labels, SETTINGS)
    fixed = [candidate for candidate in candidates if candidate.rule.method != "learned"]
    limit = deferral_limit(found.generalist, 0.4)
    shares = {1: (None, limit), 2: (None, limit), None: (None,)}
    assert [(c.rule.method, c.rule.n, c.rule.weight, c.rule.defer_above) for c in fixed] == [
        *(("kl", n, v, s) for n in (1, 2, None) for v in (0.5, 1.0) for s in shares[n]),
        *(("within_subsets", n, v, s) for n in (1, 2, None) for v in (0.5, 1.0) for s in shares[n]),
        *(("side_by_side", n, 1.0, s) for n in (1, 2, None) for s in shares[n]),
    ]
    reference = score(found.generalist, labels)["nll"]
    for candidate in fixed:
        rule, active = candidate.rule, found.active(candidate.rule)
        q = found.joined(rule).dense()
        assert (rule.dustbin is not None) == (rule.method == "kl" and rule.n is not None)
        if rule.dustbin is not None:  # fitted on every row, judged by what others fitted
            everywhere = found.active(CombinationRule("kl", rule.n))
            data = (found.generalist.dense(), found.specialists, SUBSETS, labels, everywhere)
            assert rule.dustbin == fit_dustbin(*data)
            unseen = cross_fitted_dustbins(*data)
            plain = dataclasses.replace(rule, dustbin=None)
            q = join(found.generalist, unseen, SUBSETS, active, plain).dense()
        assert candidate.top1 == float((q.argmax(1) == labels).double().mean())
        assert candidate.nll == pytest.approx(float(F.nll_loss(q, labels)), rel=1e-5)
        assert candidate.relative_cost == found.flops(rule) / found.generalist_flops
        assert candidate.eligible == (candidate.relative_cost <= 1.9)
        assert candidate.lowers_nll == (candidate.nll <= reference)
    assert {c.eligible for c in candidates} == {True, False}


def test_a_learned_rule_starts_from_the_best_weight_and_is_judged_by_rows_that_it_did_not_see():
    found, labels = predictions()
    settings = CombinationConfig(n=(1, 2), weights=(0.25, 1.0), max_cost=100.0)
    candidates = score_rules(found, labels, settings)
    learned = [candidate for candidate in candidates if candidate.rule.method == "learned"]
    assert [candidate.rule.n for candidate in learned] == [1, 2, None]
    for candidate in learned:
        n, active = candidate.rule.n, found.active(candidate.rule)
        kl = [
            c
            for c in candidates
            if (c.rule.method, c.rule.n) == ("kl", n) and c.rule.defer_above is None
        ]
        best = min(kl, key=lambda c: c.nll)
        assert candidate.rule.weight == best.rule.weight
        members = (found.generalist.dense(), found.specialists, SUBSETS)
        data = (*members, labels, active, best.rule.weight)
        assert candidate.rule.learned is not None
        assert candidate.rule.learned.to_dict() == fit_combination(*data).to_dict()
        unseen = score(DensePredictions(cross_fitted(*data)), labels)
        assert {"top1": candidate.top1, "nll": candidate.nll} == unseen
        assert candidate.in_sample is not None
        assert candidate.in_sample["nll"] <= best.nll
        assert candidate.in_sample == score(found.joined(candidate.rule), labels)
        assert candidate.lowers_nll == (unseen["nll"] <= score(found.generalist, labels)["nll"])


def test_the_best_weight_is_that_for_every_row_wherever_there_is_one():
    found, labels = predictions()
    some = {"rules": ("kl", "learned"), "n": (1,), "weights": (2.0, 4.0)}
    for deferral in ((1.0, 0.15), (0.15,)):
        config = CombinationConfig(deferral=deferral, max_cost=100.0, **some)
        candidates = score_rules(found, labels, config)
        kl = [c for c in candidates if (c.rule.method, c.rule.n) == ("kl", 1)]
        every = [c for c in kl if c.rule.defer_above is None]
        assert len(every) == (2 if 1.0 in deferral else 0)
        learned = next(c for c in candidates if c.rule.method == "learned")
        assert learned.rule.weight == min(every or kl, key=lambda c: c.nll).rule.weight


def test_equal_limits_are_one_candidate():
    found, labels = predictions()
    config = CombinationConfig(rules=("kl",), n=(1,), weights=(1.0,), deferral=(0.5, 0.4999, 1.0))
    assert len(score_rules(found, labels, config)) == 3


def test_the_cost_of_a_rule_is_that_of_its_members():
    found, labels = predictions()
    judge = Judge(found, labels, 1.9)
    rules = [
        CombinationRule("kl", 2),
        CombinationRule("kl", 2, members=(1,)),
        CombinationRule("kl", 2, defer_above=0.5),
    ]
    costs = [judge(rule, found.joined(rule)).inference_flops for rule in rules]
    assert costs == [found.flops(rule) for rule in rules]
    assert len(set(costs)) == 3


@pytest.mark.parametrize(
    ("settings", "learned"),
    [
        ({"max_cost": 1.7}, [1]),
        ({"max_cost": 1.0}, []),
        ({"max_cost": 1.0, "deferral": (1.0,)}, [1]),
        ({"max_cost": 100.0}, [1, 2, None]),
        ({"max_cost": 1.0, "rules": ("learned",)}, [1, 2, None]),
        ({"rules": ("kl", "side_by_side")}, []),
    ],
)
def test_only_what_can_be_chosen_is_learned(settings, learned):
    found, labels = predictions(60)
    assert found.flops(PAPER) < 1.7 * found.generalist_flops < found.flops(CombinationRule("kl", 2))
    config = CombinationConfig(n=(1, 2), weights=(1.0,), **settings)
    candidates = score_rules(found, labels, config)
    assert [c.rule.n for c in candidates if c.rule.method == "learned"] == learned
    assert any(candidate.rule.n is None for candidate in candidates)


def candidate(top1=0.5, nll=1.0, lowers_nll=True, flops=1.0, eligible=True) -> Candidate:
    costs = {"inference_flops": flops, "relative_cost": flops, "eligible": eligible}
    return Candidate(**vars(PAPER), top1=top1, nll=nll, lowers_nll=lowers_nll, **costs)


@pytest.mark.parametrize(
    ("select_by", "pool", "chosen"),
    [
        ("top1", [(0.5, 1.0, True), (0.6, 1.1, True), (0.6, 1.05, True)], 2),
        ("nll", [(0.5, 1.0, True), (0.6, 1.1, True), (0.6, 1.05, True)], 0),
        ("top1", [(0.5, 1.0, True), (0.9, 3.0, False)], 0),
        ("top1", [(0.5, 2.0, False), (0.9, 3.0, False)], 1),
    ],
)
def test_the_best_is_chosen_among_those_that_are_no_less_sure_of_the_truth(select_by, pool, chosen):
    candidates = list(itertools.starmap(candidate, pool))
    settings = CombinationConfig(select_by=select_by)
    assert choose(candidates, settings) is candidates[chosen]


def test_costs_are_sampled_evenly_from_first_to_last():
    x = torch.arange(5000)
    torch.testing.assert_close(cost_sample(x, 3), torch.tensor([0, 2499, 4999]))
    torch.testing.assert_close(cost_sample(x[:2]), x[:2])


def budget(further: float, inference: float = 1.0, generalist: float = 1.0) -> Budget:
    """Of an ensemble whose rest saw a thousand times as many examples as its generalist."""
    costs = TrainingCost(7, 100.0), TrainingCost(7000, further)
    return Budget(*costs, inference, generalist, inference / generalist)


@pytest.mark.parametrize(("specialists", "n"), [(1, 2), (100, 2), (101, 3), (0, 1)])
def test_as_many_generalists_are_averaged_as_the_same_flops_would_train(specialists, n):
    assert budget(specialists).n_generalists == n


@pytest.mark.parametrize(
    ("flops", "n"), [(10.0, 1), (10.1, 1), (10.3, 2), (20.1, 2), (20.5, 3), (31.0, 4), (200.0, 5)]
)
def test_as_many_of_them_are_asked_as_the_ensembles_inference_pays_for(flops, n):
    assert budget(400, flops, 10.0).n_asked == n


def test_hard_trials_differ_and_begin_with_the_recipe_itself():
    assert HARD_TRIALS[0] == (1.0, 0.0)
    assert len(set(HARD_TRIALS)) == len(HARD_TRIALS) >= 24


def test_member_predictions_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        predictions(3)[0].generalist_flops = 0.0  # type: ignore[misc]


def test_where_no_rule_is_affordable_the_cheapest_stands_in():
    dear = [candidate(flops=flops, eligible=False) for flops in (9.0, 4.0, 7.0)]
    assert affordable(dear) == [dear[1]]
    assert affordable([*dear, dear[1]]) == [dear[1]] * 2
    cheap = candidate(flops=9.0)
    assert affordable([cheap, *dear]) == [cheap]


@pytest.mark.parametrize("kept", [None, 60])
@pytest.mark.parametrize("needs_test", [True, False])
def test_a_choice_is_read_back_as_it_was_written(kept, needs_test):
    found, labels = predictions()
    rows = None
    if kept is not None:
        index = torch.arange(kept)
        rows = KeptRows(found.select(index), labels[index], index // 2)
    choice = choose_rule(found, labels, SETTINGS, rows, needs_test=needs_test)
    written = json.loads(json.dumps(choice.to_dict(), allow_nan=False))
    again = Choice.from_dict(written)
    assert again.to_dict() == choice.to_dict() == written
    assert again.chosen.to_dict() == again.admission.rule.to_dict() == written["chosen"]
    assert choice.admission.outcome == (
        "refused" if kept is None and needs_test else "not tested" if kept is None else "admitted"
    )


def test_the_ensemble_costs_at_most_the_limit_and_the_others_what_they_cost():
    found, labels = predictions()
    choice = choose_rule(found, labels, SETTINGS)
    assert all(choice.rules[name].dustbin is None for name in ("ensemble_paper", "ensemble_all"))
    pool = affordable(score_rules(found, labels, SETTINGS))
    assert choice.chosen.to_dict() == choose(pool, SETTINGS).rule.to_dict()
    assert choice.within_max_cost
    assert choice.relative_cost == found.flops(choice.chosen) / found.generalist_flops <= 1.9
    assert choice.rules["ensemble_paper"] is PAPER
    assert choice.rules["ensemble_all"].n is None
    assert choice.asked == float(found.active(choice.chosen).any(1).double().mean())


def test_a_damaged_rule_is_told_in_the_words_of_what_is_wrong():
    numbers = {"weights": ["x"], "temperatures": [1.0], "generalist_temperature": 1.0}
    with pytest.raises(DamagedError, match="this CombinationRule is damaged: too many dimensions"):
        CombinationRule.from_dict({"rule": "learned", "n": 1, "learned": numbers})
