"""How do the active specialists of one row combine whose subsets overlap in any way?

The primal-dual Newton steps of :mod:`specialists.combination.solvers.overlapping` (METHOD.md (9),
(10)) for one row at a time; it is compiled, which takes the longer the more arrays and calls there
are. So the row's K slots and P patterns stand in two matrices: ``x`` with a column for each pattern
and ``y`` with a column for each slot, whose rows the constants below name. Row ``OUTSIDE + t`` of
``x`` is 1 where a pattern lies outside of slot t, and row ``GRAM + t`` of ``y`` is that of the
matrix of METHOD.md (10).
"""

from __future__ import annotations

import math
from typing import Any

MASS, COUNT, LOG_FACTOR, CODE = range(4)
_C, _EVEN, _Q, _S, _KEPT_Q, _KEPT_S, _SLOPE, _DQ, _DS, OUTSIDE = range(4, 14)
B, _R, _W, _KEPT_R, _KEPT_W, _DW, GRAM = range(7)

_FLOORS = (1e-13, 1e-16, 1e-19)
_SHRINK = 0.01
_TO_BOUNDARY = 0.95
_MAX_STEPS = 60
_MAX_STEPS_LOWER = 12
_GOOD = 2e-14
_TINY = 1e-300


def solve_patterns(x: Any, y: Any, n_slots: int, n_patterns: int) -> tuple[float, int]:
    """Relative residual and number of steps; fills in ``log q - log c`` of every pattern.

    Every pattern with a class has mass; one without is outside of nothing.
    """
    total = _start(x, y, n_slots, n_patterns)
    n_steps, before = 0, math.inf
    for turn in range(len(_FLOORS)):
        floor = _FLOORS[turn]
        if turn > 0 and not _is_floored(x, y, n_slots, n_patterns, floor):
            break
        n_steps += _newton(
            x, y, n_slots, n_patterns, floor, _MAX_STEPS_LOWER if turn else _MAX_STEPS
        )
        after = _residual(x, y, n_slots, n_patterns, _Q)
        kept = turn == 0 or after <= max(before, 1e-15)
        before = after if kept else before
        _copy_state(x, y, n_slots, n_patterns, kept)
    for p in range(n_patterns):
        light = x[_Q, p] <= x[_S, p]
        x[_KEPT_Q, p] = x[_C, p] / x[_S, p] if light else x[_Q, p]
    residual = _residual(x, y, n_slots, n_patterns, _KEPT_Q)
    exact = residual <= max(before, 1e-14)
    norm = 0.0
    for p in range(n_patterns):
        norm += x[_KEPT_Q if exact else _Q, p]
    for p in range(n_patterns):
        light = exact and x[_Q, p] <= x[_S, p]
        factor = 1 / (x[_S, p] * total) if light else x[_Q, p] / x[MASS, p]
        x[LOG_FACTOR, p] = math.log(factor / norm)
    return residual if exact else before, n_steps


def _start(x: Any, y: Any, n_slots: int, n_patterns: int) -> float:
    """A strictly feasible point, as the torch solver's; L, to which ``b`` is scaled."""
    total, n_classes, norm = 0.0, 0.0, 0.0
    for t in range(n_slots):
        total += y[B, t]
    for p in range(n_patterns):
        total += x[MASS, p]
        n_classes += x[COUNT, p]
    for p in range(n_patterns):
        x[_C, p], x[_EVEN, p], x[_S, p] = x[MASS, p] / total, x[COUNT, p] / n_classes, 1.0
        x[_Q, p] = x[_C, p] + 0.1 * x[_EVEN, p]
    for t in range(n_slots):
        y[B, t] = y[B, t] / total if y[B, t] >= _TINY * total else 0.0
        y[_W, t] = max(y[B, t], _FLOORS[0]) if y[B, t] > 0 else 0.0
        beyond = _TINY
        for p in range(n_patterns):
            x[OUTSIDE + t, p] = x[OUTSIDE + t, p] if y[B, t] > 0 else 0.0
            beyond += x[OUTSIDE + t, p] * (x[_C, p] + 0.01 * x[_EVEN, p])
        for p in range(n_patterns):
            smooth = x[_C, p] + 0.01 * x[_EVEN, p]
            x[_Q, p] += x[OUTSIDE + t, p] * smooth * (y[B, t] / beyond)
            x[_S, p] -= x[OUTSIDE + t, p] * y[_W, t]
    for p in range(n_patterns):
        norm += x[_Q, p]
    for p in range(n_patterns):
        x[_Q, p] /= norm
    for t in range(n_slots):
        y[_R, t] = 0.0 if y[B, t] > 0 else 1.0
        for p in range(n_patterns):
            y[_R, t] += x[OUTSIDE + t, p] * x[_Q, p]
    return total


def _is_floored(x: Any, y: Any, n_slots: int, n_patterns: int, floor: float) -> bool:
    for p in range(n_patterns):
        if x[_EVEN, p] > 0 and x[_C, p] < 100 * floor:
            return True
    for t in range(n_slots):  # noqa: SIM110 - Numba compiles no generators
        if 0 < y[B, t] < 100 * floor:
            return True
    return False


def _copy_state(x: Any, y: Any, n_slots: int, n_patterns: int, keep: bool) -> None:
    """Keep the variables, or take back those that were kept."""
    for p in range(n_patterns):
        if keep:
            x[_KEPT_Q, p], x[_KEPT_S, p] = x[_Q, p], x[_S, p]
        else:
            x[_Q, p], x[_S, p] = x[_KEPT_Q, p], x[_KEPT_S, p]
    for t in range(n_slots):
        if keep:
            y[_KEPT_R, t], y[_KEPT_W, t] = y[_R, t], y[_W, t]
        else:
            y[_R, t], y[_W, t] = y[_KEPT_R, t], y[_KEPT_W, t]


