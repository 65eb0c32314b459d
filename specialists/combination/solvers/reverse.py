"""How do specialists combine under KL(q || p)? Newton on logarithms, |A| + 1 unknowns.

Within a membership pattern the minimiser (METHOD.md (14)) keeps the proportions of its inputs, so
the unknowns are y_m of each active specialist and nu. Both sets of equations are compared as
logarithms (METHOD.md (15)), where they are nearly linear, and a step that does not lessen the
largest difference is halved: undamped iteration on Q_m fails on 6 to 24% of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.patterns.class_patterns import ClassPatterns, find_class_patterns
from specialists.combination.problem import (
    CombinationProblem,
    RowTensors,
    log_dustbins,
    log_products,
)
from specialists.combination.result import Solution
from specialists.probability import log_sum_exp

_MAX_STEPS = 100
_MAX_HALVINGS = 30
_GOOD = 1e-13


@dataclass(frozen=True)
class _Equations(RowTensors):
    """The equations of each row in terms of patterns.

    ``log_a`` and ``n`` have shape (rows, P), ``outside`` (rows, K, P), ``v`` and ``log_d``
    (rows, K); a slot without an equation has ``outside`` and ``v`` zero.
    """

    log_a: Tensor
    n: Tensor
    outside: Tensor
    v: Tensor
    log_d: Tensor


def solve_reverse(problem: CombinationProblem) -> Solution:
    """Minimise KL(q || p) for rows with any active sets; infeasible ones keep the generalist."""
    patterns = find_class_patterns(problem.active, problem.subsets.member)
    ids = patterns.ids[patterns.which]
    exponent, n = _exponents(problem, patterns)
    log_a = _pattern_log_sums(exponent, ids, patterns.counts.shape[1])
    equations, feasible = _equations(problem, patterns, log_a, n)
    log_mass = torch.full_like(log_a, -torch.inf)
    n_iterations = torch.zeros_like(problem.rows)
    rows = feasible.nonzero().squeeze(1)
    log_mass[rows], n_iterations[rows] = _solve(equations.select(rows))
    log_mass = log_mass - log_sum_exp(log_mass).masked_fill(~feasible, 0.0)[:, None]
    residual = _residual(log_mass, equations).masked_fill(~feasible, torch.inf)
    share = exponent - log_a.masked_fill(log_a == -torch.inf, 0.0).gather(1, ids)
    log_q = share + log_mass.gather(1, ids)
    log_q = torch.where(feasible[:, None], log_q.to(problem.generalist.dtype), problem.generalist)
    return Solution(log_q, residual, n_iterations)


def _exponents(problem: CombinationProblem, patterns: ClassPatterns) -> tuple[Tensor, Tensor]:
    """``[log g_j + sum_{m: j in S_m} v_m log p_mj] / n_j`` of each class, and n of each pattern."""
    v = problem.active.double() * problem.weights
    n_of_class = 1 + v @ problem.subsets.member.double()
    n = torch.ones(problem.n_rows, patterns.counts.shape[1], dtype=torch.float64)
    n = n.to(n_of_class.device).scatter(1, patterns.ids[patterns.which], n_of_class)
    return log_products(problem) / n_of_class, n


def _pattern_log_sums(exponent: Tensor, ids: Tensor, n_patterns: int) -> Tensor:
    lowest = exponent.new_full((len(exponent), n_patterns), -torch.inf)
    top = lowest.scatter_reduce(1, ids, exponent, "amax")
    top = top.masked_fill(top == -torch.inf, 0.0)
    sums = torch.zeros_like(top).scatter_add_(1, ids, (exponent - top.gather(1, ids)).exp())
    return sums.log() + top


def _equations(
    problem: CombinationProblem, patterns: ClassPatterns, log_a: Tensor, n: Tensor
) -> tuple[_Equations, Tensor]:
    """Drop patterns that some empty dustbin forbids, and dustbins that no pattern is left for."""
    log_d = log_dustbins(problem).gather(1, patterns.slots[patterns.which])
    outside = patterns.outside[patterns.which]
    empty = (log_d == -torch.inf).double()
    forbidden = (empty.unsqueeze(1) @ outside).squeeze(1) > 0
    log_a = log_a.masked_fill(forbidden, -torch.inf)
    outside = outside * (log_a > -torch.inf)[:, None, :]
    needed = outside.any(2)
    v = patterns.by_slot(problem.weights.expand(problem.n_rows, -1)) * needed
    equations = _Equations(log_a, n, outside, v, log_d.masked_fill(~needed, 0.0))
    return equations, (log_a > -torch.inf).any(1)


def _solve(equations: _Equations) -> tuple[Tensor, Tensor]:
    """Log pattern masses and the number of Newton steps of each row."""
    n_rows, width = equations.v.shape
    x = torch.zeros(n_rows, width + 1, dtype=torch.float64, device=equations.v.device)
    x[:, -1] = -log_sum_exp(equations.log_a) * equations.n.amin(1)
    n_iterations = torch.zeros(n_rows, dtype=torch.int64, device=x.device)
    rows = torch.arange(n_rows, device=x.device)
    for _ in range(_MAX_STEPS):
        part = equations.select(rows)
        log_mass, gaps = _evaluate(part, x[rows])
        going = gaps.abs().amax(1) > _GOOD
        rows = rows[going]
        if not len(rows):
            break
        moved = _step(part.select(going), x[rows], log_mass[going], gaps[going])
        moving = (moved != x[rows]).any(1)
        x[rows] = moved
        n_iterations[rows] += 1
        rows = rows[moving]
    return _evaluate(equations, x)[0], n_iterations


def _evaluate(equations: _Equations, x: Tensor) -> tuple[Tensor, Tensor]:
    """Log pattern masses, and log differences: complements to ``d / exp y``, the total to 1."""
    y, nu = x[:, :-1], x[:, -1:]
    pull = ((equations.v * y).unsqueeze(1) @ equations.outside).squeeze(1)
    log_mass = equations.log_a + (pull + nu) / equations.n
    outer = log_mass[:, None, :].masked_fill(equations.outside == 0, -torch.inf)
    beyond = torch.where(equations.v > 0, log_sum_exp(outer) - equations.log_d + y, 0.0)
    return log_mass, torch.cat([beyond, log_sum_exp(log_mass)[:, None]], dim=1)


def _step(equations: _Equations, x: Tensor, log_mass: Tensor, gaps: Tensor) -> Tensor:
    """One Newton step on the log differences, halved until the largest becomes less."""
    outside = torch.cat([equations.outside, torch.ones_like(log_mass)[:, None, :]], dim=1)
    outer = log_mass[:, None, :].masked_fill(outside == 0, -torch.inf)
    shares = (outer - log_sum_exp(outer)[:, :, None].nan_to_num(neginf=0.0)).exp()
    slopes = torch.cat([equations.v, torch.ones_like(gaps[:, :1])], dim=1)
    jacobian = log_jacobian(shares, outside, equations.n, slopes)
    direction = -torch.linalg.solve_ex(jacobian, gaps)[0]
    length = torch.ones_like(x[:, :1])
    before = gaps.abs().amax(1, keepdim=True)
    worse = torch.ones_like(length, dtype=torch.bool)
    for _ in range(_MAX_HALVINGS):
        _, after = _evaluate(equations, x + length * direction)
        worse = ~(after.abs().amax(1, keepdim=True) <= (1 - 0.1 * length) * before)
        if not bool(worse.any()):
            break
        length = torch.where(worse, length / 2, length)
    return torch.where(worse, x, x + length * direction)


def log_jacobian(shares: Tensor, outside: Tensor, n: Tensor, slopes: Tensor) -> Tensor:
    """Of log R + y and log sum q by y and nu, (n, K + 1, K + 1); the total and nu come last.

    ``shares`` are those of the patterns in each sum and ``outside`` says which are in it, both of
    shape (n, K + 1, P); ``slopes`` (n, K + 1) are the weights and 1.
    """
    jacobian = (shares / n[:, None, :]) @ outside.mT * slopes[:, None, :]
    diagonal = torch.ones_like(slopes)
    diagonal[:, -1] = 0.0
    return jacobian + torch.diag_embed(diagonal)


def _residual(log_mass: Tensor, equations: _Equations) -> Tensor:
    """Spread of the objective's gradient over the patterns, weighted by their mass, over L."""
    outer = log_mass[:, None, :].masked_fill(equations.outside == 0, -torch.inf)
    y = equations.log_d - log_sum_exp(outer)
    y = torch.where(equations.v > 0, y, 0.0)
    pull = ((equations.v * y).unsqueeze(1) @ equations.outside).squeeze(1)
    alive = log_mass > -torch.inf
    gradient = (equations.n * (log_mass - equations.log_a) - pull).masked_fill(~alive, 0.0)
    mass = log_mass.exp()
    centred = gradient - (mass * gradient).sum(1, keepdim=True)
    return (mass * centred.abs()).amax(1) / (1 + equations.v.sum(1))
