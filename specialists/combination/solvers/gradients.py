"""How does the combination change with its inputs? Implicit differentiation of its conditions.

A gradient costs one small linear solve for each row over membership patterns, whatever number of
iterations found the solution. For KL(p || q) METHOD.md (11) is solved with the masses of patterns
as unknowns too, so nothing is divided by s, which is close to zero for a pattern that gets most of
its mass from dustbins. Where s is c / q it is taken so, since ``L - N' w`` cancels. For KL(q || p)
the equations have the Jacobian that the Newton steps have (METHOD.md (15)).
"""

from __future__ import annotations

from dataclasses import dataclass
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

_BLOCK_ELEMENTS = 2**20
_LEAST_FACTOR = 1e-10


def attach_gradient(problem: CombinationProblem, solution: Solution, direction: str) -> Tensor:
    """The solution's log-probabilities as a differentiable function of the problem's tensors.

    Rows that keep the generalist (no active specialist, or no minimiser) pass gradients on to it.
    """
    kept = ~problem.active.any(1) | (solution.kkt_residual == torch.inf)
    active = problem.active & ~kept[:, None]
    constants = (solution.log_probs, active, problem.subsets.member)
    if direction == "forward":
        log_q = _ForwardMinimiser.apply(log_masses(problem), dustbin_masses(problem), *constants)
    else:
        exponents, log_d = log_products(problem), log_dustbins(problem)
        log_q = _ReverseMinimiser.apply(exponents, log_d, problem.weights, *constants)
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
            _pull_back_forward(gradients[0][i], log_c[i], b[i], log_q[i], active[i], member)
            for i in _row_blocks(log_c)
        ]
        for_log_c, for_b = (torch.cat(part) for part in zip(*parts, strict=True))
        return for_log_c.to(log_c.dtype), for_b, None, None, None


def _pull_back_forward(
    gradient: Tensor, log_c: Tensor, b: Tensor, log_q: Tensor, active: Tensor, member: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients for log c (n, n_classes) and b (n, M) from the gradient for log q."""
    patterns = find_class_patterns(active, member)
    gradient, c = gradient.double(), log_c.double().exp()
    by_slot = patterns.by_slot(b)
    with_dustbin = by_slot > 0
    outside = patterns.outside[patterns.which] * with_dustbin[:, :, None]
    q, push = patterns.sums(log_q.double().exp()), patterns.sums(gradient)
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


class _ReverseMinimiser(torch.autograd.Function):
    """log q as a function of the exponents e, log d and the weights, given its value."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return inputs[3].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        exponents, log_d, weights, log_q, active, member = ctx.saved_tensors
        parts = [
            _pull_back_reverse(gradients[0][i], log_d[i], weights, log_q[i], active[i], member)
            for i in _row_blocks(exponents)
        ]
        for_exponents, for_log_d, for_weights = zip(*parts, strict=True)
        for_exponents = torch.cat(for_exponents).to(exponents.dtype)
        return (
            for_exponents,
            torch.cat(for_log_d),
            torch.stack(for_weights).sum(0),
            None,
            None,
            None,
        )


@dataclass(frozen=True)
class _Optimum:
    """The solution over patterns.

    ``outside`` (n, K + 1, P) has a last row of ones, for the sum of q; ``inside`` has shape
    (n, K, P); ``complement``, ``is_open`` and ``v`` (n, K); ``masses`` and ``n`` (n, P). A dustbin
    is open where some class outside of its subset has mass.
    """

    outside: Tensor
    inside: Tensor
    complement: Tensor
    is_open: Tensor
    v: Tensor
    masses: Tensor
    n: Tensor

    @classmethod
    def from_patterns(cls, patterns: ClassPatterns, q: Tensor, weights: Tensor) -> _Optimum:
        masses = patterns.sums(q)
        used = patterns.used[patterns.which]
        outside = patterns.outside[patterns.which]
        inside = (1 - outside) * used[:, :, None]
        complement = (outside * masses[:, None, :]).sum(2)
        is_open = (complement > 0) & used
        v = patterns.by_slot(weights.expand(len(q), -1))
        n = 1 + (inside * v[:, :, None]).sum(1)
        outside = torch.cat([outside * is_open[:, :, None], torch.ones_like(n)[:, None, :]], 1)
        return cls(outside, inside, complement, is_open, v, masses, n)

    @property
    def slopes(self) -> Tensor:
        return torch.cat([self.v, torch.ones_like(self.v[:, :1])], 1)

    @property
    def scale(self) -> Tensor:
        one_over = torch.where(self.is_open, 1 / self.complement, 0.0)
        return torch.cat([one_over, torch.ones_like(one_over[:, :1])], 1)

    def jacobian(self) -> Tensor:
        """Of log R + y and log sum q by y and nu, (n, K + 1, K + 1)."""
        shares = self.outside * self.masses[:, None, :] * self.scale[:, :, None]
        jacobian = (shares / self.n[:, None, :]) @ self.outside.mT * self.slopes[:, None, :]
        diagonal = torch.ones_like(self.slopes)
        diagonal[:, -1] = 0.0
        return jacobian + torch.diag_embed(diagonal)

    def adjoint(self, pushes: Tensor) -> Tensor:
        """Multipliers (n, K + 1) of the equations for pattern sums of the gradient (n, P)."""
        push = (self.outside * (pushes / self.n)[:, None, :]).sum(2) * self.slopes
        return torch.linalg.solve_ex(self.jacobian().mT, push)[0]


def _pull_back_reverse(
    gradient: Tensor,
    log_d: Tensor,
    weights: Tensor,
    log_q: Tensor,
    active: Tensor,
    member: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for e (n, n_classes), log d (n, M) and the weights (M,) from the one for log q."""
    patterns = find_class_patterns(active, member)
    present = log_q > -torch.inf
    gradient = gradient.double().masked_fill(~present, 0.0)
    log_q = log_q.double().masked_fill(~present, 0.0)
    q = log_q.exp() * present
    optimum = _Optimum.from_patterns(patterns, q, weights)
    pulled = optimum.adjoint(patterns.sums(gradient))
    weight = (optimum.outside * (pulled * optimum.scale)[:, :, None]).sum(1)
    for_e = (gradient - q * patterns.at_classes(weight)) / patterns.at_classes(optimum.n)
    is_open, outside = optimum.is_open, optimum.outside[:, :-1]
    log_d = torch.where(is_open, patterns.by_slot(log_d), 0.0)
    y = log_d - torch.where(is_open, optimum.complement, 1.0).log()
    for_v = (outside * patterns.sums(for_e)[:, None, :]).sum(2) * y
    for_v = for_v - (optimum.inside * patterns.sums(for_e * log_q)[:, None, :]).sum(2)
    for_log_d = torch.where(is_open, pulled[:, :-1], 0.0)
    n_specialists = active.shape[1]
    return (
        for_e,
        patterns.from_slots(for_log_d, n_specialists),
        patterns.from_slots(for_v, n_specialists).sum(0),
    )


def _row_blocks(matrix: Tensor) -> tuple[Tensor, ...]:
    """Row numbers in pieces of about a million elements."""
    rows = torch.arange(len(matrix), device=matrix.device)
    return rows.split(max(1, _BLOCK_ELEMENTS // matrix.shape[1]))
