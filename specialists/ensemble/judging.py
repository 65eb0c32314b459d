"""How good is a rule on validation rows, what does it cost, and which of several is the best?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from specialists.config import CombinationConfig
from specialists.ensemble.member_predictions import MemberPredictions
from specialists.ensemble.rules import CombinationRule
from specialists.json_record import Cost
from specialists.predictions import Predictions
from specialists.probability import MAX_NLL, mean_over_rows

ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Candidate(CombinationRule):
    """A rule with its score and its cost on validation rows.

    Parameters
    ----------
    top1, nll : float
        Fraction, and nats; of a rule with fitted numbers cross-fitted.
    inference_flops, relative_cost : float
        Of one prediction, the mean over the rows; and over the generalist's.
    eligible : bool
        Whether it is within the cost limit.
    lowers_nll : bool
        Whether its NLL is at most the generalist's.
    in_sample : dict, optional
        Of a learned rule: ``top1`` and ``nll`` on the rows that it was fitted on.
    """

    top1: float
    nll: float
    inference_flops: Cost
    relative_cost: Cost
    eligible: bool
    lowers_nll: bool
    in_sample: dict[str, float] | None = None

    @property
    def rule(self) -> CombinationRule:
        """The rule alone."""
        return CombinationRule(*(getattr(self, part.name) for part in fields(CombinationRule)))


class Scored(Protocol):
    """What can be chosen among."""

    @property
    def top1(self) -> float: ...
    @property
    def nll(self) -> float: ...
    @property
    def lowers_nll(self) -> bool: ...


Choosable = TypeVar("Choosable", bound=Scored)


def affordable(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates within the cost limit or, if there are none, the cheapest."""
    least = min(candidate.inference_flops for candidate in candidates)
    cheapest = [candidate for candidate in candidates if candidate.inference_flops == least]
    return [candidate for candidate in candidates if candidate.eligible] or cheapest


def choose(candidates: Sequence[Choosable], settings: CombinationConfig) -> Choosable:
    """The best candidate; those that raise the generalist's NLL only if there is no other."""
    pool = [candidate for candidate in candidates if candidate.lowers_nll] or candidates
    if settings.select_by == "nll":
        return min(pool, key=lambda candidate: candidate.nll)
    return max(pool, key=lambda candidate: (candidate.top1, -candidate.nll))


def deferral_limit(
    generalist: Predictions, share: float, weights: Tensor | None = None
) -> float | None:
    """The confidence up to which the generalist defers this share of the rows; None: all of them.

    It lies midway between the rows on either side, so that rounding decides for none of them; rows
    that are equally sure are deferred together. There is at least one row; 0 < ``share`` <= 1.
    Rows count as so many as ``weights`` (n,) say.
    """
    sureness = generalist.confidence()
    if weights is None:
        last = float(np.quantile(sureness, share, method="inverted_cdf"))
    else:
        rows, order = sureness.sort()
        below = weights.double()[order].cumsum(0)
        last = float(rows[int((below < share * below[-1]).sum())])
    surer = sureness[sureness > last + ROUNDING]
    return (last + float(surer.min())) / 2 if len(surer) else None


def score(
    predictions: Predictions, labels: Tensor, weights: Tensor | None = None
) -> dict[str, float]:
    """Top-1 (fraction) and NLL (nats) for labels of shape (n,), and weights if there are any."""
    return _mean_score(*_outcomes(predictions, labels), weights)


def log_likelihood(predictions: Predictions, labels: Tensor) -> Tensor:
    """Of each row's label in nats, at least -``MAX_NLL``; float64 of shape (n,)."""
    return predictions.of_labels(labels).clamp_min(-MAX_NLL).double()


