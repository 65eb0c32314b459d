"""Which masses do disjoint subsets get? One scalar equation, ``sum_m Q_m(u) + r / u = 1``.

With a_m = c(S_m), b_m = v_m d_m, r the mass outside all of them and u = L - W, subset m gets
``Q_m = 2 a_m / (u + b_m + a_m + sqrt((u + b_m - a_m)^2 + 4 a_m b_m))`` (design, section 2), and its
complement ``R_m = 1 - Q_m = 2 b_m / (a_m + b_m - u + the same root)``, never by subtraction. The
equation is used as ``R_top = sum of the other Q_m + r / u`` with the largest Q_m on the left: a
balance of positive terms, which keeps its digits where one subset holds nearly everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_STEPS = 100
_PRECISION = 4e-15


@dataclass(frozen=True)
class Shares:
    """The masses of disjoint subsets and of the rest, which sum to 1.

    Parameters
    ----------
    inside : float64 Tensor of shape (n, M)
    rest : float64 Tensor of shape (n,)
    inside_factor, rest_factor : float64 Tensors of shape (n, M), (n,)
        1 / s: share divided by c; 1 where c is zero and s too.
    kkt_residual : float64 Tensor of shape (n,)
    n_iterations : int64 Tensor of shape (n,)
    """

    inside: Tensor
    rest: Tensor
    inside_factor: Tensor
    rest_factor: Tensor
    kkt_residual: Tensor
    n_iterations: Tensor


def disjoint_shares(a: Tensor, b: Tensor, rest: Tensor, has_rest: Tensor) -> Shares:
    """Masses that maximise sum a log Q + b log(1 - Q) + rest log(Q_0), with sum Q + Q_0 = 1.

    Parameters
    ----------
    a, b : float64 Tensors of shape (n, M)
        c inside each subset, and its weighted dustbin; both zero where a subset is not active.
    rest : float64 Tensor of shape (n,)
        c outside of them all.
    has_rest : bool Tensor of shape (n,)
        Whether any class lies outside of them all.
    """
    total = (a.sum(1) + b.sum(1) + rest).unsqueeze(1)
    a, b, r = a / total, b / total, rest.unsqueeze(1) / total
    open_end = has_rest.unsqueeze(1)
    u, n_iterations = _solve(a, b, r, open_end)
    q, complement, root = _shares(a, b, u)
    q_rest = torch.where(r > 0, r / u, torch.where(open_end, _excess(q, complement), 0.0))
    q_rest = q_rest.clamp(min=0)
    norm = q.sum(1, keepdim=True) + q_rest
    near = u + a + b
    factor = torch.where(near > 0, 2 / (near + root), q / a)
    q, q_rest = q / norm, q_rest / norm
    scale = norm * total
    return Shares(
        q,
        q_rest.squeeze(1),
        _finite(factor / scale).masked_fill(b == 0, 1.0),
        _finite(1 / (u * scale)).squeeze(1),
        _residual(q, q_rest, a, b, r, open_end),
        n_iterations,
    )


def _finite(factor: Tensor) -> Tensor:
    return torch.where(factor.isfinite(), factor, 1.0)


def _solve(a: Tensor, b: Tensor, r: Tensor, open_end: Tensor) -> tuple[Tensor, Tensor]:
    """Safeguarded Newton for u (scaled to L = 1) and its number of steps in each row."""
    u, low, high = _start(a, b, r, open_end)
    answer = u.clone()
    n_iterations = torch.zeros(len(a), dtype=torch.int64, device=a.device)
    rows = ((b > 0).sum(1) != 1).nonzero().squeeze(1)
    last = torch.full_like(u, torch.inf)
    state = tuple(x[rows] for x in (a, b, r, open_end, u, low, high, last))
    for _ in range(_MAX_STEPS):
        a, b, r, open_end, u, low, high, last = state
        proposal, gap, size = _propose(a, b, r, open_end, u)
        settled = (gap.abs() <= _PRECISION * size) | ((proposal - u).abs() <= 2e-16 * u.abs())
        rest = (~settled.squeeze(1)).nonzero().squeeze(1)
        if len(rest) < len(rows):
            answer[rows] = u
            rows = rows[rest]
        if not len(rows):
            return answer, n_iterations
        low, high = torch.where(gap < 0, u, low), torch.where(gap < 0, high, u)
        slow = (gap.abs() > 0.5 * last) | ~((proposal > low) & (proposal < high))
        u = torch.where(slow, _middle(low, high), proposal)
        state = tuple(x[rest] for x in (a, b, r, open_end, u, low, high, gap.abs()))
        n_iterations[rows] += 1
    answer[rows] = state[4]
    return answer, n_iterations


def _start(a: Tensor, b: Tensor, r: Tensor, open_end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First u, lower and upper bound.

    One voting subset has the closed form ``u = r / (r + b)``. Otherwise the step from u = 0; bounds
    are r and 1, or, where the subsets cover everything, -2 max b (one Q_m is at most 1/2) and 1.
    """
    low = torch.where(open_end, r, -2 * b.amax(1, keepdim=True))
    high = torch.ones_like(low)
    proposal, gap, _ = _propose(a, b, r, open_end, torch.zeros_like(low))
    u = torch.where(proposal.isfinite(), proposal, 0.5).clamp(low, high)
    nothing_left = open_end & (r == 0) & (gap >= 0)
    u = torch.where(nothing_left, 0.0, u)
    one = ((b > 0).sum(1, keepdim=True) == 1) & open_end
    return torch.where(one, r / (r + b.sum(1, keepdim=True)), u), low, high


