"""How does the combination change with its inputs? Implicit differentiation of its conditions.

At the optimum ``q_j s_j = c_j``, ``w_m R_m = b_m``, ``s = L - N' w``, ``R = N q``. Differentiated::

    (diag(R / w) + N diag(q / s) N') dw = db / w - N (dc / s - (q / s) dL),   ds = dL - N' dw

so a gradient costs one K x K solve a row, whatever number of iterations found the solution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from specialists.combination.problem import Problem, dustbin_masses, log_masses
from specialists.combination.solution import Solution

_BLOCK_ELEMENTS = 2**20
_LEAST_FACTOR = 1e-10


def attach_gradient(problem: Problem, solution: Solution) -> Tensor:
    """The solution's log-probabilities as a differentiable function of the problem's tensors.

    Rows that keep the generalist (no active specialist, or no minimiser) pass gradients on to it.
    """
    kept = ~problem.active.any(1) | (solution.kkt_residual == torch.inf)
    active = problem.active & ~kept[:, None]
    log_c, b = log_masses(problem), dustbin_masses(problem)
    log_q = _Minimiser.apply(log_c, b, solution.log_probs, active, problem.member)
    return torch.where(kept[:, None], problem.generalist, log_q)


class _Minimiser(torch.autograd.Function):
    """log q as a function of log c and b, given its value."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        log_c, b, log_q, active, member = inputs
        ctx.save_for_backward(log_c, b, log_q, active, member)
        return log_q.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        log_c, b, log_q, active, member = ctx.saved_tensors
        size = max(1, _BLOCK_ELEMENTS // member.numel())
        rows = torch.arange(len(log_c), device=log_c.device).split(size)
        parts = [
            _pull_back(gradients[0][i], log_c[i], b[i], log_q[i], active[i], member) for i in rows
        ]
        log_c_gradient, b_gradient = (torch.cat(part) for part in zip(*parts, strict=True))
        return log_c_gradient.to(log_c.dtype), b_gradient, None, None, None


def _pull_back(
    gradient: Tensor, log_c: Tensor, b: Tensor, log_q: Tensor, active: Tensor, member: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients for log c (n, n_classes) and b (n, M) from the gradient for log q."""
    voting = active & (b > 0)
    outside = (~member).double() * voting[:, :, None]
    gradient, q, c = gradient.double(), log_q.double().exp(), log_c.double().exp()
    total = c.sum(1, keepdim=True) + (b * active).sum(1, keepdim=True)
    complement = torch.where(voting, (outside @ q.unsqueeze(2)).squeeze(2), 1.0)
    w = torch.where(voting, b / complement, 1.0)
    s = total - ((w * voting).unsqueeze(1) @ outside).squeeze(1)
    s = torch.maximum(s, _LEAST_FACTOR * total)
    slope, push = q / s, gradient / s
    gram = (outside * slope[:, None, :]) @ outside.mT
    gram = gram + torch.diag_embed(torch.where(voting, complement / w, 1.0))
    y = torch.linalg.solve_ex(gram, (outside @ push.unsqueeze(2)).squeeze(2))[0]
    pulled = (y.unsqueeze(1) @ outside).squeeze(1)
    total_gradient = (pulled * slope - push).sum(1, keepdim=True)
    for_c = gradient + c * (total_gradient - pulled / s)
    for_b = torch.where(voting, y / w + total_gradient, 0.0)
    return for_c.masked_fill(log_c == -torch.inf, 0.0), for_b
