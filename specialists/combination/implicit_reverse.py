"""How does the combination under KL(q || p) change with its inputs? Implicit differentiation.

At the optimum ``n_j log q_j = e_j + sum over m outside of which j lies of v_m y_m + nu`` with
``e_j = log g_j + sum over m holding j of v_m log p_mj``, ``y_m = log d_m - log R_m`` and
``sum q = 1`` (design, section 2). The differentials of y and nu solve linear equations over
membership patterns, with the Jacobian that the Newton steps have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from specialists.combination.patterns import Patterns, find_patterns, row_blocks


class ReverseMinimiser(torch.autograd.Function):
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
            _pull_back(gradients[0][i], log_d[i], weights, log_q[i], active[i], member)
            for i in row_blocks(exponents)
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
    (n, K, P); ``complement``, ``voting`` and ``v`` (n, K); ``masses`` and ``n`` (n, P). A dustbin
    outside of which nobody has mass does not vote.
    """

    outside: Tensor
    inside: Tensor
    complement: Tensor
    voting: Tensor
    v: Tensor
    masses: Tensor
    n: Tensor

    @classmethod
    def of(cls, patterns: Patterns, q: Tensor, weights: Tensor) -> _Optimum:
        masses = patterns.sums(q)
        used = patterns.used[patterns.which]
        outside = patterns.outside[patterns.which]
        inside = (1 - outside) * used[:, :, None]
        complement = (outside * masses[:, None, :]).sum(2)
        voting = (complement > 0) & used
        v = patterns.by_slot(weights.expand(len(q), -1))
        n = 1 + (inside * v[:, :, None]).sum(1)
        outside = torch.cat([outside * voting[:, :, None], torch.ones_like(n)[:, None, :]], 1)
        return cls(outside, inside, complement, voting, v, masses, n)

    @property
    def slopes(self) -> Tensor:
        return torch.cat([self.v, torch.ones_like(self.v[:, :1])], 1)

    @property
    def scale(self) -> Tensor:
        one_over = torch.where(self.voting, 1 / self.complement, 0.0)
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


def _pull_back(
    gradient: Tensor,
    log_d: Tensor,
    weights: Tensor,
    log_q: Tensor,
    active: Tensor,
    member: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for e (n, n_classes), log d (n, M) and the weights (M,) from the one for log q."""
    patterns = find_patterns(active, member)
    present = log_q > -torch.inf
    gradient = gradient.double().masked_fill(~present, 0.0)
    log_q = log_q.double().masked_fill(~present, 0.0)
    q = log_q.exp() * present
    optimum = _Optimum.of(patterns, q, weights)
    pulled = optimum.adjoint(patterns.sums(gradient))
    weight = (optimum.outside * (pulled * optimum.scale)[:, :, None]).sum(1)
    for_e = (gradient - q * patterns.at_classes(weight)) / patterns.at_classes(optimum.n)
    voting, outside = optimum.voting, optimum.outside[:, :-1]
    log_d = torch.where(voting, patterns.by_slot(log_d), 0.0)
    y = log_d - torch.where(voting, optimum.complement, 1.0).log()
    for_v = (outside * patterns.sums(for_e)[:, None, :]).sum(2) * y
    for_v = for_v - (optimum.inside * patterns.sums(for_e * log_q)[:, None, :]).sum(2)
    for_log_d = torch.where(voting, pulled[:, :-1], 0.0)
    n_specialists = active.shape[1]
    return (
        for_e,
        patterns.from_slots(for_log_d, n_specialists),
        patterns.from_slots(for_v, n_specialists).sum(0),
    )
