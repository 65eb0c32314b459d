"""How much should each specialist count, and how sure should each model be?

The combination of :func:`specialists.combination.combine` with numbers that validation data chose:
a weight v_m for each specialist and a temperature for it and for the generalist, 2 M + 1 in all.
They maximise the posterior probability (METHOD.md (16)) by L-BFGS with implicit gradients. The
start is the rule before any fit: one weight v for all, temperatures of 1. There the prior is
highest, so a lower objective is always a lower loss.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from specialists.combination.learned.label_likelihood import LabelLikelihood
from specialists.combination.learned.prior import Prior
from specialists.combination.learned.row_halves import row_halves
from specialists.combination.minimiser import minimise
from specialists.combination.problem import (
    HALF_PRECISION,
    CombinationProblem,
    as_labels,
    as_problem,
)
from specialists.combination.result import Combination
from specialists.combination.subset_tables import Subsets
from specialists.errors import ConvergenceWarning
from specialists.probability import MAX_NLL, mean_over_rows, tempered_log_softmax

_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class LearnedCombination:
    """A combination's fitted numbers.

    Parameters
    ----------
    weights : float64 Tensor of shape (M,)
        v_m > 0, beside the generalist's 1.
    generalist_temperature : float
        Divides the generalist's log-probabilities before they are normalised again.
    temperatures : float64 Tensor of shape (M,)
        Of the specialists, over subset and dustbin. Below 1 makes surer, above 1 less sure.
    """

    weights: Tensor
    generalist_temperature: float
    temperatures: Tensor

    @classmethod
    def unfitted(cls, n_specialists: int, weight: float = 1.0) -> LearnedCombination:
        """The rule with one weight and temperatures of 1: what fitting starts from."""
        ones = torch.ones(n_specialists, dtype=torch.float64)
        return cls(weight * ones, 1.0, ones)

    @classmethod
    def from_dict(cls, values: Any) -> LearnedCombination:
        """What :meth:`to_dict` gave."""
        weights, temperatures = (
            torch.tensor(values[name], dtype=torch.float64) for name in ("weights", "temperatures")
        )
        return cls(weights, float(values["generalist_temperature"]), temperatures)

    def to_dict(self) -> dict[str, object]:
        """Plain numbers and lists, for JSON; nothing is rounded."""
        return {
            "weights": self.weights.tolist(),
            "generalist_temperature": self.generalist_temperature,
            "temperatures": self.temperatures.tolist(),
        }

    def tempered(
        self, generalist: Tensor, specialists: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """``log_softmax(x / T)`` of generalist and specialists; as they are where T is 1."""
        temperatures = [self.generalist_temperature, *self.temperatures.tolist()]
        members = zip([generalist, *specialists], temperatures, strict=True)
        first, *others = (
            log_probs if temperature == 1.0 else tempered_log_softmax(_wide(log_probs), temperature)
            for log_probs, temperature in members
        )
        return first, others

    def combine(
        self,
        generalist: Tensor,
        specialists: Sequence[Tensor],
        subsets: Subsets | Sequence[Tensor],
        active: Tensor | None = None,
    ) -> Combination:
        """:func:`specialists.combination.combine` of the tempered, with these weights."""
        problem = as_problem(generalist, specialists, subsets, active, self.weights)
        return self.combine_problem(problem)

    def combine_problem(self, problem: CombinationProblem) -> Combination:
        """The same of arguments that were checked, whatever their weights."""
        first, others = self.tempered(problem.generalist, problem.specialists)
        weights = self.weights.to(problem.rows.device)
        specialists = tuple(others)
        return minimise(
            replace(problem, generalist=first, specialists=specialists, weights=weights)
        )


def fit_combination(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    labels: Tensor,
    active: Tensor | None = None,
    weight: float = 1.0,
    max_steps: int = 30,
    max_elements: int = 2**24,
    counts: Tensor | None = None,
) -> LearnedCombination:
    """Weights and temperatures of highest posterior probability (module docstring).

    Parameters
    ----------
    generalist, specialists, subsets, active
        As for :func:`specialists.combination.combine`, of examples that trained none of them.
    labels : int64 Tensor of shape (n,)
        True classes. A row costs at most 100 nats.
    weight : float
        v, every specialist's weight at the start.
    max_steps : int
        L-BFGS steps, at most.
    max_elements : int
        Of the n x n_classes matrix that is fitted on: of more, evenly spaced rows are kept.
    counts : Tensor of shape (n,), optional
        How many rows each one counts as; None: one.

    Returns
    -------
    LearnedCombination
        Its mean loss over *all* rows is at most that of the start: the start itself if nothing
        better is found. A specialist that is never active keeps its numbers.

    Raises
    ------
    InputError
        As ``combine``, and if the labels are not n classes.
    """
    start = LearnedCombination.unfitted(len(subsets), weight)
    problem = as_problem(generalist, specialists, subsets, active, start.weights)
    rows = (as_labels(labels, problem), counts)
    return _fit(problem, *rows, weight, max_steps, max_elements)


def cross_fitted(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    labels: Tensor,
    active: Tensor | None = None,
    weight: float = 1.0,
    seed: int = 0,
    max_steps: int = 30,
    max_elements: int = 2**24,
    groups: Tensor | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    """Predictions of a learned combination for rows that it was not fitted on.

    Rows are split at random into halves, and each is predicted by the numbers fitted on the other.
    The score of 2 M + 1 numbers on the rows that chose them flatters them; this one does not, and
    can stand beside the scores of rules without fitted numbers.

    Parameters
    ----------
    generalist, specialists, subsets, labels, active, weight, max_steps, max_elements, counts
        As for :func:`fit_combination`.
    seed : int
        Of the split.
    groups : int64 Tensor of shape (n,), optional
        Rows that share a number are in the same half.

    Returns
    -------
    Tensor of shape (n, n_classes)
        Log-probabilities.
    """
    start = LearnedCombination.unfitted(len(subsets), weight)
    problem = as_problem(generalist, specialists, subsets, active, start.weights)
    labels = as_labels(labels, problem)
    halves = [half.to(problem.rows.device) for half in row_halves(problem.n_rows, seed, groups)]
    log_probs = torch.empty_like(problem.generalist)
    for fitted_on, predicted in (halves, halves[::-1]):
        some = None if counts is None else counts[fitted_on]
        rows = (problem.select(fitted_on), labels[fitted_on], some)
        rule = _fit(*rows, weight, max_steps, max_elements)
        log_probs[predicted] = rule.combine_problem(problem.select(predicted)).log_probs
    return log_probs


def _fit(
    problem: CombinationProblem,
    labels: Tensor,
    counts: Tensor | None,
    weight: float,
    max_steps: int,
    max_elements: int,
) -> LearnedCombination:
    start = LearnedCombination.unfitted(len(problem.subsets), weight)
    rows = _spread(problem, max_elements)
    kept = problem.select(rows)
    if not bool(kept.active.any()):
        return start

    def loss(rule: LearnedCombination) -> float:
        log_probs = rule.combine_problem(problem).log_probs
        of_labels = log_probs.gather(1, labels[:, None]).clamp_min(-MAX_NLL)
        return -float(mean_over_rows(of_labels[:, 0].double(), counts))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        before = loss(start)
        weights, temperatures, of_generalist = _most_probable(
            LabelLikelihood.from_problem(
                kept, labels[rows], None if counts is None else counts[rows]
            ),
            weight,
            max_steps,
        )
        fitted = LearnedCombination(weights.cpu(), float(of_generalist), temperatures.cpu())
        return fitted if loss(fitted) <= before else start


def _most_probable(
    likelihood: LabelLikelihood, weight: float, max_steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best numbers that L-BFGS tried: weights, temperatures, the generalist's temperature."""
    active, counts = likelihood.problem.active, likelihood.counts
    if counts is None:
        prior = Prior(weight, active.sum(0, dtype=torch.float64), len(active))
    else:
        prior = Prior(weight, counts.double() @ active.double(), float(counts.sum()))
    x = likelihood.problem.weights.new_zeros(2 * active.shape[1] + 1, requires_grad=True)
    best, lowest = x.detach().clone(), torch.inf
    optimiser = torch.optim.LBFGS(
        [x],
        max_iter=max_steps,
        max_eval=2 * max_steps,
        tolerance_grad=_TOLERANCE,
        tolerance_change=_TOLERANCE,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        nonlocal best, lowest
        optimiser.zero_grad()
        value = likelihood.loss(*prior.numbers(x)) + prior.penalty(x)
        value.backward()
        if value.item() < lowest:
            best, lowest = x.detach().clone(), value.item()
        return value.detach()

    optimiser.step(objective)
    return prior.numbers(best)


def _wide(log_probs: Tensor) -> Tensor:
    """At least single precision."""
    return log_probs.float() if log_probs.dtype in HALF_PRECISION else log_probs


def _spread(problem: CombinationProblem, max_elements: int) -> Tensor:
    """Evenly spaced rows, first and last among them, as many as ``max_elements`` hold."""
    n = min(problem.n_rows, max(1, max_elements // problem.n_classes))
    rows = torch.linspace(0, problem.n_rows - 1, n, dtype=torch.float64)
    return rows.round().long().to(problem.rows.device)
