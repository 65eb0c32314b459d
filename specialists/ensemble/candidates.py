"""Which rule do validation data prefer?

Rules without fitted numbers are judged by what they predict for the validation set. A rule that
fits numbers there (``kl`` its dustbins, once for each n; a learned combination its weights and
temperatures) is judged by cross-fitted predictions: each half of the rows is predicted by the
numbers of the other half, rows of one group in the same half. Only then is it fitted on all rows. A
learned combination keeps its score on them too. It starts from the best weight of ``kl`` for its n
and from specialists as they were calibrated: its temperatures change their dustbins.

Where every specialist is asked about every row, there is no selection that a dustbin has to be
fitted to: calibration over all rows stands.

Every other rule with an n is a candidate once for each share of the rows that the generalist may
defer to specialists: those it is least sure of, by a threshold that is a quantile of its largest
probabilities on the validation set. A sure generalist is seldom wrong, so a small share keeps most
of the gain for little inference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from specialists.config import CombinationConfig
from specialists.ensemble.members import MemberPredictions
from specialists.ensemble.rules import WEIGHTED, CombinationRule
from specialists.predictions import Predictions
from specialists.probability import MAX_NLL
from specialists.runtime import progress

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
    inference_flops: float
    relative_cost: float
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


def score_rules(
    predictions: MemberPredictions,
    labels: Tensor,
    settings: CombinationConfig,
    groups: Tensor | None = None,
) -> list[Candidate]:
    """Validation top-1, NLL and cost of every rule that the settings name.

    Rows that share a number in ``groups``, int64 (n,), are one observation; None: each row is one.

    Learned combinations, which take long, are fitted only for those n that ``ensemble`` can be
    (for every n if no other rule is named), and asked about every row.
    """
    everyone = (*settings.n, None)
    rules = [
        CombinationRule(method, n, weight)
        for method in settings.rules
        if method != "learned"
        for n in everyone
        for weight in (settings.weights if method in WEIGHTED else (1.0,))
    ]
    judge = Judge(predictions, labels, settings.max_cost)
    shares = settings.deferral
    limits = dict.fromkeys(deferral_limit(predictions.generalist, share) for share in shares)
    candidates = []
    fit = lru_cache(1)(lambda n: predictions.fit_dustbins(n, labels, groups))
    with progress("combination rules", len(rules)) as bar:
        for rule in rules:
            dustbin, answers = fit(rule.n) if _is_fitted(rule) else (None, predictions)
            several = judge.deferring(rule, limits if rule.n is not None else [None], answers)
            candidates += [replace(candidate, dustbin=dustbin) for candidate in several]
            bar.advance()
    if "learned" not in settings.rules:
        return candidates
    worth_it = _worth_learning(predictions, candidates, settings, everyone)
    with progress("learned combinations", len(worth_it)) as bar:
        for n in worth_it:
            candidates.append(judge.learned(n, _best_weight(candidates, n), groups))
            bar.advance()
    return candidates


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


def deferral_limit(generalist: Predictions, share: float) -> float | None:
    """The confidence up to which the generalist defers this share of the rows; None: all of them.

    It lies midway between the rows on either side, so that rounding decides for none of them; rows
    that are equally sure are deferred together. There is at least one row; 0 < ``share`` <= 1.
    """
    sureness = generalist.confidence()
    last = float(np.quantile(sureness, share, method="inverted_cdf"))
    surer = sureness[sureness > last + ROUNDING]
    return (last + float(surer.min())) / 2 if len(surer) else None


def score(predictions: Predictions, labels: Tensor) -> dict[str, float]:
    """Top-1 (fraction) and NLL (nats) for labels of shape (n,)."""
    return _mean_score(*_outcomes(predictions, labels))


def log_likelihood(predictions: Predictions, labels: Tensor) -> Tensor:
    """Of each row's label in nats, at least -``MAX_NLL``; float64 of shape (n,)."""
    return predictions.of_labels(labels).clamp_min(-MAX_NLL).double()


class Judge:
    """Compares rules with the cost limit, in generalists, and with the generalist's NLL."""

    def __init__(self, predictions: MemberPredictions, labels: Tensor, max_cost: float) -> None:
        self.predictions = predictions
        self.labels = labels
        self.max_cost = max_cost
        self.alone = _outcomes(predictions.generalist, labels)
        self.reference = _mean_score(*self.alone)["nll"]
        self.confidence = predictions.generalist.confidence()
        self._flops: dict[tuple[Any, ...], float] = {}

    def __call__(self, rule: CombinationRule, predictions: Predictions) -> Candidate:
        """A rule by what it predicts for the validation rows."""
        return self._candidate(rule, score(predictions, self.labels))

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
            candidates.append(self._candidate(deferring, _mean_score(*mixed)))
        return candidates

    def learned(self, n: int | None, weight: float, groups: Tensor | None = None) -> Candidate:
        """A learned rule by what it predicts for rows that it did not see."""
        rule, unseen = self.predictions.learn(n, self.labels, weight, groups)
        in_sample = score(self.predictions.joined(rule), self.labels)
        return replace(self(rule, unseen), in_sample=in_sample)

    def _candidate(self, rule: CombinationRule, scores: dict[str, float]) -> Candidate:
        asked = (rule.n, rule.members, rule.defer_above)
        if asked not in self._flops:
            self._flops[asked] = self.predictions.flops(rule)
        flops, nll = self._flops[asked], scores["nll"]
        relative = flops / self.predictions.generalist_flops
        eligible, lower = relative <= self.max_cost, nll <= self.reference
        return Candidate(
            **vars(rule),
            top1=scores["top1"],
            nll=nll,
            inference_flops=flops,
            relative_cost=relative,
            eligible=eligible,
            lowers_nll=lower,
        )


def _is_fitted(rule: CombinationRule) -> bool:
    """Whether the rule's dustbins are fitted on the rows where it asks."""
    return rule.method == "kl" and rule.n is not None


def _outcomes(predictions: Predictions, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row is right, and the log-likelihood of its label."""
    return predictions.predicted() == labels, log_likelihood(predictions, labels)


def _mean_score(right: Tensor, gained: Tensor) -> dict[str, float]:
    return {"top1": float(right.double().mean()), "nll": -float(gained.mean())}


def _worth_learning(
    predictions: MemberPredictions,
    candidates: list[Candidate],
    settings: CombinationConfig,
    everyone: Iterable[int | None],
) -> list[int | None]:
    """The n within the cost limit or, if no candidate is, those as cheap as the cheapest."""
    if not candidates:
        return list(everyone)
    least = min(candidate.inference_flops for candidate in candidates)
    limit = max(settings.max_cost * predictions.generalist_flops, least)
    return [n for n in everyone if predictions.flops(CombinationRule("learned", n)) <= limit]


def _best_weight(candidates: list[Candidate], n: int | None) -> float:
    """That of the ``kl`` candidate of this n with the lowest NLL; 1 if there is none.

    Candidates for a part of the rows count only where there are no others.
    """
    same_n = [c for c in candidates if (c.rule.method, c.rule.n) == ("kl", n)]
    best = min(same_n, key=lambda c: (c.rule.defer_above is not None, c.nll), default=None)
    return 1.0 if best is None else best.rule.weight
