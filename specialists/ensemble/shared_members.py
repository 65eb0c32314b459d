"""Specialists that all rows share: what they predict, and how it joins what the others said.

A shared specialist is asked about the generalist's most probable classes in each row, its
shortlist, and about every class where the generalist is unsure. Both are joined by the exact
minimiser of KL(q || p), in which the row's shortlist is the subset and the generalist's mass
outside of it the dustbin (METHOD.md (29)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from specialists.combination import combine_shortlists, geometric_mean
from specialists.datasets.base import Inputs
from specialists.datasets.fetched_rows import only_rows
from specialists.json_record import JsonRecord
from specialists.networks import inference_flops
from specialists.predictions import DensePredictions, Predictions
from specialists.shared import SharedSpecialist, Shortlisting

KEPT_NUMBERS = 1 << 28  # log-probabilities of all members, rows and classes; 1 GiB


@dataclass(frozen=True)
class SharedRule(JsonRecord):
    """How shared specialists are asked and weighed.

    Parameters
    ----------
    n_members : int
        How many of them, from the first one on.
    weight : float
        v, of each beside the generalist's 1.
    whole_up_to : float, optional
        The generalist's largest probability, in [0, 1], up to which they are asked about every
        class; None: nowhere.
    """

    n_members: int
    weight: float = 1.0
    whole_up_to: float | None = None

    def in_words(self) -> str:
        """How many there are, what their answers weigh, and about which classes they are asked."""
        several = self.n_members > 1
        who = f"{self.n_members} shared specialist{'s' * several}"
        words = f"{who}, {'each ' * several}{weight_in_words(self.weight)}, asked about"
        if self.whole_up_to == 1:
            return f"{words} all classes in every row"
        words += " each row's most probable classes"
        if self.whole_up_to is None:
            return words
        limit = in_per_cent(self.whole_up_to)
        return f"{words}, and about all classes where the generalist is at most {limit} sure"

    def in_short(self) -> str:
        """For tables, for instance "2 shared, weight 1, whole up to 40.0%"."""
        words = f"{self.n_members} shared, weight {self.weight:g}"
        whole = self.whole_up_to
        return words if whole is None else f"{words}, whole up to {in_per_cent(whole)}"

    def asks_whole(self, confidence: Tensor) -> Tensor:
        """Where they are asked about every class, bool (n,), by the generalist's confidence."""
        return confidence <= (-1.0 if self.whole_up_to is None else self.whole_up_to)


class SharedAnswers(Protocol):
    """What shared specialists say of n rows, given for some of the rows and the first k members."""

    def of_shortlists(self, rows: Tensor, k: int) -> tuple[Tensor, list[Tensor]]:
        """Shortlists (rows, K), and each member's log-probabilities (rows, K) among them."""
        ...

    def of_all_classes(self, rows: Tensor, k: int) -> list[Tensor]:
        """Log-probabilities (rows, C), one Tensor a member."""
        ...


@dataclass(frozen=True)
class SharedMembers:
    """S shared specialists, and which classes they are asked about."""

    specialists: Sequence[SharedSpecialist]
    shortlisting: Shortlisting

    def predictions(
        self, inputs: Inputs, generalist: Predictions, sample: Tensor
    ) -> SharedPredictions:
        """What they predict for n rows; of every class only what is asked for later.

        Operations are counted on the rows of ``sample``.
        """
        classes = self.shortlisting(generalist)
        few, shortlists = inputs[sample], classes[sample]
        return SharedPredictions(
            self,
            inputs,
            classes,
            [one.shortlist_log_probs(inputs, classes) for one in self.specialists],
            torch.tensor([one.shortlist_flops(few, shortlists) for one in self.specialists]),
            torch.tensor([inference_flops(one.network, few) for one in self.specialists]),
        )

    def of_all_classes(self, inputs: Inputs, k: int) -> list[Tensor]:
        """Log-probabilities (n, C) of all n rows, one Tensor for each of the first k."""
        return [one.log_probs(inputs) for one in self.specialists[:k]]


