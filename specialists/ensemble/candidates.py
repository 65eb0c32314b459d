"""Which rule do validation data prefer?

Rules without fitted numbers are judged by what they say of the validation set. A learned
combination chose its numbers there, so it is judged by cross-fitted predictions (each half of the
rows predicted by the numbers of the other half) and only then fitted on all rows; both scores are
kept. It starts from the best weight of ``kl`` for its n.

Every other rule with an n is a candidate once for each share of the rows that the generalist may
defer to specialists: those it is least sure of, by a threshold that is a quantile of its largest
probabilities on the validation set. A sure generalist is seldom mended, so a small share keeps most
of the gain for little inference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.combination import cross_fitted, fit_combination
from specialists.config import CombinationConfig
from specialists.ensemble.rules import (
    WEIGHTED,
    Rule,
    active_specialists,
    confidence,
    join,
    mean_flops,
)
from specialists.runtime import progress

ROUNDING = 1e-6
LEAST_LOG_LIKELIHOOD = -100.0  # nats

Candidate = dict[str, Any]


@dataclass(frozen=True)
class Votes:
    """What generalist and all specialists say of a split, and what that costs.

    Parameters
    ----------
    generalist : Tensor of shape (n, C)
    specialists : list of Tensors of shape (n, k_m + 1)
    subsets : list of int64 Tensors
    generalist_flops : float
    specialist_flops : Tensor of shape (M,)
    """

    generalist: Tensor
    specialists: list[Tensor]
    subsets: list[Tensor]
    generalist_flops: float
    specialist_flops: Tensor

    def active(self, rule: Rule) -> Tensor:
        """Which specialists vote in which row, bool (rows, M)."""
        return active_specialists(self.generalist, self.subsets, rule)

    def joined(self, rule: Rule) -> Tensor:
        """Log-probabilities [rows, C]."""
        active = self.active(rule)
        return join(self.generalist, self.specialists, self.subsets, active, rule)

    def flops(self, rule: Rule) -> float:
        """Mean over the split of one prediction."""
        return mean_flops(self.generalist_flops, self.specialist_flops, self.active(rule))

    def learn(self, n: int | None, labels: Tensor, weight: float = 1.0) -> tuple[Rule, Tensor]:
        """The learned rule, and cross-fitted log-probabilities to judge it by."""
        active = self.active(Rule("learned", n))
        votes = (self.generalist, self.specialists, self.subsets, labels, active, weight)
        return Rule("learned", n, weight, fit_combination(*votes)), cross_fitted(*votes)


def judge_candidates(votes: Votes, labels: Tensor, settings: CombinationConfig) -> list[Candidate]:
    """Validation top-1, NLL and cost of every rule that the settings name.

    Learned combinations, which take long, are fitted only for those n that ``ensemble`` can be
    (for every n if no other rule is named), and asked about every row.

    Returns
    -------
    list of dict
        rule, n (None: all), weight, top1, nll, inference_flops, relative_cost, eligible,
        lowers_nll; confidence where the generalist defers only part of the rows. For "learned" also
        learned, its numbers, and in_sample, its top1 and nll on the rows that it was fitted on; its
        top1 and nll are cross-fitted.
    """
    everyone = (*settings.n, None)
    rules = [
        Rule(rule, n, weight)
        for rule in settings.rules
        if rule != "learned"
        for n in everyone
        for weight in (settings.weights if rule in WEIGHTED else (1.0,))
    ]
    judge = Judge(votes, labels, settings.max_cost)
    limits = dict.fromkeys(deferral_limit(votes.generalist, share) for share in settings.deferral)
    candidates = []
    with progress("combination rules", len(rules)) as bar:
        for rule in rules:
            candidates += judge.deferring(rule, limits if rule.n is not None else [None])
            bar.advance()
    if "learned" not in settings.rules:
        return candidates
    worth_it = _worth_learning(votes, candidates, settings, everyone)
    with progress("learned combinations", len(worth_it)) as bar:
        for n in worth_it:
            candidates.append(judge.learned(n, _best_weight(candidates, n)))
            bar.advance()
    return candidates


def affordable(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates within the cost limit or, if there are none, the cheapest."""
    least = min(candidate["inference_flops"] for candidate in candidates)
    cheapest = [candidate for candidate in candidates if candidate["inference_flops"] == least]
    return [candidate for candidate in candidates if candidate["eligible"]] or cheapest


