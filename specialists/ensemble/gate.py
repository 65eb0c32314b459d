"""May the specialists answer? Only if held-out rows that served no other choice say that they help.

First a choice, on the validation rows: specialists that do not raise the mean log-likelihood of the
truth where they vote are left out of the chosen rule, by point estimate; if validation prefers the
rule with all of them nevertheless (they may help together), nobody is left out.

Then a test, on the gate's rows, one-sided and paired:

    "whole"   the mean gain in log-likelihood of all of them together over the generalist is above 0
              at level alpha, and they give no fewer right answers
    "each"    before that, every specialist alone, on the rows where the rule selects it, is above
              0 after Holm's correction for those tried; the others are left out

The specialists are admitted as a group; only with "each" did they pass tests of their own.

Rows of one group (the same input, concept, writer) are one observation of these tests: their gains
are summed first. Fewer than 20 groups are no test.

What does not pass answers exactly like its generalist, and so does an ensemble for whose test no
row, or too few groups, could be kept. Where no specialist helps, the chance that one enters is
about alpha; larger where rare large losses outweigh many small gains, since few rows may not show
one. A specialist alone is compared with the rule without any: of a learned rule that is the
generalist with the temperature that was learned for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from specialists.config import CombinationConfig
from specialists.ensemble.candidates import LEAST_LOG_LIKELIHOOD, Judge, Votes, choose
from specialists.ensemble.gains import log_likelihood_gain, own_gains
from specialists.ensemble.rules import Rule
from specialists.uncertainty import (
    MIN_GROUPS,
    count_groups,
    holm,
    no_test,
    paired_mean_test,
    rows_in_groups,
    t_interval,
)

ALPHA = 0.05
NOT_WANTED = "no rows are to be kept for the test whether specialists help (data.gate_fraction)"
NO_ROWS = "no row could be kept for the test whether specialists help: no class can spare one"
NO_GAIN = "does not raise the log-likelihood of the truth on validation rows"
NOT_ALONE = "does not pass its own test"
NOT_TOGETHER = "the specialists together do not pass"
TOO_FEW_GROUPS = "too few groups of rows were kept for a test"


@dataclass(frozen=True)
class Decision:
    """What the gate lets through.

    Parameters
    ----------
    rule : Rule
        The chosen one with the members that may vote; with none it is the generalist.
    record : dict
        JSON-able, for ``choice.json``: ``method``, ``alpha``, ``n_rows``, ``n_groups``; ``rule``,
        as it was chosen; ``whole``, the test of the group (None if there was none);
        ``specialists``, for each its gains, p-values, whether it is ``admitted`` and ``why_not``;
        ``outcome`` ("admitted", "refused", "not tested") and ``reason``. Every p-value is None
        where the rows are fewer than 20 groups; ``whole`` then has a 95% ``interval`` of its gain.
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
        return f"{admitted_in_words(self.record)}: {reason}"


def admitted_in_words(record: Mapping[str, Any]) -> str:
    """Who was admitted, and by which tests: "5 of 8 specialists are admitted as a group".

    With the method "each" they passed tests of their own too; otherwise nobody did.
    """
    specialists = record["specialists"]
    n = sum(entry["admitted"] for entry in specialists)
    who = f"{len(specialists)} specialist{'s' * (len(specialists) > 1)}"
    who = who if n == len(specialists) else f"{n} of {who}"
    together = "is admitted" if n == 1 else "are admitted as a group"
    if record["method"] != "each":
        return f"{who} {together}"
    own = "passes a test of its own" if n == 1 else "pass tests of their own"
    return f"{who} {own} and {together}"


