"""Which simple rules stand beside the exact combination?

Averages of full distributions, and rules that use the specialists' subset parts only. Against
``combine`` they cost one pass over the classes and optimise nothing; the pipeline chooses between
them on validation data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from specialists.combination.problem import (
    CombinationProblem,
    as_problem,
    as_weights,
    check_matrix,
    check_probabilities,
    check_sums,
    log_add,
)
from specialists.combination.subset_tables import Subsets
from specialists.errors import InputError
from specialists.probability import log_sum_exp


def arithmetic_mean(
    members: Sequence[Tensor] | Tensor, weights: Sequence[float] | Tensor | None = None
) -> Tensor:
    """``q = sum over i of w_i p_i``, the minimiser of ``sum over i of w_i KL(p_i || q)``.

    The linear opinion pool (METHOD.md (18)).

    Parameters
    ----------
    members : sequence of k Tensors of shape (n, n_classes), or Tensor of shape (k, n, n_classes)
        Log-probabilities, natural base, of models of all classes.
    weights : k positive numbers, optional
        Made to sum to 1; default all the same.

    Returns
    -------
    Tensor of shape (n, n_classes)
        Log-probabilities; float32 for members in half precision.

    Raises
    ------
    InputError
        If shapes, devices, weights or sums of probabilities are wrong.

    Source: Stone (1961), The opinion pool.

    Examples
    --------
    >>> members = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    >>> arithmetic_mean(members, [3, 1]).exp()
    tensor([[0.8000, 0.2000]])
    """
    return _linear(*_as_members(members, weights))


def geometric_mean(
    members: Sequence[Tensor] | Tensor, weights: Sequence[float] | Tensor | None = None
) -> Tensor:
    """``q`` proportional to ``prod over i of p_i^w_i``, the minimiser of ``sum w_i KL(q || p_i)``.

    The logarithmic opinion pool (METHOD.md (19)). A class that any member gives zero has zero; a
    row in which nothing is left has the arithmetic mean.

    Parameters
    ----------
    members, weights
        As for :func:`arithmetic_mean`.

    Returns
    -------
    Tensor of shape (n, n_classes)
        Log-probabilities.

    Raises
    ------
    InputError
        As ``arithmetic_mean``.

    Source: Genest, Zidek (1986), Combining probability distributions.

    Examples
    --------
    >>> geometric_mean(torch.tensor([[[0.8, 0.2]], [[0.5, 0.5]]]).log()).exp()
    tensor([[0.6667, 0.3333]])
    """
    logs, shares = _as_members(members, weights)
    total = logs[0] * shares[0]
    for log_p, share in zip(logs[1:], shares[1:], strict=True):
        total = total + log_p * share
    empty = total.amax(1) == -torch.inf
    fallback = _linear(logs, shares) if bool(empty.any()) else total
    return _normalised(total, fallback)


def within_subsets(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    active: Tensor | None = None,
    weight: float = 1.0,
) -> Tensor:
    """Share the generalist's mass of each subset as generalist and specialist on average do.

    With ``a = v / (1 + v)``, ``q_j`` is proportional to the mean over the active m whose subset
    holds j of ``(1 - a) g_j + a g(S_m) p_mj / (1 - d_m)``, and to ``g_j`` for classes that no
    active subset holds (METHOD.md (20)). Disjoint subsets thus keep the mass that the generalist
    gives them: dustbins, and with them a specialist's opinion of its subset as a whole, are not
    used.

    Parameters
    ----------
    generalist, specialists, subsets, active
        As for :func:`specialists.combination.combine`. A specialist that has all its mass in the
        dustbin leaves its subset as it is.
    weight : float
        v > 0, of each specialist beside the generalist's 1; infinite: within its subset the
        specialist alone.

    Returns
    -------
    Tensor of shape (n, n_classes)
        Log-probabilities.

    Raises
    ------
    InputError
        As ``combine``.

    Examples
    --------
    >>> generalist = torch.tensor([[0.4, 0.4, 0.2]]).log()
    >>> specialist = torch.tensor([[0.3, 0.1, 0.6]]).log()
    >>> within_subsets(generalist, [specialist], [torch.tensor([0, 1])]).exp()
    tensor([[0.5000, 0.3000, 0.2000]])
    """
    if not weight > 0:
        raise InputError(
            "the weight of the specialists is not positive",
            got=weight,
            expected="weight > 0; infinite for the specialists alone",
        )
    problem = as_problem(generalist, specialists, subsets, active)
    check_probabilities(problem)
    log_a = -math.log1p(1 / weight)
    log_rest = -math.log1p(weight)

    def shared(m: int, rows: Tensor) -> Tensor:
        log_g = problem.generalist[rows[:, None], problem.subsets.indices[m]]
        part = problem.specialists[m][rows, :-1]
        mass = log_sum_exp(part)[:, None]
        empty = mass == -torch.inf
        scaled = part - mass.masked_fill(empty, 0.0) + log_sum_exp(log_g)[:, None]
        return torch.where(empty, log_g, log_add(log_g + log_rest, scaled + log_a))

    return _normalised(_mean_parts(problem, shared), problem.generalist)


def concatenate_subsets(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    active: Tensor | None = None,
) -> Tensor:
    """Concatenate the specialists' subset parts (METHOD.md (21)), and renormalise.

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
    return _normalised(
        _mean_parts(problem, lambda m, rows: problem.specialists[m][rows, :-1]),
        problem.generalist,
    )


