"""May the specialists answer? Only if held-out rows that served no other choice say that they help.

First a choice, on the validation rows: specialists that do not raise the mean log-likelihood of the
truth where they vote are left out of the chosen rule, by point estimate; if validation prefers the
rule with all of them nevertheless (they may help together), nobody is left out.

Then a test, on the gate's rows, one-sided and paired:

    "whole"   the group's mean gain in log-likelihood over the generalist is above 0 at level alpha,
              and it gives no fewer right answers
    "each"    before that, every specialist alone, on the rows where the rule selects it, is above
              0 after Holm's correction for those tried; the others are left out of the group

Rows with the same input are one observation of these tests: their gains are summed first.

What does not pass answers exactly like its generalist, and so does an ensemble for whose test no
row could be kept. Where no specialist helps, the chance that one enters is about alpha; larger
where rare large losses outweigh many small gains, since few rows may not show one. A specialist
alone is compared with the rule without any: of a learned rule that is the generalist with the
temperature that was learned for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.config import CombinationConfig
from specialists.ensemble.candidates import Judge, Votes, choose, log_likelihood
from specialists.ensemble.rules import Rule, join
from specialists.uncertainty import holm, paired_mean_test

ALPHA = 0.05
ROUNDING = 1e-5
NOT_WANTED = "no rows are to be kept for the test whether specialists help (data.gate_fraction)"
NO_ROWS = "no row could be kept for the test whether specialists help: no class can spare one"
NO_GAIN = "does not raise the log-likelihood of the truth on validation rows"
NOT_ALONE = "does not pass its own test"
NOT_TOGETHER = "the specialists together do not pass"


@dataclass(frozen=True)
class Decision:
    """What the gate lets through.

    Parameters
    ----------
    rule : Rule
        The chosen one with the members that may vote; with none it is the generalist.
    record : dict
        JSON-able, for ``choice.json``: ``method``, ``alpha``, ``n_rows``; ``rule``, as it was
        chosen; ``whole``, the test of the group (None if there was none); ``specialists``, for each
        its gains, p-values, whether it is ``admitted`` and ``why_not``; ``outcome`` ("admitted",
        "refused", "not tested") and ``reason``.
    """

    rule: Rule
    record: dict[str, Any]

    @property
    def outcome(self) -> str:
        return self.record["outcome"]

    def in_words(self) -> str:
        """One line that says what was decided, and why."""
        reason = self.record["reason"]
        if self.outcome == "refused":
            return f"the ensemble answers like its generalist: {reason}"
        if self.outcome == "not tested":
            return f"not tested: {reason}"
        specialists = self.record["specialists"]
        n = sum(entry["admitted"] for entry in specialists)
        return f"{n} of {len(specialists)} specialists pass the gate: {reason}"


def untested(rule: Rule, method: str, reason: str, refused: bool = False) -> Decision:
    """Without a test: the rule as it was chosen or, if ``refused``, the generalist."""
    record = {"method": method, "alpha": ALPHA, "n_rows": 0, "rule": rule.to_dict()}
    outcome = {"outcome": "refused" if refused else "not tested", "reason": reason}
    record = {**record, "whole": None, "specialists": [], **outcome}
    return Decision(replace(rule, members=()) if refused else rule, record)


def pass_gate(
    rule: Rule,
    validation: Votes,
    validation_labels: Tensor,
    gate: Votes,
    gate_labels: Tensor,
    settings: CombinationConfig,
    groups: Tensor | None = None,
) -> Decision:
    """Screen on validation rows, test on the gate's rows (module docstring).

    Parameters
    ----------
    rule : Rule
        As validation chose it.
    validation, gate : Votes
        Of rows that trained nobody; the gate's chose nothing either.
    validation_labels, gate_labels : int64 Tensors
    settings : CombinationConfig
        Its ``gate`` ("whole" or "each") and how it chooses.
    groups : int64 Tensor, optional
        The same number for rows of the gate with the same input; None: all differ.
    """
    groups = torch.arange(len(gate_labels)) if groups is None else groups
    known = [_summary(gain) for gain in own_gains(validation, validation_labels, rule)]
    screened = screen(rule, known, validation, validation_labels, settings)
    active = gate.active(rule)
    alone = [
        _tested(gain, groups[active[:, m]])
        for m, gain in enumerate(own_gains(gate, gate_labels, rule))
    ]
    tried = _members(screened, len(alone))
    corrected = dict(zip(tried, holm([alone[m]["p"] for m in tried]), strict=True))
    group = screened
    if settings.gate == "each":
        group = restricted(rule, [m for m in tried if corrected[m] <= ALPHA], len(alone))
    whole = whole_test(group, gate, gate_labels, groups) if group.members != () else None
    passed = whole is not None and whole["passed"]
    entries = [
        {
            "specialist": m,
            "validation_rows": known[m]["n_rows"],
            "validation_gain": known[m]["mean_gain"],
            **alone[m],
            "corrected_p": corrected.get(m),
            **_verdict(m, tried, _members(group, len(alone)), passed),
        }
        for m in range(len(alone))
    ]
    record = {
        "method": settings.gate,
        "alpha": ALPHA,
        "n_rows": len(gate_labels),
        "rule": rule.to_dict(),
        "whole": whole,
        "specialists": entries,
        "outcome": "admitted" if passed else "refused",
        "reason": _reason(whole, tried, len(gate_labels)),
    }
    return Decision(group if passed else replace(rule, members=()), record)


def own_gains(votes: Votes, labels: Tensor, rule: Rule) -> list[Tensor]:
    """Gain in log-likelihood of the truth by each specialist alone, where the rule selects it.

    Returns
    -------
    list of M float64 Tensors of shape (rows where it votes,)
        In nats.
    """
    active = votes.active(rule)
    return [_own_gain(votes, labels, rule, m, active[:, m]) for m in range(len(votes.subsets))]


def screen(
    rule: Rule,
    known: Sequence[dict[str, Any]],
    votes: Votes,
    labels: Tensor,
    settings: CombinationConfig,
) -> Rule:
    """The rule without those that gain nothing on validation rows, unless it was better with them.

    ``known`` holds the ``mean_gain`` of each specialist there, None where it never votes.
    """
    helpful = [m for m, entry in enumerate(known) if (entry["mean_gain"] or 0.0) > 0.0]
    if len(helpful) == len(known):
        return rule
    judge = Judge(votes, labels, settings.max_cost)
    rules = [restricted(rule, helpful, len(known)), rule]
    candidates = [judge(candidate, votes.joined(candidate)) for candidate in rules]
    return rules[candidates.index(choose(candidates, settings))]


def whole_test(rule: Rule, votes: Votes, labels: Tensor, groups: Tensor) -> dict[str, Any]:
    """Does what the rule says gain on the generalist, without fewer right answers?"""
    joined = votes.joined(rule)
    right, before = ((q.argmax(1) == labels).sum() for q in (joined, votes.generalist))
    found = _tested(_gain(joined, votes.generalist, labels), groups)
    return {
        **found,
        "top1": int(right) / len(labels),
        "generalist_top1": int(before) / len(labels),
        "passed": found["p"] <= ALPHA and int(right) >= int(before),
    }


def restricted(rule: Rule, members: Sequence[int], n_specialists: int) -> Rule:
    """The rule with these members; as it was told where they are all that there are."""
    everyone = len(members) == n_specialists
    return replace(rule, members=None if everyone else tuple(members))


def _own_gain(votes: Votes, labels: Tensor, rule: Rule, m: int, active: Tensor) -> Tensor:
    rows = active.nonzero().squeeze(1)
    if not len(rows):
        return torch.zeros(0, dtype=torch.float64)
    generalist, only = votes.generalist[rows], rule.only(m)
    specialist = ([votes.specialists[m][rows]], [votes.subsets[m]])
    votes_here = active[rows, None]
    joined = join(generalist, *specialist, votes_here, only)
    silent = generalist
    if only.learned is not None:
        silent = join(generalist, *specialist, ~votes_here, only)
    return _gain(joined, silent, labels[rows])


def _gain(joined: Tensor, base: Tensor, labels: Tensor) -> Tensor:
    """Log-likelihoods of the truth, joined minus base; what single precision rounds is 0."""
    gain = log_likelihood(joined, labels) - log_likelihood(base, labels)
    return gain.masked_fill(gain.abs() < ROUNDING, 0.0)


def _summary(gain: Tensor) -> dict[str, Any]:
    return {"n_rows": len(gain), "mean_gain": float(gain.mean()) if len(gain) else None}


def _tested(gain: Tensor, groups: Tensor) -> dict[str, Any]:
    """Rows, mean in nats, and p that the mean is not above 0; 1 without rows."""
    numbers, place = groups.unique(return_inverse=True)
    sums = torch.zeros(len(numbers), dtype=gain.dtype).index_add_(0, place, gain).numpy()
    p = paired_mean_test(sums, np.zeros(len(sums)), alternative="greater") if len(gain) else 1.0
    return {**_summary(gain), "p": p}


def _members(rule: Rule, n_specialists: int) -> tuple[int, ...]:
    return tuple(range(n_specialists)) if rule.members is None else rule.members


def _verdict(m: int, tried: Sequence[int], group: Sequence[int], passed: bool) -> dict[str, Any]:
    if m not in tried:
        return {"admitted": False, "why_not": NO_GAIN}
    if m not in group:
        return {"admitted": False, "why_not": NOT_ALONE}
    return {"admitted": passed, "why_not": None if passed else NOT_TOGETHER}


def _reason(whole: dict[str, Any] | None, tried: Sequence[int], n_rows: int) -> str:
    if not tried:
        return "no specialist raises the log-likelihood of the truth on validation rows"
    if whole is None:
        return f"no specialist passes its own test on the {n_rows:,} rows kept for it"
    p = "p < 0.001" if whole["p"] < 0.001 else f"p = {whole['p']:.3f}"
    changes = f"the log-likelihood of the truth changes by {whole['mean_gain']:+.4f} nats ({p})"
    right = f"top-1 {whole['generalist_top1']:.3f} -> {whole['top1']:.3f}"
    return f"on {n_rows:,} rows kept for this test {changes}, {right}"
