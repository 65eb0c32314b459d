"""Which simple rules stand beside the exact combination?

Averages of full distributions, and rules that use the specialists' subset parts only. Against
``combine`` they cost one pass over the classes and optimise nothing; the pipeline chooses between
them on validation data.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from specialists.combination.problem import Problem, as_problem, check_probabilities


def side_by_side(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Sequence[Tensor],
    active: Tensor | None = None,
) -> Tensor:
    """Put the specialists' subset parts side by side, and renormalise.

    ``q_j`` is proportional to the mean of ``p_mj`` over the active m whose subset holds j, and to
    ``g_j`` for classes that no active subset holds. Dustbins are not used: each specialist's
    probabilities already say how likely its subset is.

    Parameters
    ----------
    generalist, specialists, subsets, active
        As for :func:`specialists.combination.combine`.

    Returns
    -------
    Tensor of shape (n, n_classes)
        Log-probabilities. A row in which nothing has mass keeps the generalist.

    Raises
    ------
    InputError
        As ``combine``.
    """
    problem = as_problem(generalist, specialists, subsets, active)
    check_probabilities(problem)
    return _normalised(_mean_parts(problem), problem.generalist)


def _mean_parts(problem: Problem) -> Tensor:
    """``log`` of the mean of the active p_mj, and ``log g_j`` where no active subset holds j."""
    votes = problem.active.to(problem.generalist.dtype) @ problem.member.to(
        problem.generalist.dtype
    )
    single = bool((problem.member.sum(0) <= 1).all())
    parts = problem.generalist.masked_fill(votes > 0, -torch.inf)
    for m, (log_p, subset) in enumerate(zip(problem.specialists, problem.subsets, strict=True)):
        rows = problem.active[:, m].nonzero().squeeze(1)
        at = (rows[:, None], subset[None, :])
        part = log_p[rows, :-1]
        parts = parts.index_put(at, part if single else torch.logaddexp(parts[at], part))
    return parts - votes.clamp(min=1).log()


def _normalised(log_values: Tensor, fallback: Tensor) -> Tensor:
    """Rows that sum to 1; the row of ``fallback`` where a row has no mass."""
    empty = log_values.amax(1, keepdim=True) == -torch.inf
    return torch.where(empty, fallback, log_values.masked_fill(empty, 0.0).log_softmax(1))
