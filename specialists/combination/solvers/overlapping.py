"""How do specialists combine whose subsets overlap in any way? Primal-dual Newton, |A| unknowns.

The masses Q and factors s of patterns, the dustbin multipliers w and the complement masses R all
stay variables (METHOD.md (9)), so nothing is formed by cancelling subtraction. The linear equations
hold from the start, and every Newton step solves one K x K system (METHOD.md (10)). A pattern's
target mass has a floor, which decreases once it is reached, so that patterns without mass keep
``s >= 0``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specialists.combination.patterns.pattern_problem import (
    PatternProblem,
    PatternSolution,
    kkt_residual,
    lost_patterns,
)
from specialists.combination.problem import RowTensors
from specialists.probability import safe_log

_BLOCK_ELEMENTS = 2**22
_FLOORS = (1e-13, 1e-16, 1e-19)
_SHRINK = 0.01
_TO_BOUNDARY = 0.95
_MAX_STEPS = 60
_MAX_STEPS_LOWER = 12
_GOOD = 2e-14
_TINY = 1e-300


@dataclass(frozen=True)
class _State(RowTensors):
    """Pattern problem scaled to L = 1 with its primal and dual variables; rows first."""

    c: Tensor
    even: Tensor
    outside: Tensor
    b: Tensor
    q: Tensor
    s: Tensor
    r: Tensor
    w: Tensor


def solve_overlapping(problem: PatternProblem) -> PatternSolution:
    """Minimise KL(p || q) for rows with any active sets, each of them feasible."""
    size = max(1, _BLOCK_ELEMENTS // max(1, problem.inside[0].numel()))
    rows = torch.arange(len(problem.masses), device=problem.masses.device)
    parts = [_solve_block(problem.select(block)) for block in rows.split(size)]
    return PatternSolution(*(torch.cat(field) for field in zip(*parts, strict=True)))


def _solve_block(problem: PatternProblem) -> tuple[Tensor, ...]:
    b, masses = problem.b, problem.masses
    total = masses.sum(1, keepdim=True) + b.sum(1, keepdim=True)
    b = b.masked_fill(b < _TINY * total, 0.0)
    outside = ~problem.inside & (b > 0)[:, :, None] & (problem.counts > 0)[:, None, :]
    state = _start(masses / total, problem.counts, outside.double(), b / total)
    state, n_iterations = _descend_floors(state)
    q, exact = _refined(state)
    log_norm = q.sum(1, keepdim=True).log()
    factor = torch.where(exact, 1 / (state.s * total), q / masses)
    lost = lost_patterns(masses, q)
    q = q / q.sum(1, keepdim=True)
    residual = kkt_residual(q, state.c, state.outside, state.b, state.even > 0)
    return q, safe_log(factor) - log_norm, lost, residual, n_iterations


def _start(c: Tensor, counts: Tensor, outside: Tensor, b: Tensor) -> _State:
    """A strictly feasible point: w = b makes s >= sum c > 0, and q is an EM step from smooth c."""
    even = counts / counts.sum(1, keepdim=True)
    smooth = c + 0.01 * even
    beyond = outside * smooth[:, None, :]
    share = b / beyond.sum(2).clamp(min=_TINY)
    q = c + 0.1 * even + (beyond * share[:, :, None]).sum(1)
    q = q / q.sum(1, keepdim=True)
    w = torch.where(b > 0, b.clamp(min=_FLOORS[0]), 0.0)
    r = _times(outside, q) + (b == 0)
    return _State(c, even, outside, b, q, 1 - _transposed_times(outside, w), r, w)


def _descend_floors(state: _State) -> tuple[_State, Tensor]:
    """Solve at each floor in turn; a lower floor is kept only where it served the row."""
    state, n_iterations = _newton(state, _FLOORS[0], _MAX_STEPS)
    for floor in _FLOORS[1:]:
        present = state.even > 0
        floored = ((state.c < 100 * floor) & present).any(1) | (
            (state.b > 0) & (state.b < 100 * floor)
        ).any(1)
        rows = floored.nonzero().squeeze(1)
        if not len(rows):
            break
        before = state.select(rows)
        after, steps = _newton(before, floor, _MAX_STEPS_LOWER)
        better = _residual(after) <= _residual(before).clamp(min=1e-15)
        state = _write(state, rows[better], after.select(better))
        n_iterations = n_iterations.index_add(0, rows, steps)
    return state, n_iterations


def _refined(state: _State) -> tuple[Tensor, Tensor]:
    """Pattern masses without the floor where a pattern has next to no mass.

    There s is known to more digits than q, so q = c / s, unless the residual of the row says that
    the floor carried weight (a dustbin below it whose complement has no other mass). Returns q and
    where it is c / s, (n, P) each.
    """
    light = (state.q <= state.s) & (state.even > 0)
    refined = replace(state, q=torch.where(light, state.c / state.s, state.q))
    better = _residual(refined) <= _residual(state).clamp(min=1e-14)
    exact = light & better[:, None]
    return torch.where(exact, refined.q, state.q), exact


def _residual(state: _State) -> Tensor:
    q = state.q / state.q.sum(1, keepdim=True)
    value = kkt_residual(q, state.c, state.outside, state.b, state.even > 0)
    return value.nan_to_num(nan=torch.inf)


def _newton(state: _State, floor: float, max_steps: int) -> tuple[_State, Tensor]:
    """Newton steps until every row meets its targets; rows that do leave the batch."""
    result = state
    n_iterations = torch.zeros(len(state.c), dtype=torch.int64, device=state.c.device)
    rows = torch.arange(len(state.c), device=state.c.device)
    for _ in range(max_steps):
        open_rows = (_gap(state, floor) > _GOOD).nonzero().squeeze(1)
        if len(open_rows) < len(rows):
            result = _write(result, rows, state)
            rows, state = rows[open_rows], state.select(open_rows)
        if not len(rows):
            return result, n_iterations
        state = _step(state, floor)
        n_iterations[rows] += 1
    return _write(result, rows, state), n_iterations


def _write(result: _State, rows: Tensor, state: _State) -> _State:
    fields = {
        name: getattr(result, name).index_copy(0, rows, getattr(state, name))
        for name in ("q", "s", "r", "w")
    }
    return replace(result, **fields)


def _targets(state: _State, floor: float) -> tuple[Tensor, Tensor]:
    least = torch.where(state.b > 0, state.b.clamp(min=floor), 0.0)
    return torch.maximum(state.c, floor * state.even), least


def _gap(state: _State, floor: float) -> Tensor:
    """Largest distance of a product from its target, over the target's root; shape (n,)."""
    c, b = _targets(state, floor)
    primal = (state.q * state.s - c).abs() / c.clamp(min=_TINY).sqrt()
    dual = (state.w * state.r - b).abs() / b.clamp(min=_TINY).sqrt()
    return torch.maximum(primal.amax(1), dual.amax(1))


