"""Soft targets at an infinite temperature: the logits themselves are matched.

Hinton, Vinyals and Dean (2015), section 2.1: the gradient of the cross-entropy at temperature T is

    (q_i - p_i) / T                                                    (their equation 2)
    = (softmax(z / T)_i - softmax(v / T)_i) / T
    ~ (1 / T) [ (1 + z_i / T) / (N + sum z_j / T) - (1 + v_i / T) / (N + sum v_j / T) ]     (3)
    ~ (z_i - v_i) / (N T^2)             if each row of logits sums to zero                  (4)

z are the student's logits and v the teacher's, both of shape (n, N): N classes. Gradients have that
shape, too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.distillation.terms import LogitMatching
from specialists.distillation.terms.term import BatchView

MATCHING = LogitMatching()


class MatchedLogits(nn.Module):
    """The term of METHOD.md (34) as a loss by itself, averaged over the batch.

    It takes what a :class:`specialists.losses.DistillationLoss` does, and looks at no labels.
    """

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """A scalar."""
        return MATCHING(BatchView(student_logits, teacher_logits)).mean()


def centred(logits: Tensor) -> Tensor:
    """Logits whose rows sum to zero, which changes no probability."""
    return logits - logits.mean(-1, keepdim=True)


def exact_gradient(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    """d/dz of the summed cross-entropy at a temperature, by automatic differentiation."""
    z = z.detach().requires_grad_()
    targets = F.softmax(v / temperature, dim=-1)
    loss = -(targets * F.log_softmax(z / temperature, dim=-1)).sum()
    return torch.autograd.grad(loss, z)[0]


def gradient_2(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    """Equation 2."""
    return (F.softmax(z / temperature, -1) - F.softmax(v / temperature, -1)) / temperature


def gradient_3(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    """Equation 3: exponentials as 1 + x."""

    def linear(logits: Tensor) -> Tensor:
        ones = 1 + logits / temperature
        return ones / ones.sum(-1, keepdim=True)

    return (linear(z) - linear(v)) / temperature


def gradient_4(z: Tensor, v: Tensor, temperature: float) -> Tensor:
    """Equation 4, for centred logits."""
    return (z - v) / (z.shape[-1] * temperature**2)


def relative_difference(approximate: Tensor, exact: Tensor) -> Tensor:
    """|a - e| / |e| of each row, (n,)."""
    return (approximate - exact).norm(dim=-1) / exact.norm(dim=-1).clamp_min(1e-300)
