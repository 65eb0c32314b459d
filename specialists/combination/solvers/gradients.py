"""How does the combination change with its inputs? Implicit differentiation of its conditions.

A gradient costs one small linear solve for each row over membership patterns, whatever number of
iterations found the solution. For KL(p || q) METHOD.md (11) is solved with the masses of patterns
as unknowns too, so nothing is divided by s, which is close to zero for a pattern that gets most of
its mass from dustbins. Where s is c / q it is taken so, since ``L - N' w`` cancels. For KL(q || p)
the equations have the Jacobian that the Newton steps have (METHOD.md (15)).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from specialists.combination.patterns.class_patterns import ClassPatterns, find_class_patterns
from specialists.combination.problem import (
    CombinationProblem,
    dustbin_masses,
    log_dustbins,
    log_masses,
    log_products,
)
from specialists.combination.result import Solution
from specialists.combination.solvers.reverse import log_jacobian

_BLOCK_ELEMENTS = 2**20
_LEAST_FACTOR = 1e-10


def attach_gradient(problem: CombinationProblem, solution: Solution, direction: str) -> Tensor:
    """The solution's log-probabilities as a differentiable function of the problem's tensors.

    Rows that keep the generalist (no active specialist, or no minimiser) pass gradients on to it.
    """
    kept = ~problem.active.any(1) | (solution.kkt_residual == torch.inf)
    constants = (solution.log_probs, problem.active & ~kept[:, None], problem.subsets.member)
    if direction == "forward":
        inputs = (log_masses(problem), dustbin_masses(problem))
        log_q = _Minimiser.apply(_pull_back_forward, *constants, *inputs)
    else:
        weights = problem.weights.expand(problem.n_rows, -1)
        inputs = (log_products(problem), log_dustbins(problem), weights)
        log_q = _Minimiser.apply(_pull_back_reverse, *constants, *inputs)
    return torch.where(kept[:, None], problem.generalist, log_q)


class _Minimiser(torch.autograd.Function):
    """log q, whose value is known, as a function of tensors with a row for each of its rows."""

    @staticmethod
    def forward(ctx: Any, pull_back: Any, log_q: Tensor, *tensors: Tensor) -> Tensor:
        ctx.pull_back = pull_back
        ctx.save_for_backward(log_q, *tensors)
        return log_q.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        log_q, active, member, *inputs = ctx.saved_tensors
        rows = torch.arange(len(log_q), device=log_q.device)
        parts = []
        for block in rows.split(max(1, _BLOCK_ELEMENTS // log_q.shape[1])):
            patterns = find_class_patterns(active[block], member)
            values = (log_q[block].double(), *(x[block] for x in inputs))
            parts.append(ctx.pull_back(patterns, gradients[0][block].double(), *values))
        columns = zip(inputs, zip(*parts, strict=True), strict=True)
        return (None, None, None, None, *(torch.cat(part).to(x.dtype) for x, part in columns))


def _pull_back_forward(
    patterns: ClassPatterns, gradient: Tensor, log_q: Tensor, log_c: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients for log c (n, n_classes) and b (n, M) from the gradient for log q."""
    c = log_c.double().exp()
    by_slot = patterns.by_slot(b)
    with_dustbin = by_slot > 0
    outside = patterns.outside[patterns.which] * with_dustbin[:, :, None]
    q, push = patterns.sums(log_q.exp()), patterns.sums(gradient)
    total = c.sum(1, keepdim=True) + by_slot.sum(1, keepdim=True)
    complement = torch.where(with_dustbin, (outside * q[:, None, :]).sum(2), 1.0)
    w = torch.where(with_dustbin, by_slot / complement, 1.0)
    s = total - (outside * (w * with_dustbin)[:, :, None]).sum(1)
    s = torch.maximum(s, _LEAST_FACTOR * total)
    mass = patterns.sums(c)
    s = torch.where((mass > 0) & (q > 0), mass / q, s)
    n_slots = outside.shape[1]
    # ((K, K) | (K, P)) above ((P, K) | (P, P)): the unknowns are K of dw and P of dq
    top = torch.cat([torch.diag_embed(torch.where(with_dustbin, complement / w, 1.0)), outside], 2)
    low = torch.cat([q[:, :, None] * outside.mT, torch.diag_embed(-s)], 2)
    right = torch.cat([torch.zeros_like(w), push], 1)
    y, t = torch.linalg.solve_ex(torch.cat([top, low], 1), right)[0].split((n_slots, q.shape[1]), 1)
    pulled = (outside * y[:, :, None]).sum(1)
    total_gradient = t.sum(1, keepdim=True)
    for_c = gradient + c * patterns.at_classes(total_gradient - pulled / s)
    for_b = torch.where(with_dustbin, y / w + total_gradient, 0.0)
    return for_c.masked_fill(log_c == -torch.inf, 0.0), patterns.from_slots(for_b, b.shape[1])


def _pull_back_reverse(
    patterns: ClassPatterns,
    gradient: Tensor,
    log_q: Tensor,
    exponents: Tensor,
    log_d: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for e (n, n_classes), log d and the weights (n, M) from the one for log q.

    A dustbin is open where some class outside of its subset has mass. The last row of ``outside``
    (n, K + 1, P) is one, for the sum of q.
    """
    present = log_q > -torch.inf
    gradient, log_q = (x.masked_fill(~present, 0.0) for x in (gradient, log_q))
    q = log_q.exp() * present
    masses = patterns.sums(q)
    used, outside = patterns.used[patterns.which], patterns.outside[patterns.which]
    inside = (1 - outside) * used[:, :, None]
    complement = (outside * masses[:, None, :]).sum(2)
    is_open = (complement > 0) & used
    v = patterns.by_slot(weights)
    n = 1 + (inside * v[:, :, None]).sum(1)
    beyond = outside * is_open[:, :, None]
    outside = torch.cat([beyond, torch.ones_like(n)[:, None, :]], 1)
    one = torch.ones_like(v[:, :1])
    slopes = torch.cat([v, one], 1)
    scale = torch.cat([torch.where(is_open, 1 / complement, 0.0), one], 1)
    shares = outside * masses[:, None, :] * scale[:, :, None]
    push = (outside * (patterns.sums(gradient) / n)[:, None, :]).sum(2) * slopes
    pulled = torch.linalg.solve_ex(log_jacobian(shares, outside, n, slopes).mT, push)[0]
    weight = (outside * (pulled * scale)[:, :, None]).sum(1)
    for_e = (gradient - q * patterns.at_classes(weight)) / patterns.at_classes(n)
    y = torch.where(is_open, patterns.by_slot(log_d), 0.0)
    y = y - torch.where(is_open, complement, 1.0).log()
    for_v = (beyond * patterns.sums(for_e)[:, None, :]).sum(2) * y
    for_v = for_v - (inside * patterns.sums(for_e * log_q)[:, None, :]).sum(2)
    for_log_d = torch.where(is_open, pulled[:, :-1], 0.0)
    width = weights.shape[1]
    return for_e, patterns.from_slots(for_log_d, width), patterns.from_slots(for_v, width)
