"""What the admission test decided, and the tests behind it, as ``choice.json`` holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from specialists.ensemble.rules import CombinationRule
from specialists.json_record import JsonRecord


@dataclass(frozen=True)
class GainTest:
    """Is the mean gain in log-likelihood of the truth above 0? One-sided and paired.

    Parameters
    ----------
    n_rows, n_groups : int
        Rows, and the groups of rows that are one observation each.
    mean_gain : float or None
        In nats; None without rows.
    p : float or None
        None where all rows kept for the test are fewer than 20 groups.
    """

    n_rows: int
    mean_gain: float | None
    n_groups: int
    p: float | None


@dataclass(frozen=True)
class GroupTest(GainTest):
    """The test of all specialists together.

    Parameters
    ----------
    top1, generalist_top1 : float
        Fractions of right answers, with the specialists and without.
    passed : bool
    interval : pair of floats, optional
        95% interval of the mean gain, where there is no p.
    """

    top1: float
    generalist_top1: float
    passed: bool
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class SpecialistTest(GainTest):
    """The test of one specialist alone, on the rows about which the rule asks it.

    Parameters
    ----------
    specialist : int
    validation_rows, validation_gain : int, float or None
        On the validation rows, which choose who is tested.
    corrected_p : float or None
        After Holm's correction for the specialists that were tested; None for the others.
    admitted : bool
    why_not : str or None
    """

    specialist: int
    validation_rows: int
    validation_gain: float | None
    corrected_p: float | None
    admitted: bool
    why_not: str | None


@dataclass(frozen=True)
class SharedTest(GainTest):
    """The test of what shared specialists add to the rule without them.

    Parameters
    ----------
    corrected_p : float or None
        After Holm's correction for them and the specialists that were tested.
    admitted : bool
    """

    corrected_p: float | None
    admitted: bool


@dataclass(frozen=True)
class AdmissionDecision(JsonRecord):
    """Which specialists may answer.

    Parameters
    ----------
    method : {"whole", "each", "off"}
    chosen : CombinationRule
        As validation chose it.
    outcome : {"admitted", "refused", "not tested"}
    reason : str
    alpha : float
        Level of the tests.
    n_rows, n_groups : int
        Kept for the test.
    whole : GroupTest or None
        None if the group was not tested.
    specialists : tuple of SpecialistTest
        Of every specialist of a cluster; empty without a test.
    shared : SharedTest or None
        Of all shared specialists together, where the rule asks any.
    """

    method: str
    chosen: Annotated[CombinationRule, Field(alias="rule")]
    outcome: Literal["admitted", "refused", "not tested"]
    reason: str
    alpha: float
    n_rows: int
    n_groups: int
    whole: GroupTest | None
    specialists: tuple[SpecialistTest, ...]
    shared: SharedTest | None = None

    @property
    def rule(self) -> CombinationRule:
        """The chosen rule with the members that may answer; with none it is the generalist."""
        if self.outcome == "refused":
            return replace(self.chosen, members=(), shared=None)
        if self.outcome == "not tested":
            return self.chosen
        admitted = [test.specialist for test in self.specialists if test.admitted]
        rule = restricted(self.chosen, admitted, len(self.specialists))
        return rule if self.shared and self.shared.admitted else replace(rule, shared=None)

    @property
    def n_shared(self) -> int:
        """How many shared specialists are admitted."""
        return self.rule.n_shared if self.outcome == "admitted" else 0

    def in_words(self) -> str:
        """One line that says what was decided, and why."""
        if self.outcome == "refused":
            return f"the ensemble answers like its generalist: {self.reason}"
        if self.outcome == "not tested":
            return f"not tested: {self.reason}"
        admitted = [test.admitted for test in self.specialists]
        return f"{admitted_in_words(self.method, admitted, self.n_shared)}: {self.reason}"


def admitted_in_words(method: str, admitted: Sequence[bool], n_shared: int = 0) -> str:
    """Who was admitted, and by which tests: "5 of 8 specialists are admitted as a group".

    With the method "each" they passed tests of their own too; otherwise nobody did.
    """
    n = sum(admitted) + n_shared
    who = f"{len(admitted)} specialist{'s' * (len(admitted) > 1)}"
    who = who if sum(admitted) == len(admitted) else f"{sum(admitted)} of {who}"
    if n_shared:
        sharing = f"{n_shared} shared specialist{'s' * (n_shared > 1)}"
        who = f"{who} and {sharing}" if any(admitted) else sharing
    together = "is admitted" if n == 1 else "are admitted as a group"
    if method != "each":
        return f"{who} {together}"
    alone = "passes a test of its own" if n == 1 else "pass tests of their own"
    if n_shared and not any(admitted):
        alone = "passes its test" if n_shared == 1 else "pass a test together"
    return f"{who} {alone} and {together}"


def restricted(
    rule: CombinationRule, members: Sequence[int], n_specialists: int
) -> CombinationRule:
    """The rule with these members; unchanged where they are all that there are."""
    everyone = len(members) == n_specialists > 0
    return replace(rule, members=None if everyone else tuple(members))