class Judge:
    """Compares rules with the cost limit, in generalists, and with the generalist's NLL."""

    def __init__(self, predictions: MemberPredictions, labels: Tensor, max_cost: float) -> None:
        self.predictions = predictions
        self.labels = labels
        self.max_cost = max_cost
        self.weights = predictions.weights
        self.alone = _outcomes(predictions.generalist, labels)
        self.reference = _mean_score(*self.alone, self.weights)["nll"]
        self.confidence = predictions.confidence
        self._flops: dict[tuple[Any, ...], float] = {}

    def __call__(self, rule: CombinationRule, predictions: Predictions) -> Candidate:
        """A rule by what it predicts for the validation rows."""
        return self._candidate(rule, score(predictions, self.labels, self.weights))

    def deferring(
        self,
        rule: CombinationRule,
        limits: Iterable[float | None],
        predictions: MemberPredictions | None = None,
    ) -> list[Candidate]:
        """The rule at each confidence, from one combination of all rows, cross-fitted if given."""
        joined = _outcomes((predictions or self.predictions).joined(rule), self.labels)
        candidates = []
        for limit in limits:
            deferred = self.confidence <= (math.inf if limit is None else limit)
            mixed = (torch.where(deferred, *both) for both in zip(joined, self.alone, strict=True))
            deferring = replace(rule, defer_above=limit)
            candidates.append(self._candidate(deferring, _mean_score(*mixed, weights=self.weights)))
        return candidates

    def sharing(
        self,
        rule: CombinationRule,
        base: Predictions,
        wholes: Iterable[float | None],
        limits: Iterable[float | None],
    ) -> list[Candidate]:
        """A rule with shared specialists at each confidence for whole heads and for deferral.

        ``base`` is what it says of all rows without them, cross-fitted where it fits numbers.
        """
        assert rule.shared is not None
        outcomes = [
            _outcomes(self.predictions.with_shared(base, shared), self.labels)
            for shared in (rule.shared, replace(rule.shared, whole_up_to=1.0))
        ]
        candidates = []
        for whole, limit in itertools.product(wholes, limits):
            shared = replace(rule.shared, whole_up_to=whole)
            asked = replace(rule, defer_above=limit).asks_shared(self.confidence)
            on_whole = asked & shared.asks_whole(self.confidence)
            mixed = (
                torch.where(on_whole, of_whole, torch.where(asked, of_short, alone))
                for of_short, of_whole, alone in zip(*outcomes, self.alone, strict=True)
            )
            sharing = replace(rule, shared=shared, defer_above=limit)
            candidates.append(self._candidate(sharing, _mean_score(*mixed, weights=self.weights)))
        return candidates

    def learned(self, n: int | None, weight: float, groups: Tensor | None = None) -> Candidate:
        """A learned rule by what it predicts for rows that it did not see."""
        rule, unseen = self.predictions.learn(n, self.labels, weight, groups)
        in_sample = score(self.predictions.joined(rule), self.labels, self.weights)
        return replace(self(rule, unseen), in_sample=in_sample)

    def _candidate(self, rule: CombinationRule, scores: dict[str, float]) -> Candidate:
        asked = (rule.n, rule.members, rule.defer_above, rule.shared)
        if asked not in self._flops:
            self._flops[asked] = self.predictions.flops(rule)
        flops, nll = self._flops[asked], scores["nll"]
        relative = flops / self.predictions.generalist_flops
        eligible, lower = not relative > self.max_cost, nll <= self.reference  # unknown: no limit
        return Candidate(
            **vars(rule),
            top1=scores["top1"],
            nll=nll,
            inference_flops=flops,
            relative_cost=relative,
            eligible=eligible,
            lowers_nll=lower,
        )


def _outcomes(predictions: Predictions, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row is right, and the log-likelihood of its label."""
    return predictions.predicted() == labels, log_likelihood(predictions, labels)


def _mean_score(right: Tensor, gained: Tensor, weights: Tensor | None = None) -> dict[str, float]:
    top1, gain = (float(mean_over_rows(rows.double(), weights)) for rows in (right, gained))
    return {"top1": top1, "nll": -gain}
