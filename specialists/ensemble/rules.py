"""Which specialists are asked about an example, and by which rule are the predictions combined?

The n most probable classes of the generalist select the specialists whose subset meets them
(Hinton et al. 2015, section 5.4); a generalist that is surer than a threshold may answer alone, as
in a cascade. The predictions are combined by the exact KL minimiser, with one weight for all
specialists or with weights and temperatures that were learned; by averaging within each subset; or
by concatenating the specialists' subset parts. Of a minimiser with one weight, validation data say
what dustbins are worth on the rows where the rule asks. Shared specialists join what comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from torch import Tensor

from specialists.combination import (
    FittedDustbin,
    LearnedCombination,
    Subsets,
    combine,
    concatenate_subsets,
    within_subsets,
)
from specialists.ensemble.shared_members import SharedRule, in_per_cent, weight_in_words
from specialists.json_record import JsonRecord
from specialists.predictions import DensePredictions, Predictions

WEIGHTED = ("kl", "within_subsets")
MAX_NAMED = 12
NAMES_IN_WORDS = {
    "kl": "the KL combination",
    "learned": "the KL combination with learned weights and temperatures",
    "within_subsets": "generalist and specialists averaged within subsets",
    "side_by_side": "subset parts side by side",
}
FITTED_IN_WORDS = "what they say of all other classes fitted on the rows where they are asked"


@dataclass(frozen=True)
class CombinationRule(JsonRecord):
    """How specialists are selected and combined: in JSON as ``choice.json`` and candidates hold it.

    Parameters
    ----------
    method : {"kl", "learned", "within_subsets", "side_by_side"}
    n : int or None
        Most probable classes of the generalist that select specialists; None: all specialists.
    weight : float
        v, the weight of each specialist beside the generalist's 1; for "learned", where fitting
        started; without effect side by side.
    learned : LearnedCombination, optional
        The fitted numbers of "learned".
    members : tuple of int, optional
        Specialists that may be asked; None: all. With none the prediction is the generalist's.
    defer_above : float, optional
        The generalist's largest probability, in [0, 1], above which no specialist is asked; None:
        they are asked about every row.
    dustbin : FittedDustbin, optional
        Of "kl": the dustbins on the rows where the rule asks; None: as specialists were calibrated,
        over all rows.
    shared : SharedRule, optional
        How shared specialists are asked; None: they are not.
    """

    method: Annotated[str, Field(alias="rule")]
    n: int | None
    weight: float = 1.0
    learned: (
        Annotated[
            LearnedCombination,
            PlainValidator(LearnedCombination.from_dict),
            PlainSerializer(LearnedCombination.to_dict),
        ]
        | None
    ) = None
    members: tuple[int, ...] | None = None
    defer_above: Annotated[float | None, Field(alias="confidence")] = None
    dustbin: FittedDustbin | None = None
    shared: SharedRule | None = None

    @model_serializer(mode="wrap")
    def _with_weight(self, rest: SerializerFunctionWrapHandler) -> dict[str, object]:
        """JSON holds the weight also where it is 1."""
        return {**rest(self), "weight": self.weight}

    @property
    def is_generalist(self) -> bool:
        """Whether no specialist may be asked."""
        return self.members == () and self.shared is None

    @property
    def n_shared(self) -> int:
        """How many shared specialists are asked."""
        return 0 if self.shared is None else self.shared.n_members

    def asks_shared(self, confidence: Tensor) -> Tensor:
        """About which rows shared specialists are asked, bool (n,).

        ``confidence`` is the generalist's largest probability, at most 1.
        """
        if self.shared is None:
            return torch.zeros_like(confidence, dtype=torch.bool)
        limit = 1.0 if self.defer_above is None else self.defer_above
        return confidence <= limit

    def may_answer(self, n_specialists: int) -> tuple[int, ...]:
        """Indices of the specialists, of so many, that may be asked."""
        return tuple(range(n_specialists)) if self.members is None else self.members

    def only(self, m: int) -> CombinationRule:
        """The same for a problem in which specialist ``m`` is the only one there is."""
        if self.learned is None:
            return replace(self, members=None)
        learned = replace(
            self.learned,
            weights=self.learned.weights[m : m + 1],
            temperatures=self.learned.temperatures[m : m + 1],
        )
        return replace(self, learned=learned, members=None)

    def in_words(self) -> str:
        """Who is asked where, and what each answer weighs."""
        if self.is_generalist:
            return "the generalist alone"
        limit = "" if self.defer_above is None else in_per_cent(self.defer_above)
        unsure = limit and f"; where the generalist is more than {limit} sure, it answers alone"
        words = [self._clusters_in_words()] if self.members != () else []
        words += [self.shared.in_words()] if self.shared else []
        return f"{', then '.join(words)}{unsure}"

    def _clusters_in_words(self) -> str:
        voters = "every specialist"
        if self.n is not None:
            classes = "most probable class" if self.n == 1 else f"{self.n} most probable classes"
            voters = f"the specialists of each row's {classes}"
        weight = f", each {weight_in_words(self.weight)}" if self.method in WEIGHTED else ""
        fitted = "" if self.dustbin is None else f", {FITTED_IN_WORDS}"
        few = "" if self.members is None else f", {numbered(self.members)} only"
        return f"{NAMES_IN_WORDS[self.method]}, asking {voters}{weight}{fitted}{few}"

    def in_short(self) -> str:
        """For tables, for instance "kl, n = 3, weight 2, 5 specialists, alone above 97.5%"."""
        words = []
        if self.members != () or self.shared is None:
            words += [self.method, f"n = {'all' if self.n is None else self.n}"]
            words += [f"weight {self.weight:g}"] if self.method in WEIGHTED else []
            words += [] if self.dustbin is None else ["fitted dustbins"]
            words += [] if self.members is None else [f"{len(self.members)} specialists"]
        words += [self.shared.in_short()] if self.shared else []
        if self.defer_above is not None:
            words.append(f"alone above {in_per_cent(self.defer_above)}")
        return ", ".join(words)


PAPER = CombinationRule("kl", 1, 1.0)


def numbered(specialists: Sequence[int]) -> str:
    """For instance "specialists 0, 2 and 5"; long lists end with how many more there are."""
    if len(specialists) == 1:
        return f"specialist {specialists[0]}"
    named, more = specialists[:MAX_NAMED], len(specialists) - MAX_NAMED
    last = f"{more} more" if more > 0 else str(named[-1])
    first = named if more > 0 else named[:-1]
    return f"specialists {', '.join(map(str, first))} and {last}"


def active_specialists(
    generalist: Predictions, subsets: Subsets | Sequence[Tensor], rule: CombinationRule
) -> Tensor:
    """Which of M specialists a rule asks about each of n rows, bool of shape (n, M).

    Those whose subset meets the rule's n most probable classes (all, where n is None), if they are
    members, in rows where the generalist is not surer than ``defer_above``.
    """
    asked = asked_about(generalist, subsets, rule.n)
    return admitted(asked, rule, None if rule.defer_above is None else generalist.confidence())


def asked_about(
    generalist: Predictions, subsets: Subsets | Sequence[Tensor], n: int | None
) -> Tensor:
    """Whether each subset holds one of each row's n most probable classes, bool of shape (n, M)."""
    if n is None:
        device = subsets.sizes.device if isinstance(subsets, Subsets) else None
        return torch.ones(len(generalist), len(subsets), dtype=torch.bool, device=device)
    _, top = generalist.most_probable(n)
    return _members(subsets, generalist.n_classes)[:, top].any(2).T.contiguous()