def _step(state: _State, floor: float) -> _State:
    """One Newton step towards products at most 100 times smaller, kept inside the orthant."""
    c, b = _targets(state, floor)
    with_dustbin = state.b > 0
    products, multiplied = state.q * state.s, state.w * state.r
    d_c = torch.maximum(c, _SHRINK * products) - products
    d_b = torch.maximum(b, _SHRINK * multiplied) - multiplied
    d_b = torch.where(with_dustbin, d_b, 0.0)
    w = torch.where(with_dustbin, state.w, 1.0)
    slope = state.q / state.s
    gram = (state.outside * slope[:, None, :]) @ state.outside.mT  # (n, K, P) (n, P, K)
    gram = gram + torch.diag_embed(torch.where(with_dustbin, state.r / w, 1.0))
    right = d_b / w - _times(state.outside, d_c / state.s)
    factor, _ = torch.linalg.cholesky_ex(gram)
    dw = torch.cholesky_solve(right.unsqueeze(2), factor).squeeze(2) * with_dustbin
    ds = -_transposed_times(state.outside, dw)
    dq = d_c / state.s - slope * ds
    dr = torch.where(with_dustbin, _times(state.outside, dq), 0.0)
    shrinkage = torch.cat(
        [-dq / state.q.clamp(min=_TINY), -ds / state.s, -dr / state.r, -dw / w], 1
    ).amax(1)
    length = (_TO_BOUNDARY / shrinkage.clamp(min=_TO_BOUNDARY)).nan_to_num(0.0)[:, None]
    q = torch.where(length > 0, state.q + length * dq, state.q)
    return replace(
        state,
        q=q,
        s=torch.where(length > 0, state.s + length * ds, state.s),
        r=torch.where(with_dustbin, _times(state.outside, q), 1.0),
        w=torch.where(length > 0, state.w + length * dw, state.w),
    )


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """(n, K, P) times (n, P)."""
    return (matrix * vector[:, None, :]).sum(2)


def _transposed_times(matrix: Tensor, vector: Tensor) -> Tensor:
    """The transpose of (n, K, P) times (n, K)."""
    return (matrix * vector[:, :, None]).sum(1)
