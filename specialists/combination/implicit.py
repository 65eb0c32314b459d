"""How does the combination change with its inputs? Implicit differentiation of its conditions.

For KL(p || q), at the optimum, ``q_j s_j = c_j``, ``w_m R_m = b_m``, ``s = L - N' w``, ``R = N q``.
Differentiated::

    (diag(R / w) + N diag(q / s) N') dw = db / w - N (dc / s - (q / s) dL),   ds = dL - N' dw

which is solved with the masses of patterns as unknowns too, so that nothing is divided by s: it is
close to zero for a pattern that gets most of its mass from dustbins. Where s is c / q it is taken
so, since ``L - N' w`` cancels;

a gradient costs one small solve a row over membership patterns, whatever number of iterations
found the solution. The other direction is in :mod:`specialists.combination.implicit_reverse`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from specialists.combination.implicit_reverse import ReverseMinimiser
from specialists.combination.patterns import find_patterns, row_blocks
from specialists.combination.problem import (
    Problem,
    dustbin_masses,
    log_dustbins,
    log_masses,
    log_products,
)
from specialists.combination.solution import Solution

_LEAST_FACTOR = 1e-10


def attach_gradient(problem: Problem, solution: Solution, direction: str) -> Tensor:
    """The solution's log-probabilities as a differentiable function of the problem's tensors.

    Rows that keep the generalist (no active specialist, or no minimiser) pass gradients on to it.
    """
    kept = ~problem.active.any(1) | (solution.kkt_residual == torch.inf)
    active = problem.active & ~kept[:, None]
    constants = (solution.log_probs, active, problem.member)
    if direction == "forward":
        log_q = _ForwardMinimiser.apply(log_masses(problem), dustbin_masses(problem), *constants)
    else:
        exponents, log_d = log_products(problem), log_dustbins(problem)
        log_q = ReverseMinimiser.apply(exponents, log_d, problem.weights, *constants)
    return torch.where(kept[:, None], problem.generalist, log_q)


class _ForwardMinimiser(torch.autograd.Function):
    """log q as a function of log c and b, given its value."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return inputs[2].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        log_c, b, log_q, active, member = ctx.saved_tensors
        parts = [
            _pull_back(gradients[0][i], log_c[i], b[i], log_q[i], active[i], member)
            for i in row_blocks(log_c)
        ]
        for_log_c, for_b = (torch.cat(part) for part in zip(*parts, strict=True))
        return for_log_c.to(log_c.dtype), for_b, None, None, None


def _pull_back(
    gradient: Tensor, log_c: Tensor, b: Tensor, log_q: Tensor, active: Tensor, member: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients for log c (n, n_classes) and b (n, M) from the gradient for log q."""
    patterns = find_patterns(active, member)
    gradient, c = gradient.double(), log_c.double().exp()
    by_slot = patterns.by_slot(b)
    voting = by_slot > 0
    outside = patterns.outside[patterns.which] * voting[:, :, None]
    q, push = patterns.sums(log_q.double().exp()), patterns.sums(gradient)
    total = c.sum(1, keepdim=True) + by_slot.sum(1, keepdim=True)
    complement = torch.where(voting, (outside * q[:, None, :]).sum(2), 1.0)
    w = torch.where(voting, by_slot / complement, 1.0)
    s = total - (outside * (w * voting)[:, :, None]).sum(1)
    s = torch.maximum(s, _LEAST_FACTOR * total)
    mass = patterns.sums(c)
    s = torch.where((mass > 0) & (q > 0), mass / q, s)
    n_slots = outside.shape[1]
    top = torch.cat([torch.diag_embed(torch.where(voting, complement / w, 1.0)), outside], 2)
    low = torch.cat([q[:, :, None] * outside.mT, torch.diag_embed(-s)], 2)
    right = torch.cat([torch.zeros_like(w), push], 1)
    y, t = torch.linalg.solve_ex(torch.cat([top, low], 1), right)[0].split((n_slots, q.shape[1]), 1)
    pulled = (outside * y[:, :, None]).sum(1)
    total_gradient = t.sum(1, keepdim=True)
    for_c = gradient + c * patterns.at_classes(total_gradient - pulled / s)
    for_b = torch.where(voting, y / w + total_gradient, 0.0)
    return for_c.masked_fill(log_c == -torch.inf, 0.0), patterns.from_slots(for_b, b.shape[1])