def _middle(low: Tensor, high: Tensor) -> Tensor:
    """Half way between the bounds: in logs where they are far apart and positive."""
    far = (low > 0) & (high > 8 * low)
    return torch.where(far, (low.clamp(min=0) * high.clamp(min=0)).sqrt(), (low + high) / 2)


def _shares(a: Tensor, b: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Q, 1 - Q and the discriminant's root at ``u``; Q = 0 where a subset does not vote."""
    root = ((u + b - a).square() + 4 * a * b).sqrt()
    near, far = u + a + b, a + b - u
    q = torch.where(near > 0, 2 * a / (near + root), (root - near) / (-2 * u))
    complement = torch.where(far > 0, 2 * b / (far + root), (root - far) / (2 * u))
    idle = b == 0
    return q.masked_fill(idle, 0.0), complement.masked_fill(idle, 1.0), root


def _excess(q: Tensor, complement: Tensor) -> Tensor:
    """``1 - sum Q`` as the largest subset's complement less the other subsets; shape (n, 1)."""
    top = q.argmax(1, keepdim=True)
    others = q.scatter(1, top, 0.0).sum(1, keepdim=True)
    return complement.gather(1, top) - others


def _propose(
    a: Tensor, b: Tensor, r: Tensor, open_end: Tensor, u: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A Newton step that keeps ``r / u`` exact, the gap at ``u`` and the size of its terms.

    The gap ``1 - sum Q - r / u`` increases with u, with slope ``sum Q R / root + r / u^2``. With
    only ``sum Q`` linearised the next u is the root of a quadratic.
    """
    q, complement, root = _shares(a, b, u)
    top = q.argmax(1, keepdim=True)
    others = q.scatter(1, top, 0.0).sum(1, keepdim=True)
    left = complement.gather(1, top)
    slope = (q * complement / root.clamp(min=1e-300)).sum(1, keepdim=True)
    pull = slope * u - (left - others)
    half = (pull.square() + 4 * slope * r).sqrt()
    linear = pull / slope
    quadratic = torch.where(pull > 0, (pull + half) / (2 * slope), 2 * r / (half - pull))
    quadratic = torch.where((pull <= 0) & (r == 0), 0.0, quadratic)
    tail = torch.where(r > 0, r / u, 0.0)
    proposal = torch.where(open_end, quadratic, linear)
    return proposal, left - others - tail, left + others + tail


def _residual(
    q: Tensor, q_rest: Tensor, a: Tensor, b: Tensor, r: Tensor, open_end: Tensor
) -> Tensor:
    """Largest violation of Q s = c and s >= 0, complements being summed over the other shares."""
    every = 1 - torch.eye(q.shape[1], dtype=q.dtype, device=q.device)
    w = torch.where(b > 0, b / (q @ every + q_rest), 0.0)
    s_rest = 1 - w.sum(1, keepdim=True)
    s = s_rest + w
    inside = torch.where(b > 0, torch.maximum((q * s - a).abs(), -s), 0.0).amax(1)
    beyond = torch.maximum((q_rest * s_rest - r).abs(), torch.where(open_end, -s_rest, 0.0))
    return torch.maximum(inside, beyond.squeeze(1))