def _residual(x: Any, y: Any, n_slots: int, n_patterns: int, masses: int) -> float:
    """Largest violation of METHOD.md (3) by the masses in a row of ``x``."""
    norm, worst = 0.0, 0.0
    for p in range(n_patterns):
        norm += x[masses, p]
        x[_DS, p] = 1.0
    for t in range(n_slots):
        if y[B, t] > 0:
            beyond = 0.0
            for p in range(n_patterns):
                beyond += x[OUTSIDE + t, p] * x[masses, p]
            for p in range(n_patterns):
                x[_DS, p] -= x[OUTSIDE + t, p] * (y[B, t] / (beyond / norm))
    for p in range(n_patterns):
        gap = abs(x[masses, p] / norm * x[_DS, p] - x[_C, p])
        worst = max(worst, gap, -x[_DS, p])
    return worst if math.isfinite(norm) else math.inf


def _newton(x: Any, y: Any, n_slots: int, n_patterns: int, floor: float, max_steps: int) -> int:
    """Newton steps until the row meets its targets, and their number."""
    for step in range(max_steps):
        if not _linearise(x, y, n_slots, n_patterns, floor) > _GOOD:
            return step
        if not _solve_in_place(y, n_slots):
            return step
        _move(x, y, n_slots, n_patterns)
    return max_steps


def _linearise(x: Any, y: Any, n_slots: int, n_patterns: int, floor: float) -> float:
    """The matrix and the right side of METHOD.md (10), towards products 100 times smaller.

    Returns the largest distance of a product from its target, over the target's root.
    """
    worst = 0.0
    for p in range(n_patterns):
        product, target = x[_Q, p] * x[_S, p], max(x[_C, p], floor * x[_EVEN, p])
        worst = max(worst, abs(product - target) / math.sqrt(max(target, _TINY)))
        x[_SLOPE, p] = x[_Q, p] / x[_S, p]
        x[_DQ, p] = (max(target, _SHRINK * product) - product) / x[_S, p]
    for t in range(n_slots):
        y[_DW, t] = 0.0
        for other in range(t + 1):
            value = 0.0
            for p in range(n_patterns):
                value += x[OUTSIDE + t, p] * x[OUTSIDE + other, p] * x[_SLOPE, p]
            y[GRAM + t, other] = value
        if y[B, t] > 0:
            product, target = y[_W, t] * y[_R, t], max(y[B, t], floor)
            worst = max(worst, abs(product - target) / math.sqrt(target))
            value = (max(target, _SHRINK * product) - product) / y[_W, t]
            for p in range(n_patterns):
                value -= x[OUTSIDE + t, p] * x[_DQ, p]
            y[_DW, t] = value
            y[GRAM + t, t] += y[_R, t] / y[_W, t]
        else:
            y[GRAM + t, t] = 1.0
    return worst


def _solve_in_place(y: Any, n_slots: int) -> bool:
    """Solve by the Cholesky factor of the matrix's lower triangle; false where there is none."""
    for t in range(n_slots):
        for u in range(t + 1):
            value = y[GRAM + t, u]
            for k in range(u):
                value -= y[GRAM + t, k] * y[GRAM + u, k]
            if u < t:
                y[GRAM + t, u] = value / y[GRAM + u, u]
            elif value > 0:
                y[GRAM + t, t] = math.sqrt(value)
            else:
                return False
    for t in range(n_slots):
        for k in range(t):
            y[_DW, t] -= y[GRAM + t, k] * y[_DW, k]
        y[_DW, t] /= y[GRAM + t, t]
    for t in range(n_slots - 1, -1, -1):
        for k in range(t + 1, n_slots):
            y[_DW, t] -= y[GRAM + k, t] * y[_DW, k]
        y[_DW, t] /= y[GRAM + t, t]
    return True


def _move(x: Any, y: Any, n_slots: int, n_patterns: int) -> None:
    """Take the step, at most 0.95 of the way to where a variable would be zero."""
    longest = _TO_BOUNDARY
    for p in range(n_patterns):
        ds = 0.0
        for t in range(n_slots):
            ds -= x[OUTSIDE + t, p] * y[_DW, t]
        x[_DS, p] = ds
        x[_DQ, p] -= x[_SLOPE, p] * ds
        longest = max(longest, -x[_DQ, p] / max(x[_Q, p], _TINY), -ds / x[_S, p])
    for t in range(n_slots):
        if y[B, t] > 0:
            dr = 0.0
            for p in range(n_patterns):
                dr += x[OUTSIDE + t, p] * x[_DQ, p]
            longest = max(longest, -dr / y[_R, t], -y[_DW, t] / y[_W, t])
    length = _TO_BOUNDARY / longest
    for p in range(n_patterns):
        x[_Q, p] += length * x[_DQ, p]
        x[_S, p] += length * x[_DS, p]
    for t in range(n_slots):
        if y[B, t] > 0:
            y[_W, t] += length * y[_DW, t]
            y[_R, t] = 0.0
            for p in range(n_patterns):
                y[_R, t] += x[OUTSIDE + t, p] * x[_Q, p]


JITABLE = (
    *(_is_floored, _copy_state, _residual, _linearise, _solve_in_place, _move, _newton, _start),
    solve_patterns,
)
"""What compiled code calls, callees first."""
