"""Which rule do validation data prefer?

Rules without fitted numbers are judged by what they say of the validation set. A learned
combination chose its numbers there, so it is judged by cross-fitted predictions (each half of the
rows predicted by the numbers of the other half) and only then fitted on all rows; both scores are
kept. It starts from the best weight of ``kl`` for its n.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from specialists.combination import cross_fitted, fit_combination
from specialists.config import CombinationConfig
from specialists.ensemble.rules import WEIGHTED, Rule, active_specialists, join, mean_flops
from specialists.runtime import progress

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

    def active(self, n: int | None, members: Sequence[int] | None = None) -> Tensor:
        """Which specialists vote in which row, bool (rows, M); None: all may."""
        return active_specialists(self.generalist, self.subsets, n, members)

    def joined(self, rule: Rule) -> Tensor:
        """Log-probabilities [rows, C]."""
        active = self.active(rule.n, rule.members)
        return join(self.generalist, self.specialists, self.subsets, active, rule)

    def flops(self, n: int | None, members: Sequence[int] | None = None) -> float:
        """Mean over the split of one prediction."""
        return mean_flops(self.generalist_flops, self.specialist_flops, self.active(n, members))

    def learn(self, n: int | None, labels: Tensor, weight: float = 1.0) -> tuple[Rule, Tensor]:
        """The learned rule, and cross-fitted log-probabilities to judge it by."""
        votes = (self.generalist, self.specialists, self.subsets, labels, self.active(n), weight)
        return Rule("learned", n, weight, fit_combination(*votes)), cross_fitted(*votes)


def judge_candidates(votes: Votes, labels: Tensor, settings: CombinationConfig) -> list[Candidate]:
    """Validation top-1, NLL and cost of every rule that the settings name.

    Learned combinations, which take long, are fitted only for those n that ``ensemble`` can be
    (for every n if no other rule is named).

    Returns
    -------
    list of dict
        rule, n (None: all), weight, top1, nll, inference_flops, relative_cost, eligible,
        lowers_nll. For "learned" also learned, its numbers, and in_sample, its top1 and nll on the
        rows that it was fitted on; its top1 and nll are cross-fitted.
    """
    everyone = (*settings.n, None)
    rules = [
        Rule(rule, n, weight)
        for rule in settings.rules
        if rule != "learned"
        for n in everyone
        for weight in (settings.weights if rule in WEIGHTED else (1.0,))
    ]
    learned = _worth_learning(votes, settings, everyone) if "learned" in settings.rules else []
    judge = Judge(votes, labels, settings.max_cost, score(votes.generalist, labels)["nll"])
    candidates = []
    with progress("combination rules", len(rules) + len(learned)) as bar:
        for rule in rules:
            candidates.append(judge(rule, votes.joined(rule)))
            bar.advance()
        for n in learned:
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


def score(log_probs: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 (fraction) and NLL (nats) of log-probabilities [n, C]."""
    right = log_probs.argmax(1) == labels
    nll = -log_likelihood(log_probs, labels)
    return {"top1": float(right.double().mean()), "nll": float(nll.mean())}


def log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Of each row's label in nats, at least -100; float64 of shape (n,)."""
    return log_probs.gather(1, labels[:, None]).squeeze(1).clamp_min(-100.0).double()


@dataclass(frozen=True)
class Judge:
    """Compares with the cost limit, in generalists, and with the generalist's NLL."""

    votes: Votes
    labels: Tensor
    max_cost: float
    reference: float

    def __call__(self, rule: Rule, log_probs: Tensor) -> Candidate:
        """A rule by what it says of the validation set."""
        scores = score(log_probs, self.labels)
        flops = self.votes.flops(rule.n, rule.members)
        relative = flops / self.votes.generalist_flops
        return {
            **rule.to_dict(),
            **scores,
            "inference_flops": flops,
            "relative_cost": relative,
            "eligible": relative <= self.max_cost,
            "lowers_nll": scores["nll"] <= self.reference,
        }

    def learned(self, n: int | None, weight: float) -> Candidate:
        """A learned rule by what it says of rows that it did not see."""
        rule, unseen = self.votes.learn(n, self.labels, weight)
        in_sample = score(self.votes.joined(rule), self.labels)
        return {**self(rule, unseen), "in_sample": in_sample}


def _worth_learning(
    votes: Votes, settings: CombinationConfig, everyone: Iterable[int | None]
) -> list[int | None]:
    """The n within the cost limit or, if there is none, the cheapest."""
    if set(settings.rules) == {"learned"}:
        return list(everyone)
    costs = {n: votes.flops(n) for n in everyone}
    limit = max(settings.max_cost * votes.generalist_flops, min(costs.values()))
    return [n for n, cost in costs.items() if cost <= limit]


def _best_weight(candidates: list[Candidate], n: int | None) -> float:
    """That of the ``kl`` candidate of this n with the lowest NLL; 1 if there is none."""
    own = [c for c in candidates if c["rule"] == "kl" and c["n"] == n]
    return min(own, key=lambda candidate: candidate["nll"])["weight"] if own else 1.0
