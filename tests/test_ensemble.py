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
    LearnedCombination,
    combine,
    concatenate_subsets,
    cross_fitted,
    fit_combination,
    within_subsets,
)
from specialists.config import CombinationConfig
from specialists.distillation import HARD_TRIALS
from specialists.ensemble import (
    PAPER,
    Ensemble,
    Rule,
    Votes,
    active_specialists,
    affordable,
    choose,
    cost_sample,
    join,
    judge_candidates,
    mean_flops,
    score,
)
from specialists.ensemble.candidates import Judge, deferral_limit
from specialists.specialist import Specialist
from specialists.training import TrainingCost

C, DIM = 8, 5
SUBSETS = [torch.tensor([0, 1]), torch.tensor([2, 5, 6]), torch.tensor([1, 2])]
NUMBERS = LearnedCombination(
    torch.tensor([0.5, 2.0, 3.0]).double(), 0.8, torch.tensor([1.2, 1.0, 0.7]).double()
)
RULES = [
    PAPER,
    Rule("kl", 3, 2.0),
    Rule("kl", None),
    Rule("side_by_side", 2),
    Rule("within_subsets", 2, 4.0),
    Rule("learned", 3, 1.0, NUMBERS),
    Rule("kl", None, members=(2, 0)),
    Rule("learned", 2, 1.0, NUMBERS, members=(1,)),
    Rule("kl", 2, 2.0, confidence=0.5),
    Rule("side_by_side", None, members=(0, 2), confidence=0.4),
]
RULE_NAMES = [f"{rule.rule}-{rule.n}-{rule.members}-{rule.confidence}" for rule in RULES]


