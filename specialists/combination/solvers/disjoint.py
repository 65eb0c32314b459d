"""How do specialists combine whose subsets do not overlap? One scalar equation for each row.

Each subset's classes keep the proportions of ``c`` and share the subset's mass Q_m, a function of
one unknown u (METHOD.md (6)); all other classes, those of specialists with an empty dustbin
included, share the rest in proportion to ``c``. The complement 1 - Q_m has a form of its own, never
a subtraction. The equation for u (METHOD.md (7)) is used as ``1 - Q_top = sum of the other Q_m
+ r / u`` with the largest Q_m on the left: a balance of positive terms, which keeps its digits
where one subset holds nearly everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.patterns.pattern_problem import (
    PatternProblem,
    PatternSolution,
    lost_patterns,
)

_MAX_STEPS = 100
_PRECISION = 4e-15


def solve_disjoint(problem: PatternProblem) -> PatternSolution:
    """Minimise KL(p || q) for rows whose patterns are the rest and one a slot, each feasible.

    The masses maximise sum a log Q + b log(1 - Q) + r log(Q_0), with sum Q + Q_0 = 1.
    """
    with_dustbin = problem.b > 0
    in_rest = torch.cat([torch.ones_like(with_dustbin[:, :1]), ~with_dustbin], 1)
    rest, n_rest = ((x * in_rest).sum(1) for x in (problem.masses, problem.counts))
    a = problem.masses[:, 1:] * with_dustbin
    total = a.sum(1) + problem.b.sum(1) + rest
    a, b, r = (a.T / total).contiguous(), (problem.b.T / total).contiguous(), rest / total
    equation = _Equation(a, b, r, n_rest > 0)
    u, n_iterations = _solve(equation)
    q, complement, root = _masses(a, b, u)
    left, others = _balance(q, complement)
    q_rest = torch.where(r > 0, r / u, torch.where(equation.open_end, left - others, 0.0))
    q_rest = q_rest.clamp(min=0)
    norm = q.sum(0) + q_rest
    scale = norm * total
    near = u + a + b
    factor = _finite(torch.where(near > 0, 2 / (near + root), q / a) / scale)
    q, q_rest = q / norm, q_rest / norm
    log_rest = _finite(1 / (u * scale)).log()[:, None]
    log_inside = torch.where(with_dustbin, factor.masked_fill(b == 0, 1.0).T.log(), log_rest)
    by_mass = problem.masses / rest[:, None]
    by_number = problem.counts / n_rest.clamp(min=1)[:, None]
    shares = torch.where(rest[:, None] > 0, by_mass, by_number) * in_rest
    masses = torch.where(in_rest, shares * q_rest[:, None], torch.cat([log_rest, q.T], 1))
    return PatternSolution(
        masses,
        torch.cat([log_rest, log_inside], 1),
        lost_patterns(problem.masses, masses),
        _residual(q, q_rest, equation),
        n_iterations,
    )


def _finite(factor: Tensor) -> Tensor:
    """1 / s, share divided by c; 1 where c is zero and s too."""
    return torch.where(factor.isfinite() & (factor > 0), factor, 1.0)


@dataclass(frozen=True)
class _Equation:
    """The equation of n rows scaled to L = 1: a, b (M, n), rows last; r, open_end (n,).

    ``open_end`` says that a class lies outside of all subsets, which takes what is left over.
    """

    a: Tensor
    b: Tensor
    r: Tensor
    open_end: Tensor

    def select(self, rows: Tensor) -> _Equation:
        return _Equation(self.a[:, rows], self.b[:, rows], self.r[rows], self.open_end[rows])


def _solve(equation: _Equation) -> tuple[Tensor, Tensor]:
    """Safeguarded Newton for u and its number of steps in each row."""
    u, low, high = _start(equation)
    answer = u.clone()
    n_iterations = torch.zeros_like(u, dtype=torch.int64)
    rows = ((equation.b > 0).sum(0) != 1).nonzero().squeeze(1)
    state = (u, low, high, torch.full_like(u, torch.inf))
    rest = rows
    for _ in range(_MAX_STEPS):
        if len(rest) < len(u):
            equation, state = equation.select(rest), tuple(x[rest] for x in state)
        if not len(rows):
            return answer, n_iterations
        u, low, high, last = state
        proposal, gap, size = _propose(equation, u)
        settled = (gap.abs() <= _PRECISION * size) | ((proposal - u).abs() <= 2e-16 * u.abs())
        low, high = torch.where(gap < 0, u, low), torch.where(gap < 0, high, u)
        slow = (gap.abs() > 0.5 * last) | ~((proposal > low) & (proposal < high))
        moved = torch.where(slow, _middle(low, high), proposal)
        u = torch.where(settled, u, moved)
        answer[rows] = u
        rest = (~settled).nonzero().squeeze(1)
        rows = rows[rest]
        n_iterations[rows] += 1
        state = (u, low, high, gap.abs())
    return answer, n_iterations


def _start(equation: _Equation) -> tuple[Tensor, Tensor, Tensor]:
    """First u, lower and upper bound.

    One subset with a dustbin has the closed form ``u = r / (r + b)`` (METHOD.md (5)). Otherwise the
    step from u = 0; bounds are r and 1, or, where the subsets cover everything, -2 max b (one Q_m
    is at most 1/2) and 1.
    """
    b, r, open_end = equation.b, equation.r, equation.open_end
    low = torch.where(open_end, r, -2 * b.amax(0))
    high = torch.ones_like(low)
    proposal, gap, _ = _propose(equation, torch.zeros_like(low))
    u = torch.where(proposal.isfinite(), proposal, 0.5).clamp(low, high)
    nothing_left = open_end & (r == 0) & (gap >= 0)
    u = torch.where(nothing_left, 0.0, u)
    one = ((b > 0).sum(0) == 1) & open_end
    return torch.where(one, r / (r + b.sum(0)), u), low, high


def _middle(low: Tensor, high: Tensor) -> Tensor:
    """Half way between the bounds: in logs where they are far apart and positive."""
    far = (low > 0) & (high > 8 * low)
    return torch.where(far, (low.clamp(min=0) * high.clamp(min=0)).sqrt(), (low + high) / 2)


def _masses(a: Tensor, b: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Q, 1 - Q and the discriminant's root at ``u``; Q = 0 where it has no dustbin."""
    root = torch.addcmul((u + b).sub_(a).square_(), a, b, value=4).sqrt_()
    total = a + b
    q = _stable_quotient(a, total + u, root, -u)
    complement = _stable_quotient(b, total - u, root, u)
    idle = b == 0
    return q.masked_fill_(idle, 0.0), complement.masked_fill_(idle, 1.0), root


