"""Generalists that are averaged, and of which the later ones may be asked less.

Members are averaged as probabilities (the linear opinion pool) or as log-probabilities (the
logarithmic one), and the mean gets a temperature. Where the first member is surer than a threshold,
the later ones are asked about its K most probable classes only, or not at all. A member that is
asked about K classes shares the first one's mass of these classes, and leaves the others to it.

Asking about K of C classes saves the head's rows of the others: with h the head's part of a
member's operations, it costs 1 - h (1 - K / C) of a whole prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.baselines.tempered import TemperedLosses, fit_shared_temperature
from specialists.combination import arithmetic_mean, geometric_mean
from specialists.predictions import DensePredictions, Predictions
from specialists.probability import MAX_NLL, tempered_log_softmax

Mean = Literal["arithmetic", "geometric"]

MEANS: dict[Mean, Callable[..., Tensor]]
MEANS = {"arithmetic": arithmetic_mean, "geometric": geometric_mean}
SHORTLISTS = (8, 32, 128)
PARTS = (1.0, 0.5, 0.25)  # of the largest share of rows that the budget pays for
MOST_OF_THE_COST = 0.5
ROUNDING = 1e-9
SAME_CONFIDENCE = 1e-6  # rows that are equally sure are asked together


@dataclass(frozen=True)
class AveragingRule:
    """How many generalists are averaged, how, and what the later ones are asked.

    Parameters
    ----------
    n_members : int
        k, the first one included.
    mean : {"arithmetic", "geometric"}
        Of probabilities, or of log-probabilities and normalised.
    temperature : float
        T of the mean, in rows where later members are asked: softmax(log mean / T).
    confidence : float, optional
        The first one's largest probability up to which the others are asked about every class;
        None: always.
    shortlist : int
        K: in the other rows they are asked about the first one's K most probable classes; 0: about
        none.
    """

    n_members: int
    mean: Mean = "arithmetic"
    temperature: float = 1.0
    confidence: float | None = None
    shortlist: int = 0

    def asked(self, first: Predictions) -> tuple[Tensor, Tensor]:
        """Where later members are asked about all classes, and where about the shortlist.

        A pair of bool Tensors of shape (n,), from the first member's predictions of n rows.
        """
        none = torch.zeros(len(first), dtype=torch.bool)
        if self.n_members == 1:
            return none, none
        whole = ~none if self.confidence is None else first.confidence() <= self.confidence
        return whole, ~whole if self.shortlist else none

    def relative_cost(self, first: Predictions, head_share: float) -> float:
        """Mean inference FLOPs over the first member's; ``head_share`` is h, the head's part."""
        whole, short = (float(rows.double().mean()) for rows in self.asked(first))
        asked = whole + short * shortlist_cost(self.shortlist, first.n_classes, head_share)
        return 1.0 + (self.n_members - 1) * asked


@dataclass(frozen=True)
class AverageCandidate:
    """A rule with its score and its cost on validation rows.

    Parameters
    ----------
    rule : AveragingRule
    top1, nll : float
        Fraction, nats.
    relative_cost : float
        Mean inference FLOPs over those of the first member.
    lowers_nll : bool
        Whether its NLL is at most the first member's.
    """

    rule: AveragingRule
    top1: float
    nll: float
    relative_cost: float
    lowers_nll: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the rule's numbers beside the others."""
        values = asdict(self)
        return {**values.pop("rule"), **values}


def shortlist_cost(shortlist: int, n_classes: int, head_share: float) -> float:
    """Cost of asking about K of C classes, over that of all classes; 0 for K = 0."""
    return 1.0 - head_share * (1.0 - shortlist / n_classes) if shortlist else 0.0


def averaged(members: Iterable[Predictions], rule: AveragingRule) -> Predictions:
    """The mean of the first k members by a rule.

    ``members`` are predictions of the same n rows. Each is used once, so an
    iterator may compute them one by one.
    """
    rest = iter(members)
    first = next(rest)
    whole, short = rule.asked(first)
    rows = (whole | short).nonzero().squeeze(1)
    if not len(rows):
        return first
    start, on_shortlist = first[rows].dense(), short[rows]
    mean = start
    for i in range(1, rule.n_members):
        other = next(rest)[rows].dense()
        if bool(on_shortlist.any()):
            kept = start[on_shortlist]
            other[on_shortlist] = within_shortlist(kept, other[on_shortlist], rule.shortlist)
        mean = MEANS[rule.mean]([mean, other], [i, 1])
    result = first.dense().clone()
    result[rows] = tempered_log_softmax(mean, rule.temperature)
    return DensePredictions(result)


def within_shortlist(first: Tensor, other: Tensor, shortlist: int) -> Tensor:
    """What a member says of the first one's K most probable classes, all else as the first one.

    For classes j of the shortlist L log(g(L) p_j / p(L)), for the others log g_j, where
    ``first`` and ``other`` are log g and log p, of shape (n, C).
    """
    top, classes = first.topk(min(shortlist, first.shape[1]), dim=1)
    inside = F.log_softmax(other.gather(1, classes), dim=1) + top.logsumexp(1, keepdim=True)
    return first.scatter(1, classes, inside)