def untested(rule: Rule, method: str, reason: str, refused: bool = False) -> Decision:
    """Without a test: the rule as it was chosen or, if ``refused``, the generalist."""
    record = {"method": method, "alpha": ALPHA, "n_rows": 0, "n_groups": 0}
    outcome = {"outcome": "refused" if refused else "not tested", "reason": reason}
    record |= {"rule": rule.to_dict(), "whole": None, "specialists": [], **outcome}
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
        The same number for rows of the gate that are one observation; None: each row is one.
    """
    groups = torch.arange(len(gate_labels)) if groups is None else groups
    n_groups = _count(groups)
    enough = n_groups >= MIN_GROUPS
    known = [_summary(gain) for gain in own_gains(validation, validation_labels, rule)]
    screened = screen(rule, known, validation, validation_labels, settings)
    gains, active = own_gains(gate, gate_labels, rule), gate.active(rule)
    alone = [_tested(gain, groups[active[:, m]], enough) for m, gain in enumerate(gains)]
    tried = screened.voters(len(alone))
    corrected = _corrected(alone, tried) if enough else {}
    group = screened
    if enough and settings.gate == "each":
        group = restricted(rule, [m for m in tried if corrected[m] <= ALPHA], len(alone))
    whole = whole_test(group, gate, gate_labels, groups) if group.members != () else None
    passed = whole is not None and whole["passed"]
    failed = None if passed else NOT_TOGETHER if enough else TOO_FEW_GROUPS
    entries = [
        {
            "specialist": m,
            "validation_rows": known[m]["n_rows"],
            "validation_gain": known[m]["mean_gain"],
            **alone[m],
            "corrected_p": corrected.get(m),
            **_verdict(m, tried, group.voters(len(alone)), failed),
        }
        for m in range(len(alone))
    ]
    record = {
        "method": settings.gate,
        "alpha": ALPHA,
        "n_rows": len(gate_labels),
        "n_groups": n_groups,
        "rule": rule.to_dict(),
        "whole": whole,
        "specialists": entries,
        "outcome": "admitted" if passed else "refused",
        "reason": _reason(whole, tried, len(gate_labels), n_groups),
    }
    return Decision(group if passed else replace(rule, members=()), record)


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
    joined, enough = votes.joined(rule), _count(groups) >= MIN_GROUPS
    right, before = ((q.argmax(1) == labels).sum() for q in (joined, votes.generalist))
    gain = log_likelihood_gain(joined, votes.generalist, labels)
    found = _tested(gain, groups, enough)
    if not enough:
        limits = (LEAST_LOG_LIKELIHOOD, -LEAST_LOG_LIKELIHOOD)
        found["interval"] = list(t_interval(gain, groups, limits=limits))
    return {
        **found,
        "top1": int(right) / len(labels),
        "generalist_top1": int(before) / len(labels),
        "passed": enough and found["p"] <= ALPHA and int(right) >= int(before),
    }


def restricted(rule: Rule, members: Sequence[int], n_specialists: int) -> Rule:
    """The rule with these members; as it was told where they are all that there are."""
    everyone = len(members) == n_specialists
    return replace(rule, members=None if everyone else tuple(members))


def _summary(gain: Tensor) -> dict[str, Any]:
    return {"n_rows": len(gain), "mean_gain": float(gain.mean()) if len(gain) else None}


def _tested(gain: Tensor, groups: Tensor, enough: bool) -> dict[str, Any]:
    """Rows, groups, mean in nats, and p that the mean is not above 0; 1 without rows.

    None instead of p unless the rows of which these are a part are ``enough`` groups.
    """
    p = 1.0 if enough else None
    if enough and len(gain):
        p = paired_mean_test(gain, torch.zeros_like(gain), alternative="greater", groups=groups)
    return {**_summary(gain), "n_groups": _count(groups), "p": p}


def _count(groups: Tensor) -> int:
    return count_groups(groups, len(groups))


def _corrected(alone: Sequence[dict[str, Any]], tried: Sequence[int]) -> dict[int, float]:
    """The p-values of the specialists tried, corrected for their number."""
    return dict(zip(tried, holm([alone[m]["p"] for m in tried]), strict=True))


def _verdict(
    m: int, tried: Sequence[int], group: Sequence[int], failed: str | None
) -> dict[str, Any]:
    """Whether a specialist may answer; ``failed`` says why the group may not, if it may not."""
    if m not in tried:
        return {"admitted": False, "why_not": NO_GAIN}
    if m not in group:
        return {"admitted": False, "why_not": NOT_ALONE}
    return {"admitted": failed is None, "why_not": failed}


def _reason(whole: dict[str, Any] | None, tried: Sequence[int], n_rows: int, n_groups: int) -> str:
    rows = rows_in_groups(n_rows, n_groups)
    if not tried:
        return "no specialist raises the log-likelihood of the truth on validation rows"
    if whole is None:
        return f"no specialist passes its own test on the {rows} kept for it"
    changes = f"the log-likelihood of the truth changes by {whole['mean_gain']:+.4f} nats"
    right = f"top-1 {whole['generalist_top1']:.3f} -> {whole['top1']:.3f}"
    if whole["p"] is None:
        low, high = whole["interval"]
        return (
            f"{no_test(n_groups)}, which takes {MIN_GROUPS}; on the {rows} kept for it {changes} "
            f"(95% interval {low:+.4f} to {high:+.4f}), {right}"
        )
    p = "p < 0.001" if whole["p"] < 0.001 else f"p = {whole['p']:.3f}"
    return f"on {rows} kept for this test {changes} ({p}), {right}"
