"""Shared specialists in an ensemble: who is asked about what, how it is joined, what is chosen."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from specialists.calibration import Calibration
from specialists.combination import combine, geometric_mean
from specialists.config import CombinationConfig
from specialists.ensemble import (
    CombinationRule,
    Ensemble,
    KeptRows,
    MemberPredictions,
    SharedMembers,
    SharedRule,
    active_specialists,
    choose_rule,
    join,
    score,
    score_rules,
)
from specialists.ensemble.admission import admit_specialists, shared_gain
from specialists.predictions import DensePredictions
from specialists.shared import SharedSpecialist, Shortlisting
from specialists.specialist import Specialist
from specialists.training import TrainingCost

C, DIM, K = 9, 5, 3
SUBSETS = [torch.tensor([0, 1]), torch.tensor([2, 5, 6]), torch.tensor([1, 2])]
ALONE = CombinationRule("kl", None, members=())
RULES = [
    replace(ALONE, shared=SharedRule(1)),
    replace(ALONE, shared=SharedRule(2, 0.5)),
    replace(ALONE, shared=SharedRule(2, 2.0, whole_up_to=0.4)),
    replace(ALONE, shared=SharedRule(1, 1.0, whole_up_to=1.0)),
    replace(ALONE, shared=SharedRule(2, 1.0, whole_up_to=0.3), defer_above=0.5),
    CombinationRule("kl", 2, 2.0, shared=SharedRule(2, 1.0, whole_up_to=0.35)),
    CombinationRule("within_subsets", 1, 1.0, members=(0, 2), shared=SharedRule(1)),
    CombinationRule("side_by_side", 2, defer_above=0.45, shared=SharedRule(1, 1.0, 0.3)),
]
SHORTLISTINGS = [Shortlisting(K), Shortlisting(C), Shortlisting(1, [[0, 1, 4], [2, 5, 6, 7, 8]])]


def made(rule=RULES[0], shortlisting=SHORTLISTINGS[0], n_shared=2, subsets=SUBSETS) -> Ensemble:
    torch.manual_seed(0)
    cost = TrainingCost(100, 1e3)
    specialists = [
        Specialist(nn.Linear(DIM, len(subset) + 1), subset, Calibration(0.5, 1.5, 0.1), cost)
        for subset in subsets
    ]
    shared = [
        SharedSpecialist(
            network=nn.Sequential(nn.Linear(DIM, 4), nn.Tanh(), nn.Linear(4, C)),
            n_classes=C,
            shortlist_temperature=0.5 + i,
            head_temperature=0.3 + i,
            cost=cost,
        )
        for i in range(n_shared)
    ]
    upper = nn.Linear(DIM, C)
    nn.init.normal_(upper.weight, std=1.0)
    members = SharedMembers(shared, shortlisting) if shared else None
    return Ensemble(upper, specialists, rule, 1.7, shared=members)


def inputs(n: int = 60, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed))


def expected(ensemble: Ensemble, x: torch.Tensor) -> torch.Tensor:
    """Row by row, by the general solver with a subset a row, and by a mean of all classes."""
    rule, shared = ensemble.rule, ensemble.shared
    assert rule.shared is not None
    assert shared is not None
    with torch.no_grad():
        generalist = (ensemble.upper(x) / 1.7).log_softmax(1)
        own = [s.calibration.log_probs(s.network(x)) for s in ensemble.specialists]
        logits = [one.network(x) for one in shared.specialists[: rule.shared.n_members]]
    known = DensePredictions(generalist)
    active = active_specialists(known, ensemble.subsets, rule)
    base = join(known, own, ensemble.subsets, active, rule).dense()
    confidence, shortlists = generalist.exp().amax(1), shared.shortlisting(known)
    v, rows = rule.shared.weight, []
    for i, q in enumerate(base):
        if rule.defer_above is not None and confidence[i] > rule.defer_above:
            rows.append(q)
        elif rule.shared.whole_up_to is not None and confidence[i] <= rule.shared.whole_up_to:
            pairs = zip(logits, shared.specialists, strict=False)
            heads = [(z[i] / one.head_temperature).log_softmax(0)[None] for z, one in pairs]
            rows.append(geometric_mean([q[None], *heads], [1.0] + [v] * len(heads))[0])
        else:
            some = shortlists[i][shortlists[i] >= 0]
            inside = q[some].logsumexp(0)
            parts = []
            for z, one in zip(logits, shared.specialists, strict=False):
                part = (z[i][some] / one.shortlist_temperature).log_softmax(0) + inside
                parts.append(torch.cat([part, torch.log1p(-inside.exp())[None]])[None])
            weights, subsets = torch.full((len(parts),), v), [some] * len(parts)
            if len(some) == C:
                parts = [part[:, :-1] for part in parts]
                rows.append(geometric_mean([q[None], *parts], [1.0, *weights.tolist()])[0])
            else:
                solved = combine(q[None], parts, subsets, weights=weights, direction="reverse")
                rows.append(solved.log_probs[0])
    return torch.stack(rows)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shortlisting", SHORTLISTINGS)
@pytest.mark.parametrize("at_a_time", [7, 8192])
def test_what_an_ensemble_says_is_its_parts_joined(rule, shortlisting, at_a_time, monkeypatch):
    monkeypatch.setattr("specialists.ensemble.members.ROWS_AT_A_TIME", at_a_time)
    ensemble, x = made(rule, shortlisting), inputs()
    found = ensemble.predictions(x).dense()
    torch.testing.assert_close(found, expected(ensemble, x), rtol=1e-4, atol=1e-4)
    known = ensemble.member_predictions(x)
    torch.testing.assert_close(known.joined(rule).dense(), found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_one_row_is_answered_as_many_are(rule):
    ensemble, x = made(rule), inputs(8)
    each = torch.cat([ensemble.predictions(row[None]).dense() for row in x])
    torch.testing.assert_close(each, ensemble.predictions(x).dense(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_some_rows_are_predicted_and_cost_what_they_do_alone(rule):
    known, rows = made(rule).member_predictions(inputs()), torch.tensor([3, 50, 7])
    some = known.select(rows)
    torch.testing.assert_close(some.joined(rule).dense(), known.joined(rule).dense()[rows])
    again = made(rule).member_predictions(inputs()[rows])
    assert some.flops(rule) == pytest.approx(again.flops(rule))


def test_operations_are_those_of_the_rows_that_are_asked():
    known = made().member_predictions(inputs())
    trunk, generalist = 2 * DIM * 4, 2.0 * DIM * C
    for rule in RULES[:5]:
        assert rule.shared is not None
        asked = known.confidence <= (rule.defer_above or 1.0)
        whole = asked & (known.confidence <= (rule.shared.whole_up_to or 0.0))
        each = torch.where(whole, trunk + 2 * 4 * C, trunk + 2 * 4 * K) * asked
        cost = generalist + rule.shared.n_members * float(each.double().mean())
        assert known.flops(rule) == pytest.approx(cost)


def test_parameters_are_those_of_the_members_that_are_asked():
    own, shared = DIM * C + C, DIM * 4 + 4 + 4 * C + C
    assert made(RULES[0]).parameters == own + shared
    assert made(RULES[1]).parameters == own + 2 * shared
    assert made(ALONE).parameters == own


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_read_back_as_it_was_written(rule):
    written = json.loads(json.dumps(rule.to_dict()))
    assert CombinationRule.from_dict(written) == rule


@pytest.mark.parametrize(
    ("rule", "words", "short"),
    [
        (
            RULES[0],
            "1 shared specialist, with the generalist's weight, asked about each row's most "
            "probable classes",
            "1 shared, weight 1",
        ),
        (
            RULES[4],
            "2 shared specialists, each with the generalist's weight, asked about each row's most "
            "probable classes, and about all classes where the generalist is at most 30.0% sure; "
            "where the generalist is more than 50.0% sure, it answers alone",
            "2 shared, weight 1, whole up to 30.0%, alone above 50.0%",
        ),
        (
            RULES[6],
            "generalist and specialists averaged within subsets, asking the specialists of each "
            "row's most probable class, each with the generalist's weight, specialists 0 and 2 "
            "only, then 1 shared specialist, with the generalist's weight, asked about each row's "
            "most probable classes",
            "within_subsets, n = 1, weight 1, 2 specialists, 1 shared, weight 1",
        ),
    ],
)
def test_a_rule_is_told(rule, words, short):
    assert rule.in_words() == words
    assert rule.in_short() == short


SETTINGS = CombinationConfig(
    n=(1,), weights=(0.5, 1.0), deferral=(1.0, 0.4), whole_heads=(0.0, 0.2), max_cost=3.0
)


def labelled(n=400, seed=1, subsets=SUBSETS) -> tuple[MemberPredictions, torch.Tensor]:
    """Members, and labels as two shared specialists with whole heads would have them."""
    truth = replace(ALONE, shared=SharedRule(2, 4.0, whole_up_to=1.0))
    known = made(subsets=subsets).member_predictions(inputs(n, seed))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(known.joined(truth).dense().exp(), 1, generator=generator)
    return known, labels.squeeze(1)


@pytest.mark.parametrize("subsets", [SUBSETS, []])
def test_every_rule_is_judged_once_with_its_cost(subsets):
    known, labels = labelled(subsets=subsets)
    candidates = score_rules(
        known, labels, SETTINGS.model_copy(update={"rules": ("side_by_side",)})
    )
    sharing = [c for c in candidates if c.shared is not None]
    assert len({json.dumps(c.rule.to_dict()) for c in candidates}) == len(candidates)
    each = 2 * 2 * 2  # members, weights, shares of whole heads
    assert len(sharing) == 2 * each + (each if subsets else 0)
    for candidate in sharing:
        found = score(known.joined(candidate.rule), labels)
        assert candidate.top1 == pytest.approx(found["top1"])
        assert candidate.nll == pytest.approx(found["nll"], abs=1e-6)
        assert candidate.inference_flops == pytest.approx(known.flops(candidate.rule))


def test_a_rule_with_fitted_dustbins_is_shared_as_it_is_cross_fitted():
    known, labels = labelled()
    candidates = score_rules(known, labels, SETTINGS.model_copy(update={"rules": ("kl",)}))
    fitted = [c for c in candidates if c.shared is not None and c.dustbin is not None]
    assert fitted
    for candidate in fitted:
        assert candidate.n is not None
        assert candidate.shared is not None
        unseen = known.fit_dustbins(candidate.n, labels)[1]
        base = unseen.joined(replace(candidate.rule, dustbin=None, shared=None))
        asked = candidate.rule.asks_shared(known.confidence)
        joined = known.with_shared(base, candidate.shared, asked)
        assert candidate.nll == pytest.approx(score(joined, labels)["nll"], abs=1e-6)


@pytest.mark.parametrize("subsets", [SUBSETS, []])
def test_shared_specialists_that_help_are_chosen_and_admitted(subsets):
    known, labels = labelled(subsets=subsets)
    kept = KeptRows(*labelled(seed=2, subsets=subsets))
    choice = choose_rule(known, labels, SETTINGS, kept)
    assert choice.chosen.shared is not None
    assert "shared specialist" in choice.admission.in_words()
    assert (
        list(choice.rules) == ["ensemble", "ensemble_paper", "ensemble_all"][: 3 if subsets else 1]
    )
    assert choice.asked > 0
    written = json.loads(json.dumps(choice.to_dict()))
    assert type(choice).from_dict(written).to_dict() == written


@pytest.mark.parametrize("method", ["whole", "each"])
def test_shared_specialists_that_harm_leave_the_generalist(method):
    known, labels = labelled()
    generator = torch.Generator().manual_seed(3)
    truth = torch.multinomial(known.generalist.dense().exp(), 1, generator=generator).squeeze(1)
    rule = replace(ALONE, shared=SharedRule(2, 4.0, whole_up_to=1.0))
    config = SETTINGS.model_copy(update={"admission": method})
    decision = admit_specialists(rule, known, labels, KeptRows(known, truth), config)
    assert decision.outcome == "refused"
    assert decision.rule.is_generalist
    assert decision.shared is not None
    assert not decision.shared.admitted
    found = made(decision.rule).predictions(inputs()).dense()
    assert torch.equal(found, made(ALONE).predictions(inputs()).dense())


def test_what_they_add_is_tested_against_the_rule_without_them():
    known, labels = labelled()
    rule = CombinationRule("kl", 2, 1.0, shared=SharedRule(1))
    gain = shared_gain(known, labels, rule)
    both = [known.joined(r).of_labels(labels).double() for r in (rule, replace(rule, shared=None))]
    torch.testing.assert_close(gain, both[0] - both[1], rtol=1e-4, atol=2e-5)
    config = SETTINGS.model_copy(update={"admission": "each"})
    decision = admit_specialists(rule, known, labels, KeptRows(known, labels), config)
    assert decision.shared is not None
    assert decision.shared.corrected_p is not None