@dataclass(frozen=True)
class SharedPredictions:
    """What S shared specialists predict for n rows.

    Parameters
    ----------
    members : SharedMembers
    inputs : Tensor or Ragged of n rows
    classes : int64 Tensor of shape (n, K)
        Each row's shortlist.
    on_shortlists : list of S Tensors of shape (n, K)
        Log-probabilities among the classes of the shortlist.
    shortlist_flops, whole_flops : Tensor of shape (S,)
        Of one prediction.
    """

    members: SharedMembers
    inputs: Inputs
    classes: Tensor
    on_shortlists: list[Tensor]
    shortlist_flops: Tensor
    whole_flops: Tensor

    def __getitem__(self, rows: Tensor, /) -> SharedPredictions:
        parts = [one[rows] for one in self.on_shortlists]
        inputs, classes = only_rows(self.inputs, rows), self.classes[rows]
        return replace(self, inputs=inputs, classes=classes, on_shortlists=parts)

    @property
    def n_members(self) -> int:
        """S."""
        return len(self.on_shortlists)

    def of_shortlists(self, rows: Tensor, k: int) -> tuple[Tensor, list[Tensor]]:
        return self.classes[rows], [one[rows] for one in self.on_shortlists[:k]]

    def of_all_classes(self, rows: Tensor, k: int) -> list[Tensor]:
        if len(rows) == len(self.classes) and self._fit_in_memory:
            return self._of_every_row[:k]
        return self.members.of_all_classes(only_rows(self.inputs, rows), k)

    @property
    def _fit_in_memory(self) -> bool:
        n_classes = self.members.specialists[0].n_classes
        return self.n_members * len(self.classes) * n_classes <= KEPT_NUMBERS

    @cached_property
    def _of_every_row(self) -> list[Tensor]:
        """Kept, since many rules ask for them in turn."""
        return self.members.of_all_classes(self.inputs, self.n_members)

    def flops(self, rule: SharedRule, asked: Tensor, confidence: Tensor) -> float:
        """Mean FLOPs a row of the rule's members; they are ``asked`` about some rows, bool (n,)."""
        whole = asked & rule.asks_whole(confidence)
        shares = [float(rows.double().mean()) for rows in (asked & ~whole, whole)]
        costs = [float(c[: rule.n_members].sum()) for c in (self.shortlist_flops, self.whole_flops)]
        return shares[0] * costs[0] + shares[1] * costs[1]


@dataclass(frozen=True)
class SharedAnswersOfNow:
    """The same, computed as it is asked for, from the generalist's log-probabilities (n, C)."""

    members: SharedMembers
    inputs: Inputs
    generalist: Tensor

    def of_shortlists(self, rows: Tensor, k: int) -> tuple[Tensor, list[Tensor]]:
        inputs = self.inputs[rows]
        classes = self.members.shortlisting(DensePredictions(self.generalist[rows].cpu()))
        some = self.members.specialists[:k]
        return classes, [one.shortlist_log_probs(inputs, classes) for one in some]

    def of_all_classes(self, rows: Tensor, k: int) -> list[Tensor]:
        return self.members.of_all_classes(self.inputs[rows], k)


def with_shared(
    log_probs: Tensor,
    asked: Tensor,
    confidence: Tensor,
    answers: SharedAnswers,
    rule: SharedRule,
) -> Tensor:
    """Log-probabilities (n, C) after shared specialists are joined.

    Parameters
    ----------
    log_probs : Tensor of shape (n, C)
        The generalist's, or what it and the specialists of clusters say together.
    asked : bool Tensor of shape (n,)
        Rows about which shared specialists are asked.
    confidence : Tensor of shape (n,)
        The generalist's largest probability.
    answers : SharedAnswers
        Of the n rows.
    rule : SharedRule
    """
    whole, k, device = asked & rule.asks_whole(confidence), rule.n_members, log_probs.device
    joined = log_probs.clone()
    if len(rows := (asked & ~whole).nonzero().squeeze(1)):
        classes, parts = answers.of_shortlists(rows, k)
        given = (log_probs[rows], classes.to(device), [part.to(device) for part in parts])
        joined[rows] = combine_shortlists(*given, [rule.weight] * k)
    if len(rows := whole.nonzero().squeeze(1)):
        heads = [head.to(device) for head in answers.of_all_classes(rows, k)]
        joined[rows] = geometric_mean([log_probs[rows], *heads], [1.0, *[rule.weight] * k])
    return joined


def weight_in_words(weight: float) -> str:
    """Of an answer: "with the generalist's weight", or with a multiple of it."""
    times = "" if weight == 1 else f"{weight:g} times "
    return f"with {times}the generalist's weight"


def in_per_cent(probability: float) -> str:
    """With as many decimals as keep what is not certain from reading as 100%."""
    decimals = 1
    while probability < 1 and float(f"{100 * probability:.{decimals}f}") == 100:
        decimals += 1
    return f"{100 * probability:.{decimals}f}%"