def _as_members(
    members: Sequence[Tensor] | Tensor, weights: Sequence[float] | Tensor | None
) -> tuple[list[Tensor], list[float]]:
    """Checked members in one dtype, and weights that sum to 1."""
    given = list(members)
    if not given:
        raise InputError("there are no members to average", expected="at least one")
    logs = []
    for i, member in enumerate(given):
        check_matrix(member, f"members[{i}]")
        if member.shape != given[0].shape or member.device != given[0].device:
            raise InputError(
                f"members[{i}] differs from the first member in shape or device",
                got=f"{tuple(member.shape)} on {member.device}",
                expected=f"{tuple(given[0].shape)} on {given[0].device}",
            )
        problem = as_problem(member, (), ())
        check_sums(problem.generalist.exp().sum(1), problem.rows, problem, f"members[{i}]")
        logs.append(problem.generalist)
    dtype = max((log_p.dtype for log_p in logs), key=lambda dtype: dtype.itemsize)
    relative = as_weights(weights, len(logs), "cpu", model="member").detach()
    relative = relative / relative.max()
    return [log_p.to(dtype) for log_p in logs], (relative / relative.sum()).tolist()


def _linear(logs: list[Tensor], shares: list[float]) -> Tensor:
    total = logs[0] + math.log(shares[0])
    for log_p, share in zip(logs[1:], shares[1:], strict=True):
        total = log_add(total, log_p + math.log(share))
    return total


def _mean_parts(problem: CombinationProblem, part_of: Callable[[int, Tensor], Tensor]) -> Tensor:
    """``log`` of the mean over the active m that hold j, ``log g_j`` where none of them does.

    ``part_of(m, rows)`` gives the terms of specialist m in ``rows``, logs of shape (rows, k_m).
    """
    places = [
        (m, rows, (rows[:, None], subset[None, :]))  # (rows, k_m)
        for m, (_, subset, rows) in enumerate(problem.parts())
    ]
    if problem.subsets.overlaps is None:
        parts = problem.generalist.clone()
        for m, rows, at in places:
            parts.index_put_(at, part_of(m, rows))
        return parts
    dtype = problem.generalist.dtype
    n_holders = problem.active.to(dtype) @ problem.subsets.member.to(dtype)  # (n, n_classes)
    parts = problem.generalist.masked_fill(n_holders > 0, -torch.inf)
    for m, rows, at in places:
        parts.index_put_(at, log_add(parts[at], part_of(m, rows)))
    return parts - n_holders.clamp(min=1).log()


def _normalised(log_values: Tensor, fallback: Tensor) -> Tensor:
    """Rows that sum to 1; the row of ``fallback`` where a row has no mass."""
    empty = log_values.amax(1, keepdim=True) == -torch.inf
    if not bool(empty.any()):
        return log_values.log_softmax(1)
    return torch.where(empty, fallback, log_values.masked_fill(empty, 0.0).log_softmax(1))