def everywhere(n_members: int) -> list[AveragingRule]:
    """The rules by which all members are asked about every class of every row."""
    return [AveragingRule(n_members, mean) for mean in MEANS][: None if n_members > 1 else 1]


def deferring_rules(
    first: Predictions, n_members: int, limit: float, head_share: float
) -> list[AveragingRule]:
    """Rules that cost at most ``limit`` first members on these rows; the first alone is one.

    For each number of members and each shortlist (K = 0, and where the head is most of the cost
    some more) the later members are asked about every class in the largest share of the rows that
    the limit pays for, in a half and in a quarter of it and, with a shortlist, in none. ``first``
    are the first member's predictions of the validation rows; ``n_members`` is the most.
    """
    n_classes = first.n_classes
    lists = SHORTLISTS if head_share > MOST_OF_THE_COST else ()
    rules = [AveragingRule(1)]
    for k in range(2, n_members + 1):
        for shortlist in (0, *(size for size in lists if size < n_classes)):
            least = shortlist_cost(shortlist, n_classes, head_share)
            most = ((limit - 1.0) / (k - 1) - least) / (1.0 - least)
            parts = (*PARTS, 0.0) if shortlist else PARTS
            limits = [_up_to(first, part * min(1.0, most)) for part in parts if most >= 0.0]
            rules += [
                AveragingRule(k, mean, 1.0, confidence, shortlist)
                for confidence in dict.fromkeys(limits)
                if shortlist or confidence != 0.0
                for mean in MEANS
            ]
    return [r for r in rules if r.relative_cost(first, head_share) <= limit + ROUNDING]


def _up_to(first: Predictions, share: float) -> float | None:
    """The confidence up to which at most this share of the rows lies; None: all of them."""
    sureness = first.confidence().sort().values
    n = math.floor(share * len(first) + ROUNDING)
    while 0 < n < len(sureness) and sureness[n] - sureness[n - 1] <= SAME_CONFIDENCE:
        n -= 1
    if n == len(sureness):
        return None
    return float(sureness[n - 1 : n + 1].mean()) if n else 0.0


def judge_averages(
    rules: Sequence[AveragingRule],
    members: Sequence[Predictions],
    labels: Tensor,
    head_share: float,
) -> list[AverageCandidate]:
    """Each rule with its temperature fitted, and what it reaches and costs on validation rows.

    ``members`` are predictions of the same n rows, ``labels`` is int64 of shape (n,).
    """
    judge = _Judge(members, labels)
    alike = sorted(range(len(rules)), key=lambda i: _means_of(rules[i]))  # which share their means
    judged = {i: judge(rules[i], head_share) for i in alike}
    return [judged[i] for i in range(len(rules))]


def _means_of(rule: AveragingRule) -> tuple[int, str, int]:
    return rule.n_members, rule.mean, rule.shortlist


class _Judge:
    """Compares rules by what their means say of the labels; few means serve many rules."""

    def __init__(self, members: Sequence[Predictions], labels: Tensor) -> None:
        self.members, self.labels = members, labels
        first = members[0]
        self.alone = (first.predicted() == labels, _losses(first.of_labels(labels)))
        self.reference = float(self.alone[1].mean())
        self._mean = lru_cache(2)(self._tempered)  # of whole rows, and of shortlists

    def __call__(self, rule: AveragingRule, head_share: float) -> AverageCandidate:
        right, loss = (values.clone() for values in self.alone)
        whole, short = rule.asked(self.members[0])
        parts = [
            (self._mean(*_means_of(replace(rule, shortlist=size))), rows)
            for size, rows in ((0, whole), (rule.shortlist, short))
            if bool(rows.any())
        ]
        if parts:
            temperature, losses = fit_shared_temperature(parts)
            rule = replace(rule, temperature=temperature)
            for (mean, rows), of_rows in zip(parts, losses, strict=True):
                right[rows], loss[rows] = mean.right[rows], of_rows
        cost = rule.relative_cost(self.members[0], head_share)
        top1, nll = float(right.double().mean()), float(loss.mean())
        return AverageCandidate(rule, top1, nll, cost, nll <= self.reference)

    def _tempered(self, n_members: int, mean: Mean, shortlist: int) -> TemperedLosses:
        """Of a mean that is asked about every row, all classes or the shortlist."""
        confidence = -1.0 if shortlist else None
        rule = AveragingRule(n_members, mean, confidence=confidence, shortlist=shortlist)
        return TemperedLosses(averaged(self.members, rule).dense(), self.labels)


def _losses(log_probs: Tensor) -> Tensor:
    """What labels of these log-probabilities cost, as :func:`specialists.ensemble.score` says."""
    return -log_probs.clamp_min(-MAX_NLL).double()
