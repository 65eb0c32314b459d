"""How do the active specialists of one row combine whose subsets do not overlap?

The equation and the safeguarded Newton steps of :mod:`specialists.combination.solvers.disjoint`
for one row at a time, in numbers instead of tensors. Python runs it for a handful of rows; for many
it is compiled, which takes the longer the more often a function is called from another.

Every function takes the row's slots: ``a`` their masses of ``c`` and ``b`` their weighted dustbins,
``width`` of each. A slot whose ``b`` is zero belongs to the rest. ``r`` is the rest's mass.
"""

from __future__ import annotations

import math
from collections.abc import MutableSequence as Numbers

_MAX_STEPS = 100
_PRECISION = 4e-15
_TINY = 1e-300


def solve_slots(
    a: Numbers[float],
    b: Numbers[float],
    factor: Numbers[float],
    width: int,
    r: float,
    n_rest: float,
) -> tuple[float, float, int]:
    """``log q - log c`` of the rest, relative residual and number of steps.

    Fills in that of every slot; scales ``a`` and ``b`` to L = 1. ``n_rest`` counts the classes
    outside of the slots. Every pattern with a class has mass.
    """
    n_open, largest, total = 0, 0.0, r
    for t in range(width):
        total += a[t] + b[t]
        if b[t] > 0:
            n_open += 1
            largest = b[t] if b[t] > largest else largest
        else:
            r += a[t]
            n_rest += 1
    for t in range(width):
        a[t] /= total
        b[t] /= total
    r /= total
    is_open = n_rest > 0
    u, n_steps = _find_root(a, b, width, r, is_open, largest / total, n_open)
    log_rest, residual = _fill_factors(a, b, factor, width, u, r, is_open, total)
    return log_rest, residual, n_steps


def _find_root(
    a: Numbers[float],
    b: Numbers[float],
    width: int,
    r: float,
    is_open: bool,
    largest: float,
    n_open: int,
) -> tuple[float, int]:
    """The u of METHOD.md (7) between its bounds, and the number of steps; u = 0 comes first."""
    if n_open == 1 and is_open:
        return r / (r + largest), 0
    low, high = (r if is_open else -2 * largest), 1.0
    u, last = 0.0, math.inf
    for step in range(-1, _MAX_STEPS):
        proposal, gap, size = _propose(a, b, width, r, is_open, u)
        if step < 0:
            u = proposal if math.isfinite(proposal) else 0.5
            u = low if u < low else (high if u > high else u)
            if n_open == 1:
                return u, 0
            continue
        if abs(gap) <= _PRECISION * size or abs(proposal - u) <= 2e-16 * abs(u):
            return u, step
        if gap < 0:
            low = u
        else:
            high = u
        u = proposal
        if abs(gap) > 0.5 * last or not low < proposal < high:
            far = low > 0 and high > 8 * low
            u = math.sqrt(low * high) if far else (low + high) / 2
        last = abs(gap)
    return u, _MAX_STEPS


def _propose(
    a: Numbers[float], b: Numbers[float], width: int, r: float, is_open: bool, u: float
) -> tuple[float, float, float]:
    """Next u, the gap at ``u`` and the size of its terms, as ``_propose`` of the torch solver."""
    left, top, others, slope = 1.0, 0.0, 0.0, 0.0
    for t in range(width):
        if b[t] > 0:
            q, beyond, root = _mass(a[t], b[t], u)
            others += q if q < top else top
            top = q if q > top else top
            left = beyond if beyond < left else left
            slope += q * beyond / (root if root > _TINY else _TINY)
    pull = slope * u - (left - others)
    half = math.sqrt(pull * pull + 4 * slope * r)
    tail = 0.0
    if r > 0:
        tail = r / u if u != 0 else math.inf
    if not is_open:
        proposal = pull / slope if slope != 0 else math.nan
    elif pull > 0:
        proposal = (pull + half) / (2 * slope)
    else:
        proposal = 2 * r / (half - pull) if r > 0 else 0.0
    return proposal, left - others - tail, left + others + tail


def _mass(a: float, b: float, u: float) -> tuple[float, float, float]:
    """Q, 1 - Q and the discriminant's root (METHOD.md (6)), each without cancellation."""
    root = math.sqrt((u + b - a) * (u + b - a) + 4 * a * b)
    inner, outer = a + b + u, a + b - u
    q = 2 * a / (inner + root) if inner > 0 else (root - inner) / (-2 * u)
    beyond = 2 * b / (outer + root) if outer > 0 else (root - outer) / (2 * u)
    return q, beyond, root


def _fill_factors(
    a: Numbers[float],
    b: Numbers[float],
    factor: Numbers[float],
    width: int,
    u: float,
    r: float,
    is_open: bool,
    total: float,
) -> tuple[float, float]:
    """``log q - log c`` of the rest and of every slot, and how far the masses are from right."""
    left, top, others, norm = 1.0, 0.0, 0.0, 0.0
    for t in range(width):
        if b[t] > 0:
            q, beyond, _ = _mass(a[t], b[t], u)
            factor[t] = q / a[t]
            norm += q
            others += q if q < top else top
            top = q if q > top else top
            left = beyond if beyond < left else left
    q_rest = r / u if r > 0 else (left - others if is_open else 0.0)
    q_rest = q_rest if q_rest > 0 else 0.0
    norm += q_rest
    residual = _residual(a, b, factor, width, q_rest, r, norm, is_open)
    log_rest = math.log(1 / (u * norm * total)) if u > 0 else 0.0
    for t in range(width):
        factor[t] = math.log(factor[t] / (norm * total)) if b[t] > 0 else log_rest
    return log_rest, residual


def _residual(
    a: Numbers[float],
    b: Numbers[float],
    factor: Numbers[float],
    width: int,
    q_rest: float,
    r: float,
    norm: float,
    is_open: bool,
) -> float:
    """Largest violation of METHOD.md (3) by masses ``factor a / norm`` and ``q_rest / norm``.

    A slot's complement is the sum of the other masses. The rest comes last, where its s is known.
    """
    s_rest, worst = 1.0, 0.0
    for turn in range(2):
        for t in range(width):
            if b[t] > 0:
                beyond = q_rest
                for other in range(width):
                    if other != t and b[other] > 0:
                        beyond += factor[other] * a[other]
                w = b[t] / (beyond / norm)
                if turn == 0:
                    s_rest -= w
                    continue
                s = s_rest + w
                gap = abs(factor[t] * a[t] / norm * s - a[t])
                worst = gap if gap > worst else worst
                worst = -s if -s > worst else worst
    gap = abs(q_rest / norm * s_rest - r)
    worst = gap if gap > worst else worst
    worst = -s_rest if is_open and -s_rest > worst else worst
    return worst + 0 * norm


JITABLE = (_mass, _propose, _find_root, _residual, _fill_factors, solve_slots)
"""What compiled code calls, callees first."""
