"""May the specialists answer? Only if held-out rows that served no other choice say that they help.

First a choice, on the validation rows: specialists that do not raise the mean log-likelihood of the
truth where they are asked are left out of the chosen rule, by point estimate. If validation prefers
the rule with all of them nevertheless (they may help together), nobody is left out.

Then a test, on the rows kept for it, one-sided and paired:

    "whole"   the mean gain in log-likelihood of all of them together over the generalist is above 0
              at level alpha, and they give no fewer right answers
    "each"    before that, every specialist alone, on the rows where the rule selects it, is above
              0 after Holm's correction for those tried; the others are left out

The specialists are admitted as a group; only with "each" did they pass tests of their own. Shared
specialists, of which validation chose how many are asked, count as one: "each" tests what they add
to the rule without them.

Rows of one group (the same input, concept, writer) are one observation of these tests: their gains
are summed first. Fewer than 20 groups are no test.

An ensemble that fails the test answers exactly like its generalist. So does one for whose test no
row, or too few groups, could be kept. Where no specialist helps, the chance that one enters is
about alpha. It is larger where rare large losses outweigh many small gains, since few rows may not
show one. A specialist alone is compared with the rule without any: of a learned rule that is the
generalist with the temperature that was learned for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from specialists.config import CombinationConfig
from specialists.ensemble.decision import (
    AdmissionDecision,
    GainTest,
    GroupTest,
    SharedTest,
    SpecialistTest,
    restricted,
)
from specialists.ensemble.judging import Judge, choose, log_likelihood
from specialists.ensemble.member_predictions import MemberPredictions
from specialists.ensemble.rules import CombinationRule, join
from specialists.predictions import Predictions
from specialists.probability import MAX_NLL, mean_over_rows
from specialists.uncertainty import (
    MIN_GROUPS,
    count_groups,
    holm,
    paired_mean_test,
    rows_in_groups,
    t_interval,
)

ALPHA = 0.05
SHARED = -1  # stands for all shared specialists among the numbers of those that are tested
NO_DIFFERENCE = 1e-5  # nats that single precision rounds
NOT_WANTED = (
    "no rows are to be kept for the test whether specialists help (data.admission_fraction)"
)
NO_ROWS = "no row could be kept for the test whether specialists help: no class can spare one"
NO_GAIN = "does not raise the log-likelihood of the truth on validation rows"
NOT_ALONE = "does not pass its own test"
NOT_TOGETHER = "the specialists together do not pass"
TOO_FEW_GROUPS = "too few groups of rows were kept for a test"


@dataclass(frozen=True)
class KeptRows:
    """Labelled rows that served no choice, kept for the admission test.

    Parameters
    ----------
    predictions : MemberPredictions
    labels : int64 Tensor of shape (n,)
    groups : int64 Tensor of shape (n,), optional
        Rows that are one observation share a number; None: each row is one.
    """

    predictions: MemberPredictions
    labels: Tensor
    groups: Tensor | None = None


def untested(
    rule: CombinationRule, method: str, reason: str, refused: bool = False
) -> AdmissionDecision:
    """Without a test: the rule as it was chosen or, if ``refused``, the generalist."""
    outcome = "refused" if refused else "not tested"
    return AdmissionDecision(method, rule, outcome, reason, ALPHA, 0, 0, None, ())


def admit_specialists(
    rule: CombinationRule,
    predictions: MemberPredictions,
    labels: Tensor,
    kept: KeptRows,
    settings: CombinationConfig,
) -> AdmissionDecision:
    """Choose on validation rows who is tested, then test on the kept rows (module docstring).

    Parameters
    ----------
    rule : CombinationRule
        As validation chose it.
    predictions : MemberPredictions
        Of the validation rows, which trained nobody.
    labels : int64 Tensor
        Of the validation rows.
    kept : KeptRows
    settings : CombinationConfig
        Its ``admission`` ("whole" or "each") and how it chooses.
    """
    groups = torch.arange(len(kept.labels)) if kept.groups is None else kept.groups
    n_groups = _count(groups)
    enough = n_groups >= MIN_GROUPS
    known = specialist_gains(predictions, labels, rule)
    screened = screen(rule, [_mean(gain) for gain in known], predictions, labels, settings)
    gains = specialist_gains(kept.predictions, kept.labels, rule)
    active, n = kept.predictions.active(rule), len(gains)
    alone = [_tested(gain, groups[active[:, m]], enough) for m, gain in enumerate(gains)]
    tried = screened.may_answer(n)
    units, sharing = {m: alone[m] for m in tried}, None
    if rule.shared is not None:
        sharing = _tested(shared_gain(kept.predictions, kept.labels, rule), groups, enough)
        units[SHARED] = sharing
    corrected = _corrected(units) if enough else {}
    group = _passing(rule, corrected, n) if enough and settings.admission == "each" else screened
    rows = (kept.predictions, kept.labels, groups)
    whole = None if group.is_generalist else whole_test(group, *rows)
    passed = whole is not None and whole.passed
    failed = None if passed else NOT_TOGETHER if enough else TOO_FEW_GROUPS
    tests = tuple(
        SpecialistTest(
            **asdict(alone[m]),
            specialist=m,
            validation_rows=len(known[m]),
            validation_gain=_mean(known[m]),
            corrected_p=corrected.get(m),
            admitted=passed and m in group.may_answer(n),
            why_not=_why_not(m, tried, group.may_answer(n), failed),
        )
        for m in range(n)
    )
    together = sharing and SharedTest(
        **asdict(sharing),
        corrected_p=corrected.get(SHARED),
        admitted=passed and group.shared is not None,
    )
    reason = _reason(whole, bool(units), len(kept.labels), n_groups)
    about = (settings.admission, rule, "admitted" if passed else "refused", reason, ALPHA)
    return AdmissionDecision(*about, len(kept.labels), n_groups, whole, tests, together)


def screen(
    rule: CombinationRule,
    gains: Sequence[float | None],
    predictions: MemberPredictions,
    labels: Tensor,
    settings: CombinationConfig,
) -> CombinationRule:
    """The rule without those that gain nothing on validation rows, unless it was better with them.

    ``gains`` are the mean gains of each specialist there, None where it is never asked.
    """
    helpful = [m for m, gain in enumerate(gains) if (gain or 0.0) > 0.0]
    if len(helpful) == len(gains):
        return rule
    judge = Judge(predictions, labels, settings.max_cost)
    rules = [restricted(rule, helpful, len(gains)), rule]
    few, every = (judge(one, predictions.joined(one)) for one in rules)
    if few.top1 == every.top1 and abs(few.nll - every.nll) < NO_DIFFERENCE:
        return few.rule
    return choose([few, every], settings).rule


def whole_test(
    rule: CombinationRule, predictions: MemberPredictions, labels: Tensor, groups: Tensor
) -> GroupTest:
    """Does the rule gain on the generalist, without fewer right answers?"""
    joined, base = predictions.joined(rule), predictions.generalist
    enough = _count(groups) >= MIN_GROUPS
    counts = predictions.weights
    hits = ((q.predicted() == labels).double() for q in (joined, base))
    right, before = (float(mean_over_rows(rows, counts)) for rows in hits)
    gain = log_likelihood_gain(joined, base, labels, counts)
    test = _tested(gain, groups, enough)
    return GroupTest(
        **asdict(test),
        top1=right,
        generalist_top1=before,
        passed=test.p is not None and test.p <= ALPHA and right >= before,
        interval=None if enough else t_interval(gain, groups, limits=(-MAX_NLL, MAX_NLL)),
    )


def specialist_gains(
    predictions: MemberPredictions, labels: Tensor, rule: CombinationRule
) -> list[Tensor]:
    """Gain by each specialist alone on the rows where the rule asks it, float64, in nats."""
    active = predictions.active(rule)
    gains = []
    for m, subset in enumerate(predictions.subsets):
        rows = active[:, m].nonzero().squeeze(1)
        if not len(rows):
            gains.append(torch.zeros(0, dtype=torch.float64))
            continue
        generalist, here, only = predictions.generalist[rows], active[rows, m : m + 1], rule.only(m)
        members = (generalist, [predictions.specialists[m][rows]], [subset])
        joined = join(*members, here, only)
        base = generalist if only.learned is None else join(*members, ~here, only)
        counts = None if predictions.weights is None else predictions.weights[rows]
        gains.append(log_likelihood_gain(joined, base, labels[rows], counts))
    return gains


def shared_gain(predictions: MemberPredictions, labels: Tensor, rule: CombinationRule) -> Tensor:
    """Gain of each row by shared specialists over the rule without them, float64, in nats."""
    with_them, without = (predictions.joined(r) for r in (rule, replace(rule, shared=None)))
    return log_likelihood_gain(with_them, without, labels, predictions.weights)


def log_likelihood_gain(
    joined: Predictions, base: Predictions, labels: Tensor, counts: Tensor | None = None
) -> Tensor:
    """Log-likelihoods of the truth, joined minus base; what single precision rounds is 0.

    Where rows count as so many as ``counts`` (n,) say, they gain in proportion: the mean is the
    weighted one, and a row that counts as two gains twice for its group.
    """
    gain = log_likelihood(joined, labels) - log_likelihood(base, labels)
    gain = gain.masked_fill(gain.abs() < NO_DIFFERENCE, 0.0)
    return gain if counts is None else gain * (counts / counts.mean())


def _corrected(tests: Mapping[int, GainTest]) -> dict[int, float]:
    """Each test's p after Holm's correction for all of them."""
    p_values = [test.p for test in tests.values() if test.p is not None]
    return dict(zip(tests, holm(p_values), strict=True))


def _passing(
    rule: CombinationRule, corrected: Mapping[int, float], n_specialists: int
) -> CombinationRule:
    """The rule with those that pass tests of their own."""
    passing = [m for m, p in corrected.items() if p <= ALPHA]
    group = restricted(rule, [m for m in passing if m != SHARED], n_specialists)
    return group if SHARED in passing else replace(group, shared=None)


def _mean(gain: Tensor) -> float | None:
    return float(gain.mean()) if len(gain) else None


def _tested(gain: Tensor, groups: Tensor, enough: bool) -> GainTest:
    """Rows, groups, mean in nats, and p that the mean is not above 0; 1 without rows.

    None instead of p unless the rows of which these are a part are ``enough`` groups.
    """
    p = 1.0 if enough else None
    if enough and len(gain):
        p = paired_mean_test(gain, torch.zeros_like(gain), alternative="greater", groups=groups)
    return GainTest(len(gain), _mean(gain), _count(groups), p)


def _count(groups: Tensor) -> int:
    return count_groups(groups, len(groups))


def _why_not(m: int, tried: Sequence[int], group: Sequence[int], failed: str | None) -> str | None:
    """Why a specialist may not answer; ``failed`` says it of the group."""
    if m not in tried:
        return NO_GAIN
    return failed if m in group else NOT_ALONE


def _reason(whole: GroupTest | None, tried: bool, n_rows: int, n_groups: int) -> str:
    rows = rows_in_groups(n_rows, n_groups)
    if not tried:
        return "no specialist raises the log-likelihood of the truth on validation rows"
    if whole is None:
        return f"no specialist passes its own test on the {rows} kept for it"
    changes = f"the log-likelihood of the truth changes by {whole.mean_gain:+.4f} nats"
    right = f"top-1 {whole.generalist_top1:.3f} -> {whole.top1:.3f}"
    if whole.interval is not None:
        low, high = whole.interval
        few = f"only {rows} were kept for this test, which needs at least {MIN_GROUPS}"
        if n_groups < n_rows:
            few += " groups: rows of one input or source count as one"
        return f"{few}; there {changes} (95% interval {low:+.4f} to {high:+.4f}), {right}"
    p = f"p = {whole.p:.3f}" if whole.p is None or whole.p >= 0.001 else "p < 0.001"
    return f"on {rows} kept for this test {changes} ({p}), {right}"