def choose(candidates: list[Candidate], settings: CombinationConfig) -> Candidate:
    """The best candidate; those that raise the generalist's NLL only if there is no other."""
    pool = [candidate for candidate in candidates if candidate["lowers_nll"]] or candidates
    if settings.select_by == "nll":
        return min(pool, key=lambda candidate: candidate["nll"])
    return max(pool, key=lambda candidate: (candidate["top1"], -candidate["nll"]))


def deferral_limit(generalist: Tensor, share: float) -> float | None:
    """The confidence up to which the generalist defers this share of the rows; None: all of them.

    It lies midway between the rows on either side, so that rounding decides for none of them; rows
    that are equally sure are deferred together.

    Parameters
    ----------
    generalist : Tensor of shape (n, C)
        Log-probabilities, n > 0.
    share : float
        In (0, 1].
    """
    sureness = confidence(generalist)
    last = float(np.quantile(sureness, share, method="inverted_cdf"))
    surer = sureness[sureness > last + ROUNDING]
    return (last + float(surer.min())) / 2 if len(surer) else None


def score(log_probs: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 (fraction) and NLL (nats) of log-probabilities [n, C]."""
    return _mean_score(*_outcomes(log_probs, labels))


def log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Of each row's label in nats, at least -100; float64 of shape (n,)."""
    return log_probs.gather(1, labels[:, None]).squeeze(1).clamp_min(LEAST_LOG_LIKELIHOOD).double()


class Judge:
    """Compares with the cost limit, in generalists, and with the generalist's NLL."""

    def __init__(self, votes: Votes, labels: Tensor, max_cost: float) -> None:
        self.votes = votes
        self.labels = labels
        self.max_cost = max_cost
        self.alone = _outcomes(votes.generalist, labels)
        self.reference = _mean_score(*self.alone)["nll"]
        self.confidence = confidence(votes.generalist)
        self._flops: dict[tuple[Any, ...], float] = {}

    def __call__(self, rule: Rule, log_probs: Tensor) -> Candidate:
        """A rule by what it says of the validation set."""
        return self._candidate(rule, score(log_probs, self.labels))

    def deferring(self, rule: Rule, limits: Iterable[float | None]) -> list[Candidate]:
        """The rule at each confidence, from one joining of all rows."""
        joined = _outcomes(self.votes.joined(rule), self.labels)
        candidates = []
        for limit in limits:
            deferred = self.confidence <= (math.inf if limit is None else limit)
            found = (torch.where(deferred, *both) for both in zip(joined, self.alone, strict=True))
            candidates.append(self._candidate(replace(rule, confidence=limit), _mean_score(*found)))
        return candidates

    def learned(self, n: int | None, weight: float) -> Candidate:
        """A learned rule by what it says of rows that it did not see."""
        rule, unseen = self.votes.learn(n, self.labels, weight)
        in_sample = score(self.votes.joined(rule), self.labels)
        return {**self(rule, unseen), "in_sample": in_sample}

    def _candidate(self, rule: Rule, scores: dict[str, float]) -> Candidate:
        asked = (rule.n, rule.members, rule.confidence)
        if asked not in self._flops:
            self._flops[asked] = self.votes.flops(rule)
        relative = self._flops[asked] / self.votes.generalist_flops
        return {
            **rule.to_dict(),
            **scores,
            "inference_flops": self._flops[asked],
            "relative_cost": relative,
            "eligible": relative <= self.max_cost,
            "lowers_nll": scores["nll"] <= self.reference,
        }


def _outcomes(log_probs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row is right, and the log-likelihood of its label."""
    return log_probs.argmax(1) == labels, log_likelihood(log_probs, labels)


def _mean_score(right: Tensor, gained: Tensor) -> dict[str, float]:
    return {"top1": float(right.double().mean()), "nll": -float(gained.mean())}


def _worth_learning(
    votes: Votes,
    candidates: list[Candidate],
    settings: CombinationConfig,
    everyone: Iterable[int | None],
) -> list[int | None]:
    """The n within the cost limit or, if no candidate is, those as cheap as the cheapest."""
    if not candidates:
        return list(everyone)
    least = min(candidate["inference_flops"] for candidate in candidates)
    limit = max(settings.max_cost * votes.generalist_flops, least)
    return [n for n in everyone if votes.flops(Rule("learned", n)) <= limit]


def _best_weight(candidates: list[Candidate], n: int | None) -> float:
    """That of the ``kl`` candidate of this n with the lowest NLL; 1 if there is none.

    Candidates for a part of the rows count only where there are no others.
    """
    own = [c for c in candidates if (c["rule"], c["n"]) == ("kl", n)]
    return min(own, key=lambda c: ("confidence" in c, c["nll"]))["weight"] if own else 1.0