def _stable_quotient(part: Tensor, near: Tensor, root: Tensor, u: Tensor) -> Tensor:
    """``2 part / (near + root)`` or, where near is negative, the equal ``(root - near) / 2 u``."""
    upper = near > 0
    numerator = torch.where(upper, part, (root - near).mul_(0.5))
    return numerator.div_(torch.where(upper, near.add_(root).mul_(0.5), u))


def _balance(q: Tensor, complement: Tensor) -> tuple[Tensor, Tensor]:
    """The largest subset's complement, and the sum of the other subsets (never by subtraction)."""
    top, others = q[0], torch.zeros_like(q[0])
    for share in q[1:]:
        others = others + torch.minimum(top, share)
        top = torch.maximum(top, share)
    return complement.amin(0), others


def _propose(equation: _Equation, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A Newton step that keeps ``r / u`` exact, the gap at ``u`` and the size of its terms.

    The gap ``1 - sum Q - r / u`` increases with u, with slope ``sum Q R / root + r / u^2``. With
    only ``sum Q`` linearised the next u is the root of a quadratic.
    """
    r = equation.r
    q, complement, root = _masses(equation.a, equation.b, u)
    left, others = _balance(q, complement)
    slope = (q * complement).div_(root.clamp_(min=1e-300)).sum(0)
    pull = slope * u - (left - others)
    half = (pull.square() + 4 * slope * r).sqrt()
    quadratic = torch.where(pull > 0, (pull + half) / (2 * slope), 2 * r / (half - pull))
    quadratic = torch.where((pull <= 0) & (r == 0), 0.0, quadratic)
    tail = torch.where(r > 0, r / u, 0.0)
    proposal = torch.where(equation.open_end, quadratic, pull / slope)
    return proposal, left - others - tail, left + others + tail


def _residual(q: Tensor, q_rest: Tensor, equation: _Equation) -> Tensor:
    """Largest violation of Q s = c and s >= 0, complements being summed over the other shares."""
    a, b, r, open_end = equation.a, equation.b, equation.r, equation.open_end
    every = 1 - torch.eye(len(q), dtype=q.dtype, device=q.device)
    w = torch.where(b > 0, b / (every @ q + q_rest), 0.0)
    s_rest = 1 - w.sum(0)
    s = s_rest + w
    inside = torch.where(b > 0, torch.maximum((q * s - a).abs(), -s), 0.0).amax(0)
    beyond = torch.maximum((q_rest * s_rest - r).abs(), torch.where(open_end, -s_rest, 0.0))
    return torch.maximum(inside, beyond)