def admitted(asked: Tensor, rule: CombinationRule, confidence: Tensor | None) -> Tensor:
    """Of the specialists that are ``asked``, members alone, and in rows that are not deferred."""
    active = asked
    if rule.members is not None:
        allowed = torch.zeros(asked.shape[1], dtype=torch.bool)
        allowed[list(rule.members)] = True
        active = active & allowed.to(active.device)
    if rule.defer_above is not None:
        assert confidence is not None
        active = active & (confidence <= rule.defer_above)[:, None]
    return active


def _members(subsets: Subsets | Sequence[Tensor], n_classes: int) -> Tensor:
    """Whether each subset holds each class, bool (M, n_classes)."""
    if isinstance(subsets, Subsets):
        return subsets.member
    member = torch.zeros(len(subsets), n_classes, dtype=torch.bool)
    for m, subset in enumerate(subsets):
        member[m, subset] = True
    return member


def join(
    generalist: Predictions,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    active: Tensor,
    rule: CombinationRule,
) -> Predictions:
    """One distribution over all classes a row, by a rule, before shared specialists join.

    ``active`` leaves out who is no member of the rule; without any the generalist is returned.
    """
    if rule.members == () or not len(subsets):
        return generalist
    log_probs = generalist.dense()
    if rule.dustbin is not None:
        specialists = rule.dustbin.mended(log_probs, specialists, subsets, active)
    predictions = (log_probs, specialists, subsets, active)
    if rule.method == "side_by_side":
        joined = concatenate_subsets(*predictions)
    elif rule.method == "within_subsets":
        joined = within_subsets(*predictions, weight=rule.weight)
    elif rule.learned is not None:
        joined = rule.learned.combine(*predictions).log_probs
    else:
        weights = torch.full((len(subsets),), rule.weight, dtype=log_probs.dtype)
        joined = combine(*predictions, weights).log_probs
    return DensePredictions(joined)