class Spy(nn.Module):
    """A linear layer that remembers how many rows it was given at a time."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(DIM, n_outputs)
        self.rows: list[int] = []

    def forward(self, x):
        self.rows.append(len(x))
        return self.layer(x)


def made(lower: nn.Module | None = None) -> Ensemble:
    torch.manual_seed(0)
    specialists = [
        Specialist(Spy(len(subset) + 1), subset, Calibration(0.5, 1.5, 0.1), TrainingCost(100, 1e3))
        for subset in SUBSETS
    ]
    upper = nn.Linear(DIM, C)
    nn.init.normal_(upper.weight, std=2.0)
    return Ensemble(lower, upper, 1.7, specialists, C)


def inputs(n: int = 40) -> torch.Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(1))


def rows_seen(ensemble: Ensemble) -> list[int]:
    return [sum(member.network.rows) for member in ensemble.specialists]  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 2, 5, 8, 100, None])
def test_the_most_probable_classes_select_the_specialists_that_hold_them(n):
    log_probs = F.log_softmax(inputs() @ torch.randn(DIM, C), dim=-1)
    active = active_specialists(log_probs, SUBSETS, Rule("kl", n))
    for row, votes in zip(log_probs, active, strict=True):
        best = set(row.argsort(descending=True)[: C if n is None else n].tolist())
        expected = [n is None or bool(best & set(subset.tolist())) for subset in SUBSETS]
        assert votes.tolist() == expected


def test_a_row_whose_best_class_nobody_covers_has_no_active_specialist():
    log_probs = torch.full((1, C), -5.0).index_fill(1, torch.tensor([3]), -0.01)
    assert not active_specialists(log_probs, SUBSETS, PAPER).any()
    specialists = [torch.full((1, len(s) + 1), -1.0).log_softmax(1) for s in SUBSETS]
    q = join(
        log_probs.log_softmax(1), specialists, SUBSETS, torch.zeros(1, 3, dtype=torch.bool), PAPER
    )
    torch.testing.assert_close(q, log_probs.log_softmax(1))


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_specialists_run_on_the_rows_where_they_are_active_and_on_no_others(rule):
    ensemble = made()
    ensemble.log_probs(inputs(), rule)
    generalist = ensemble.generalist_log_probs(inputs())
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
    ensemble, x = made(lower), inputs()
    with torch.no_grad():
        features = lower(x)
        generalist = F.log_softmax(ensemble.upper(features) / 1.7, dim=-1)
        each = [s.calibration.log_probs(s.network(features)) for s in ensemble.specialists]
    active = active_specialists(generalist, SUBSETS, rule)
    if rule.rule == "kl":
        weights = torch.full((3,), rule.weight)
        expected = combine(generalist, each, SUBSETS, active, weights).log_probs
    elif rule.rule == "learned":
        temperatures = zip(each, (1.2, 1.0, 0.7), strict=True)
        generalist = F.log_softmax(generalist / 0.8, dim=-1)
        each = [F.log_softmax(x / t, dim=-1) for x, t in temperatures]
        weights = torch.tensor([0.5, 2.0, 3.0])
        expected = combine(generalist, each, SUBSETS, active, weights).log_probs
    elif rule.rule == "within_subsets":
        expected = within_subsets(generalist, each, SUBSETS, active, weight=4.0)
    else:
        expected = concatenate_subsets(generalist, each, SUBSETS, active)
    found = ensemble.log_probs(x, rule)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(40))


def test_specialists_influence_what_the_ensemble_says():
    ensemble = made()
    before = ensemble.log_probs(inputs(), Rule("kl", None))
    nn.init.normal_(ensemble.specialists[1].network.layer.weight, std=3.0)  # type: ignore
    after = ensemble.log_probs(inputs(), Rule("kl", None))
    assert float((before.exp() - after.exp()).abs().max()) > 0.05


@pytest.mark.parametrize("members", [(), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("n", [1, 3, None])
def test_only_members_vote(members, n):
    log_probs = F.log_softmax(inputs() @ torch.randn(DIM, C), dim=-1)
    active = active_specialists(log_probs, SUBSETS, Rule("kl", n, members=members))
    everyone = active_specialists(log_probs, SUBSETS, Rule("kl", n))
    allowed = torch.tensor([m in members for m in range(3)])
    assert torch.equal(active, everyone & allowed)


@pytest.mark.parametrize("rule", [Rule("kl", 2), Rule("side_by_side", None, members=(0, 2))])
def test_a_generalist_that_is_sure_enough_answers_alone(rule):
    found, _ = votes()
    cascade = dataclasses.replace(rule, confidence=0.5)
    sure = found.generalist.exp().amax(1) > 0.5
    assert 0 < sure.sum() < len(sure)
    everywhere = found.active(rule)
    assert torch.equal(found.active(cascade), everywhere & ~sure[:, None])
    joined, asked = found.joined(cascade), found.joined(rule)
    torch.testing.assert_close(joined[sure], found.generalist[sure])
    torch.testing.assert_close(joined[~sure], asked[~sure])
    assert found.flops(cascade) < found.flops(rule)


@pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 0.99])
def test_a_limit_defers_the_least_sure_rows_and_that_share_of_them(share):
    found, _ = votes()
    limit = deferral_limit(found.generalist, share)
    n = math.ceil(share * 200)
    last, surer = found.generalist.double().exp().amax(1).sort().values[n - 1 : n + 1]
    assert limit == pytest.approx(float(last + surer) / 2)
    assert found.active(Rule("kl", None, confidence=limit)).any(1).sum() == n
    assert deferral_limit(found.generalist, 1.0) is None


def test_rows_that_are_equally_sure_are_deferred_together_whatever_rounding_does():
    sure, unsure = torch.full((1, C), 0.05 / (C - 1)), torch.full((1, C), 0.5 / (C - 1))
    sure[0, 0], unsure[0, 0] = 0.95, 0.5
    generalist = torch.cat([unsure] * 8 + [sure] * 2).log()
    generalist[:4] += 1e-7
    limit = deferral_limit(generalist, 0.2)
    assert limit == pytest.approx(0.725)
    active = active_specialists(generalist, SUBSETS, Rule("kl", None, confidence=limit))
    assert active.all(1).tolist() == [True] * 8 + [False] * 2
    assert deferral_limit(generalist, 0.9) is None
    assert deferral_limit(generalist[:1], 0.01) is None


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_without_members_the_ensemble_is_exactly_its_generalist(rule):
    nobody = dataclasses.replace(rule, members=())
    ensemble, found = made(), votes()[0]
    expected = ensemble.generalist_log_probs(inputs())
    assert torch.equal(ensemble.log_probs(inputs(), nobody), expected)
    assert rows_seen(ensemble) == [0, 0, 0]
    assert torch.equal(found.joined(nobody), found.generalist)
    assert found.flops(nobody) == found.generalist_flops
    assert ensemble.of(nobody.members).parameters == DIM * C + C
    assert ensemble.of(None) is ensemble
    assert nobody.in_words() == "the generalist alone"
    assert Rule.from_dict(json.loads(json.dumps(nobody.to_dict()))).members == ()


def test_the_papers_rule_is_one_class_and_weight_one():
    assert Rule("kl", 1, 1.0) == PAPER
    assert PAPER.to_dict() == {"rule": "kl", "n": 1, "weight": 1.0}


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_a_rule_is_read_back_as_it_was_written(rule):
    written = json.loads(json.dumps({**rule.to_dict(), "top1": 0.5}))
    again = Rule.from_dict(written)
    assert again.to_dict() == rule.to_dict()
    assert ("learned" in written) == (rule.rule == "learned")
    found = votes(30)[0]
    assert torch.equal(found.joined(again), found.joined(rule))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (PAPER, "the KL combination, by the specialists of the most probable class, weight 1"),
        (Rule("kl", 3, 0.5), "the specialists of the most probable 3 classes, weight 0.5"),
        (Rule("within_subsets", None, 2.0), "averaged within subsets, by every specialist, weig"),
        (Rule("learned", None, 2.0, NUMBERS), "with learned weights and temperatures, by every"),
        (Rule("side_by_side", 2), "subset parts side by side, by the specialists of the most"),
        (Rule("kl", None, members=(4,)), "by every specialist, weight 1, specialist 4 only"),
        (Rule("kl", None, members=(0, 2, 5)), "weight 1, specialists 0, 2 and 5 only"),
        (Rule("kl", 1, members=tuple(range(15))), "specialists 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, "),
        (Rule("kl", 1, members=tuple(range(15))), "11 and 3 more only"),
        (
            Rule("kl", 1, confidence=0.99987),
            ", where the generalist gives no class more than 99.99%",
        ),
        (
            Rule("kl", 1, confidence=0.4567),
            ", where the generalist gives no class more than 45.7%",
        ),
    ],
)
def test_a_rule_is_told_in_words(rule, words):
    assert words in rule.in_words()
    assert ("weight " in rule.in_words()) == (rule.rule in ("kl", "within_subsets"))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (PAPER, "kl, n = 1, weight 1"),
        (Rule("side_by_side", None), "side_by_side, n = all"),
        (
            Rule("within_subsets", 3, 0.5, members=(2, 4), confidence=0.975),
            "within_subsets, n = 3, weight 0.5, 2 specialists, alone above 97.5%",
        ),
        (Rule("kl", 2, confidence=0.9999), "kl, n = 2, weight 1, alone above 99.99%"),
    ],
)
def test_a_rule_is_told_in_short(rule, words):
    assert rule.in_short() == words


def test_parameters_count_the_shared_trunk_once():
    upper = DIM * C + C
    specialists = sum((DIM + 1) * (len(subset) + 1) for subset in SUBSETS)
    assert made().parameters == upper + specialists
    assert made(nn.Linear(DIM, DIM)).parameters == upper + specialists + DIM * DIM + DIM


def test_flops_are_the_generalists_and_those_of_the_active_specialists():
    generalist, each = made(nn.Linear(DIM, DIM)).flops(inputs())
    assert generalist == 2 * DIM * DIM + 2 * DIM * C
    assert each.tolist() == [2 * DIM * 3, 2 * DIM * 4, 2 * DIM * 3]
    active = torch.tensor([[True, False, True], [False, False, True]])
    assert mean_flops(generalist, each, active) == generalist + 15 + 30


def votes(n: int = 200) -> tuple[Votes, torch.Tensor]:
    ensemble, x = made(), inputs(n)
    generalist, each = ensemble.flops(x)
    every = ensemble.specialist_log_probs(x)
    found = Votes(ensemble.generalist_log_probs(x), every, SUBSETS, generalist, each)
    labels = torch.multinomial(
        found.joined(Rule("kl", 2, 1.0)).exp(), 1, generator=torch.Generator().manual_seed(0)
    )
    return found, labels.squeeze(1)


SETTINGS = CombinationConfig(n=(1, 2), weights=(0.5, 1.0), deferral=(1.0, 0.4), max_cost=1.9)


def test_every_rule_is_judged_once_with_its_cost():
    found, labels = votes()
    candidates = judge_candidates(found, labels, SETTINGS)
    fixed = [candidate for candidate in candidates if candidate["rule"] != "learned"]
    limit = deferral_limit(found.generalist, 0.4)
    shares = {1: (None, limit), 2: (None, limit), None: (None,)}
    assert [(c["rule"], c["n"], c["weight"], c.get("confidence")) for c in fixed] == [
        *(("kl", n, v, s) for n in (1, 2, None) for v in (0.5, 1.0) for s in shares[n]),
        *(("within_subsets", n, v, s) for n in (1, 2, None) for v in (0.5, 1.0) for s in shares[n]),
        *(("side_by_side", n, 1.0, s) for n in (1, 2, None) for s in shares[n]),
    ]
    reference = score(found.generalist, labels)["nll"]
    for candidate in fixed:
        rule = Rule.from_dict(candidate)
        q = found.joined(rule)
        assert candidate["top1"] == float((q.argmax(1) == labels).double().mean())
        assert candidate["nll"] == pytest.approx(float(F.nll_loss(q, labels)), rel=1e-5)
        assert candidate["relative_cost"] == found.flops(rule) / found.generalist_flops
        assert candidate["eligible"] == (candidate["relative_cost"] <= 1.9)
        assert candidate["lowers_nll"] == (candidate["nll"] <= reference)
    assert {c["eligible"] for c in candidates} == {True, False}


def test_a_learned_rule_starts_from_the_best_weight_and_is_judged_by_rows_that_it_did_not_see():
    found, labels = votes()
    settings = CombinationConfig(n=(1, 2), weights=(0.25, 1.0), max_cost=100.0)
    candidates = judge_candidates(found, labels, settings)
    learned = [candidate for candidate in candidates if candidate["rule"] == "learned"]
    assert [candidate["n"] for candidate in learned] == [1, 2, None]
    for candidate in learned:
        n, active = candidate["n"], found.active(Rule.from_dict(candidate))
        kl = [c for c in candidates if (c["rule"], c["n"]) == ("kl", n) and "confidence" not in c]
        best = min(kl, key=lambda c: c["nll"])
        assert candidate["weight"] == best["weight"]
        data = (found.generalist, found.specialists, SUBSETS, labels, active, best["weight"])
        assert candidate["learned"] == fit_combination(*data).to_dict()
        unseen = score(cross_fitted(*data), labels)
        assert {key: candidate[key] for key in unseen} == unseen
        assert candidate["in_sample"]["nll"] <= best["nll"]
        assert candidate["in_sample"] == score(found.joined(Rule.from_dict(candidate)), labels)
        assert candidate["lowers_nll"] == (unseen["nll"] <= score(found.generalist, labels)["nll"])


def test_the_best_weight_is_that_for_every_row_wherever_there_is_one():
    found, labels = votes()
    some = {"rules": ("kl", "learned"), "n": (1,), "weights": (2.0, 4.0)}
    for deferral in ((1.0, 0.15), (0.15,)):
        config = CombinationConfig(deferral=deferral, max_cost=100.0, **some)
        candidates = judge_candidates(found, labels, config)
        kl = [c for c in candidates if (c["rule"], c["n"]) == ("kl", 1)]
        every = [c for c in kl if "confidence" not in c]
        assert len(every) == (2 if 1.0 in deferral else 0)
        learned = next(c for c in candidates if c["rule"] == "learned")
        assert learned["weight"] == min(every or kl, key=lambda c: c["nll"])["weight"]


def test_equal_limits_are_one_candidate():
    found, labels = votes()
    config = CombinationConfig(rules=("kl",), n=(1,), weights=(1.0,), deferral=(0.5, 0.4999, 1.0))
    assert len(judge_candidates(found, labels, config)) == 3


def test_the_cost_of_a_rule_is_that_of_its_members():
    found, labels = votes()
    judge = Judge(found, labels, 1.9)
    rules = [Rule("kl", 2), Rule("kl", 2, members=(1,)), Rule("kl", 2, confidence=0.5)]
    costs = [judge(rule, found.joined(rule))["inference_flops"] for rule in rules]
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
    found, labels = votes(60)
    assert found.flops(PAPER) < 1.7 * found.generalist_flops < found.flops(Rule("kl", 2))
    config = CombinationConfig(n=(1, 2), weights=(1.0,), **settings)
    candidates = judge_candidates(found, labels, config)
    assert [c["n"] for c in candidates if c["rule"] == "learned"] == learned
    assert any(candidate["n"] is None for candidate in candidates)


def candidate(top1: float, nll: float, lowers: bool = True) -> dict:
    return {"top1": top1, "nll": nll, "lowers_nll": lowers}


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


def test_votes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        votes(3)[0].generalist_flops = 0.0  # type: ignore[misc]


def test_where_no_rule_is_affordable_the_cheapest_stands_in():
    costs = [{"inference_flops": flops, "eligible": False} for flops in (9.0, 4.0, 7.0)]
    assert affordable(costs) == [costs[1]]
    assert affordable([*costs, costs[1]]) == [costs[1]] * 2
    costs[0]["eligible"] = True
    assert affordable(costs) == [costs[0]]
