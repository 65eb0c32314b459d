"""Specialists answer only where rows that chose nothing say that they help."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from specialists.combination import FittedDustbin, LearnedCombination
from specialists.config import CombinationConfig
from specialists.ensemble import (
    AdmissionDecision,
    CombinationRule,
    KeptRows,
    MemberPredictions,
    admit_specialists,
    admitted_in_words,
)
from specialists.ensemble.admission import (
    ALPHA,
    NO_GAIN,
    NOT_ALONE,
    NOT_TOGETHER,
    TOO_FEW_GROUPS,
    screen,
    specialist_gains,
    untested,
    whole_test,
)
from specialists.ensemble.decision import restricted
from specialists.predictions import DensePredictions, Predictions
from specialists.probability import MAX_NLL

C = 8
SUBSETS = [torch.tensor([2 * m, 2 * m + 1]) for m in range(4)]
NUMBERS = LearnedCombination(
    torch.tensor([0.5, 2.0, 3.0, 1.0]).double(), 0.8, torch.tensor([1.2, 1.0, 0.7, 0.9]).double()
)
RULES = [
    CombinationRule("kl", 1),
    CombinationRule("kl", 3, 2.0),
    CombinationRule("within_subsets", None, 4.0),
    CombinationRule("side_by_side", 2),
    CombinationRule("learned", 2, 1.0, NUMBERS),
    CombinationRule("kl", 2, 2.0, defer_above=0.6),
    CombinationRule("kl", 2, 4.0, dustbin=FittedDustbin(0.4, 0.7, 0.3)),
]
CHOSEN = CombinationRule("kl", 2, 1.0)


def labels_of(n: int, seed: int) -> torch.Tensor:
    return torch.randint(C, (n,), generator=torch.Generator().manual_seed(seed))


def predictions(
    n: int = 800, seed: int = 0, harmful=(), silent=()
) -> tuple[MemberPredictions, torch.Tensor]:
    """A generalist that cannot tell two classes of a pair apart; specialists that mostly can.

    Harmful ones tell them apart the wrong way round; silent ones say what the generalist says.
    """
    labels = labels_of(n, seed)
    generator = torch.Generator().manual_seed(seed + 100)
    logits = torch.randn(n, C, generator=generator) * 0.3
    logits[torch.arange(n), labels] += 2.0
    logits[torch.arange(n), labels ^ 1] += 2.0
    generalist = logits.log_softmax(1)
    specialists = []
    for m, subset in enumerate(SUBSETS):
        outside = ~torch.isin(labels, subset)
        own = generalist.exp()[:, subset]
        if m not in silent:
            right = torch.rand(n, generator=generator) < (0.05 if m in harmful else 0.9)
            first = (labels == subset[0]) == right
            own = torch.where(
                first[:, None], torch.tensor([0.85, 0.15]), torch.tensor([0.15, 0.85])
            )
            own = own * torch.where(outside, 0.1, 0.9)[:, None]
        specialists.append(torch.cat([own, 1 - own.sum(1, keepdim=True)], 1).log())
    return MemberPredictions(
        DensePredictions(generalist), specialists, SUBSETS, 100.0, torch.tensor([10.0] * 4).double()
    ), labels


def decided(method: Any = "whole", rule=CHOSEN, known=None, kept=None, **settings) -> Any:
    config = CombinationConfig(admission=method, **settings)
    (before, seen), (after, new) = known or predictions(seed=1), kept or predictions(seed=2)
    return admit_specialists(rule, before, seen, KeptRows(after, new), config)


def check_written(decision: AdmissionDecision) -> None:
    written = json.loads(json.dumps(decision.to_dict(), allow_nan=False))
    again = AdmissionDecision.from_dict(written)
    assert again.to_dict() == written
    assert again.rule.to_dict() == decision.rule.to_dict()


def log_likelihood(predictions: Predictions, labels: torch.Tensor) -> np.ndarray:
    return predictions.dense().gather(1, labels[:, None]).squeeze(1).double().numpy()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method}-{rule.n}")
def test_a_specialist_alone_gains_what_the_rule_with_it_says_over_the_rule_without(rule):
    found, labels = predictions(300)
    for m, gain in enumerate(specialist_gains(found, labels, rule)):
        rows = found.active(rule)[:, m]
        joined = found.joined(replace(rule, members=(m,)))
        none = found.generalist
        if rule.learned is not None:
            tempered = none.dense() / rule.learned.generalist_temperature
            none = DensePredictions(tempered.log_softmax(1))
        expected = log_likelihood(joined, labels) - log_likelihood(none, labels)
        np.testing.assert_allclose(gain, expected[rows.numpy()], atol=2e-5)
        assert 0 < len(gain) == int(rows.sum())


@pytest.mark.parametrize("method", ["whole", "each"])
def test_the_tests_are_scipys(method):
    kept = predictions(6000, seed=2, silent=(3,))
    record = decided(method, known=predictions(seed=1, silent=(3,)), kept=kept)
    found, labels = kept
    base = log_likelihood(found.generalist, labels)
    p = []
    for m, entry in enumerate(record.specialists):
        rows = found.active(CHOSEN)[:, m].numpy()
        joined = log_likelihood(found.joined(replace(CHOSEN, members=(m,))), labels)
        gain = (joined - base)[rows]
        assert entry.n_rows == rows.sum() > 500
        assert entry.mean_gain == pytest.approx(gain.mean(), abs=1e-5)
        if m != 3:
            t = gain.mean() / (gain.std(ddof=1) / len(gain) ** 0.5)
            p.append(stats.t.sf(t, len(gain) - 1))
            assert entry.p == pytest.approx(p[-1], rel=1e-3)
    corrected = [entry.corrected_p for entry in record.specialists if entry.admitted]
    assert corrected == pytest.approx(_holm(p), rel=1e-3)
    joined = log_likelihood(found.joined(replace(CHOSEN, members=(0, 1, 2))), labels)
    whole = stats.ttest_rel(joined, base, alternative="greater").pvalue
    assert record.whole.p == pytest.approx(whole, rel=1e-3)
    assert record.whole.mean_gain == pytest.approx((joined - base).mean(), abs=1e-5)


def _holm(p):
    order = np.argsort(p)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1))
    return np.minimum(corrected, 1)


@pytest.mark.parametrize("method", ["whole", "each"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method}-{rule.n}")
def test_specialists_that_help_enter(method, rule):
    decision = decided(method, rule)
    assert decision.rule is rule or decision.rule == rule
    assert decision.outcome == "admitted"
    assert [entry.admitted for entry in decision.specialists] == [True] * 4
    assert decision.chosen is rule
    own = "pass tests of their own and " if method == "each" else ""
    words = f"4 specialists {own}are admitted as a group: on 800 rows kept"
    assert decision.in_words().startswith(words)
    check_written(decision)


@pytest.mark.parametrize(
    ("method", "admitted", "words"),
    [
        ("whole", [True] * 8, "8 specialists are admitted as a group"),
        ("whole", [True, True, False], "2 of 3 specialists are admitted as a group"),
        ("whole", [False, True, False], "1 of 3 specialists is admitted"),
        ("whole", [True], "1 specialist is admitted"),
        ("each", [True, True], "2 specialists pass tests of their own and are admitted as a group"),
        ("each", [True, False], "1 of 2 specialists passes a test of its own and is admitted"),
    ],
)
def test_only_those_that_were_tested_alone_are_said_to_pass(method, admitted, words):
    assert admitted_in_words(method, admitted) == words


@pytest.mark.parametrize("method", ["whole", "each"])
def test_one_that_harms_validation_rows_is_left_out_before_the_test(method):
    known, kept = predictions(seed=1, harmful=(1,)), predictions(seed=2, harmful=(1,))
    decision = decided(method, known=known, kept=kept)
    assert decision.rule == replace(CHOSEN, members=(0, 2, 3))
    entry = decision.specialists[1]
    assert (entry.admitted, entry.why_not, entry.corrected_p) == (False, NO_GAIN, None)
    assert entry.validation_gain < 0
    assert decision.rule.in_words().endswith("specialists 0, 2 and 3 only")


def test_one_that_harms_the_gates_rows_alone_does_not_pass_its_own_test():
    kept = predictions(seed=2, harmful=(1,))
    decision = decided("each", kept=kept)
    assert decision.rule.members == (0, 2, 3)
    entry = decision.specialists[1]
    assert (entry.admitted, entry.why_not) == (False, NOT_ALONE)
    assert entry.corrected_p == 1.0
    assert decided("whole", kept=kept).rule.members is None


@pytest.mark.parametrize("method", ["whole", "each"])
@pytest.mark.parametrize("everyone", [{"harmful": range(4)}, {"silent": range(4)}])
def test_where_nothing_helps_the_generalist_answers(method, everyone):
    for known in (predictions(seed=1, **everyone), predictions(seed=1)):
        kept, labels = predictions(seed=2, **everyone)
        decision = decided(method, known=known, kept=(kept, labels))
        assert decision.outcome == "refused"
        assert decision.rule == replace(CHOSEN, members=())
        assert torch.equal(kept.joined(decision.rule).dense(), kept.generalist.dense())
        assert kept.flops(decision.rule) / kept.generalist_flops == 1.0
        assert not any(entry.admitted for entry in decision.specialists)
        assert decision.in_words().startswith("the ensemble answers like its generalist: ")


def test_a_group_that_does_not_pass_is_told_with_its_numbers():
    decision = decided("whole", kept=predictions(seed=2, harmful=range(4)))
    whole = decision.whole
    assert whole.mean_gain < 0
    assert whole.p > 0.9
    assert not whole.passed
    assert {entry.why_not for entry in decision.specialists} == {NOT_TOGETHER}
    assert "800 rows kept for this test" in decision.in_words()
    assert f"{whole.mean_gain:+.4f} nats (p = " in decision.in_words()


def pair(generalist, specialist) -> MemberPredictions:
    """Two classes that one specialist knows, and a third with hardly any mass."""
    g, s = (torch.as_tensor(x, dtype=torch.float32) for x in (generalist, specialist))
    three, dustbin = (torch.cat([x * 0.999, torch.full((len(x), 1), 0.001)], 1) for x in (g, s))
    subsets, flops = [torch.tensor([0, 1])], torch.ones(1).double()
    return MemberPredictions(DensePredictions(three.log()), [dustbin.log()], subsets, 1.0, flops)


def test_a_better_likelihood_with_fewer_right_answers_is_refused():
    weak, wrong = [0.51, 0.49], [0.001, 0.999]
    found = pair([weak] * 540 + [wrong] * 60, [[0.49, 0.51]] * 540 + [[0.4, 0.6]] * 60)
    whole: Any = whole_test(
        CombinationRule("side_by_side", None),
        found,
        torch.zeros(600, dtype=torch.int64),
        torch.arange(600),
    )
    assert whole.mean_gain > 0.3
    assert whole.p < 1e-6
    assert (whole.generalist_top1, whole.top1) == (0.9, 0.0)
    assert not whole.passed


@pytest.mark.parametrize("n", [80, 600])
def test_useless_specialists_pass_about_as_often_as_the_level_says(n):
    """The coin is fair: whoever is sure of it gains as much as it loses."""
    rng = np.random.default_rng(0)
    n_tries, passed = (150 if n < 500 else 600), 0
    for _ in range(n_tries):
        sure = rng.uniform(0.55, 0.9, (n, 1))
        found = pair(np.hstack([sure, 1 - sure]), np.hstack([1 - sure, sure]))
        labels = torch.from_numpy(rng.integers(0, 2, n))
        passed += whole_test(
            CombinationRule("side_by_side", None), found, labels, torch.arange(n)
        ).passed
    assert ALPHA == 0.05
    assert stats.binomtest(passed, n_tries, ALPHA, alternative="greater").pvalue > 0.01
    assert passed > 0


@pytest.mark.parametrize("method", ["whole", "each"])
def test_one_that_never_votes_is_left_out(method):
    def without_its_rows(seed):
        found, labels = predictions(seed=seed)
        rows = ~found.active(CombinationRule("kl", 1))[:, 3]
        own = [log_probs[rows] for log_probs in found.specialists]
        return replace(found, generalist=found.generalist[rows], specialists=own), labels[rows]

    decision = decided(method, CombinationRule("kl", 1), without_its_rows(1), without_its_rows(2))
    assert decision.rule.members == (0, 1, 2)
    entry = decision.specialists[3]
    assert (entry.validation_rows, entry.validation_gain) == (0, None)
    assert (entry.n_rows, entry.mean_gain, entry.p) == (0, None, 1.0)
    assert entry.why_not == NO_GAIN


def test_those_that_gain_only_together_stay_if_validation_prefers_them():
    found, labels = predictions()
    known = (0.1, -0.1, None, 0.2)
    settings = CombinationConfig()
    assert screen(CHOSEN, known, found, labels, settings) == CHOSEN
    harmed, labels = predictions(harmful=(1, 2))
    assert screen(CHOSEN, known, harmed, labels, settings).members == (0, 3)


def test_a_rule_with_every_member_is_the_rule_itself():
    assert restricted(CHOSEN, [0, 1, 2, 3], 4) == CHOSEN
    assert restricted(CHOSEN, [1], 4).members == (1,)


def test_a_rule_that_is_not_tested_stays_as_it_is():
    decision = untested(CHOSEN, "off", "combination.admission is off")
    assert decision.rule is CHOSEN
    assert (decision.outcome, decision.n_rows) == ("not tested", 0)
    assert decision.in_words() == "not tested: combination.admission is off"


def test_without_a_row_for_the_test_the_generalist_answers():
    decision = untested(CHOSEN, "whole", "no row could be kept", refused=True)
    assert decision.rule == replace(CHOSEN, members=())
    assert decision.in_words() == "the ensemble answers like its generalist: no row could be kept"


def test_few_rows_make_the_correction_for_the_number_tried_matter():
    record = decided("each", kept=predictions(60, seed=4))
    own, corrected = (
        [getattr(entry, key) for entry in record.specialists] for key in ("p", "corrected_p")
    )
    assert max(own) > 1e-6
    np.testing.assert_allclose(corrected, _holm(own), rtol=1e-12)
    assert min(corrected) == pytest.approx(4 * min(own), abs=0)


@pytest.mark.parametrize("method", ["whole", "each"])
def test_rows_with_the_same_input_are_one_observation(method):
    found, labels = predictions(120, seed=3)
    times = torch.arange(120).repeat(5)
    repeated = replace(
        found, generalist=found.generalist[times], specialists=[x[times] for x in found.specialists]
    )
    config, known = CombinationConfig(admission=method), predictions(seed=1)
    once: Any = admit_specialists(CHOSEN, *known, KeptRows(found, labels), config)
    grouped = KeptRows(repeated, labels[times], times)
    five: Any = admit_specialists(CHOSEN, *known, grouped, config)
    blind: Any = admit_specialists(CHOSEN, *known, KeptRows(repeated, labels[times]), config)
    assert five.n_rows == 600
    assert five.whole.p == pytest.approx(once.whole.p, abs=0)
    assert blind.whole.p < five.whole.p / 10
    for a, b in zip(once.specialists, five.specialists, strict=True):
        assert (5 * a.n_rows, a.p) == (b.n_rows, pytest.approx(b.p, abs=0))


def grouped(
    n_groups: int, rows: int, seed: int
) -> tuple[MemberPredictions, torch.Tensor, torch.Tensor]:
    """Predictions for rows that repeat ``n_groups`` inputs, in random order."""
    found, labels = predictions(n_groups, seed)
    times = torch.arange(n_groups).repeat(rows)
    times = times[torch.randperm(len(times), generator=torch.Generator().manual_seed(seed))]
    specialists = [x[times] for x in found.specialists]
    repeated = replace(found, generalist=found.generalist[times], specialists=specialists)
    return repeated, labels[times], times


@pytest.mark.parametrize("method", ["whole", "each"])
@pytest.mark.parametrize(("n_groups", "outcome"), [(19, "refused"), (20, "admitted")])
def test_fewer_than_20_groups_are_no_test(method, n_groups, outcome):
    found, labels, groups = grouped(n_groups, 12, seed=4)
    settings = CombinationConfig(admission=method)
    kept = KeptRows(found, labels, groups)
    record: Any = admit_specialists(CHOSEN, *predictions(seed=1), kept, settings)
    assert record.outcome == outcome or method == "each"
    assert (record.n_rows, record.n_groups) == (12 * n_groups, n_groups)
    p = [record.whole.p, *(entry.p for entry in record.specialists)]
    assert [x is None for x in p] == [n_groups < 20] * 5
    if n_groups < 20:
        assert record.rule.members == ()
        assert {entry.why_not for entry in record.specialists} == {TOO_FEW_GROUPS}
        low, high = record.whole.interval
        assert 0 < low < record.whole.mean_gain < high
        words = "only 228 rows in 19 groups were kept for this test, which needs at least 20 groups"
        assert f"{words}: rows of one input or source count as one; there the" in record.in_words()
    check_written(record)


def test_too_few_rows_that_are_groups_of_their_own_are_told_as_rows():
    found, labels, groups = grouped(15, 1, seed=4)
    kept = KeptRows(found, labels, groups)
    record: Any = admit_specialists(CHOSEN, *predictions(seed=1), kept, CombinationConfig())
    words = "generalist: only 15 rows were kept for this test, which needs at least 20; there the"
    assert words in record.in_words()


def test_one_group_of_rows_leaves_everything_open():
    found, labels, _ = grouped(30, 2, seed=4)
    whole: Any = whole_test(CHOSEN, found, labels, torch.zeros(60, dtype=torch.int64))
    assert (whole.p, whole.interval, whole.passed) == (None, (-MAX_NLL, MAX_NLL), False)


def test_the_gate_says_how_many_groups_its_rows_are():
    found, labels, groups = grouped(400, 3, seed=4)
    kept = KeptRows(found, labels, groups)
    decision: Any = admit_specialists(CHOSEN, *predictions(seed=1), kept, CombinationConfig())
    assert "on 1,200 rows in 400 groups kept for this test" in decision.in_words()
    gains = log_likelihood(found.joined(CHOSEN), labels) - log_likelihood(found.generalist, labels)
    sums = np.bincount(groups, weights=gains)
    flips = np.random.default_rng(5).choice([-1.0, 1.0], size=(20_000, 400)) @ sums
    expected = (1 + (flips >= sums.sum()).sum()) / 20_001
    assert decision.whole.p == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("method", ["whole", "each"])
def test_the_gate_judges_its_own_rows_and_screening_the_validation_rows(method):
    """Splits of different sizes on which the same specialist helps and harms."""
    known, kept = predictions(500, seed=1, harmful=(1,)), predictions(800, seed=2, harmful=(2,))
    record = decided(method, known=known, kept=kept)
    left_out = [entry.why_not for entry in record.specialists]
    assert left_out[1] == NO_GAIN
    assert left_out[2] == (NOT_ALONE if method == "each" else None)
    assert record.n_rows == 800
    for entry, gains in zip(record.specialists, specialist_gains(*kept, CHOSEN), strict=True):
        assert (entry.n_rows, entry.mean_gain) == (len(gains), float(gains.mean()))
    for entry, gains in zip(record.specialists, specialist_gains(*known, CHOSEN), strict=True):
        assert entry.validation_rows == len(gains)
        assert entry.validation_gain == float(gains.mean())
