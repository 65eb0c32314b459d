"""Losses of softmax(z / T), computed with their gradient, a few rows at a time.

    sum over parts k and rows i of   weight_ki D(target_ki || softmax(z_i / T_k))

D is a divergence or a cross-entropy, whose gradient is (softmax(z / T) - target) / T: value and
gradient need the same numbers. So they are computed together from blocks of rows that the cache
holds, and parts at one temperature share its softmax. PyTorch's softmax is one fused kernel, which
takes three quarters of the time of its exponential alone. No gradient reaches a target, and there
is no second derivative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from specialists.errors import InputError, first_of

NUMBERS_IN_CACHE = 1 << 18  # of a block of logits; devices that are no CPU take all at once
MANY_CLASSES = 1 << 14  # of more the softmax kernel's float32 sums are off, by 8e-5 at a million
LOWEST = -1e4  # its exponential is 0, and 0 times it is 0, in any precision


@dataclass(frozen=True)
class SoftmaxBlock:
    """The softmax of some rows at one temperature.

    Parameters
    ----------
    rows : slice
    logits : Tensor of shape (b, C)
        Divided by T, and the largest of each row is 0.
    probs : Tensor of shape (b, C)
        Their softmax.
    log_total : Tensor of shape (b, 1)
        The logarithm of the sum of their exponentials.
    """

    rows: slice
    logits: Tensor
    probs: Tensor
    log_total: Tensor

    def log_probs(self, classes: Tensor) -> Tensor:
        """Those of k classes of each row, int64 (b, k)."""
        return self.logits.gather(1, classes) - self.log_total


class Target(Protocol):
    """What a softmax is compared with."""

    def compare(self, block: SoftmaxBlock, weights: Tensor, gradient: Tensor) -> Tensor:
        """Losses of the block's rows, (b,).

        The target times ``weights``, (b, 1), is subtracted from ``gradient``, (b, C).
        """
        ...


@dataclass(frozen=True)
class WeightedTarget:
    """A target, the weights of its rows, (n,), and the temperature T of the softmax."""

    target: Target
    weights: Tensor
    temperature: float = 1.0


def fused_loss(logits: Tensor, parts: Sequence[WeightedTarget]) -> Tensor:
    """The sum of all parts, a scalar, whose gradient is known.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
        In float32 or better, which is computed with.
    parts : sequence of WeightedTarget

    Examples
    --------
    >>> label = WeightedTarget(LabelTarget(torch.tensor([[1]])), torch.ones(1))
    >>> fused_loss(torch.zeros(1, 2), [label])
    tensor(0.6931)
    """
    z = logits.detach()
    largest, value = z.amax(1, keepdim=True), z.new_zeros(())
    gradient = torch.empty_like(z)
    for i, (t, shared) in enumerate(_at_each_temperature(parts).items()):
        weights = [part.weights[:, None] / t for part in shared]
        scale = torch.stack(weights).sum(0)
        for rows in _blocks(z):
            block = _softmax(rows, z[rows], largest[rows], t)
            if i == 0:
                torch.mul(block.probs, scale[rows], out=gradient[rows])
            else:
                gradient[rows].addcmul_(block.probs, scale[rows])
            for part, w in zip(shared, weights, strict=True):
                losses = part.target.compare(block, w[rows], gradient[rows])
                value += (part.weights[rows] * losses).sum()
    return _KnownGradient.apply(logits, value, gradient)


def _at_each_temperature(parts: Sequence[WeightedTarget]) -> dict[float, list[WeightedTarget]]:
    found: dict[float, list[WeightedTarget]] = {}
    for part in parts:
        found.setdefault(part.temperature, []).append(part)
    return found


def _blocks(z: Tensor) -> Iterator[slice]:
    n = len(z)
    size = max(1, NUMBERS_IN_CACHE // z.shape[1]) if z.device.type == "cpu" else n
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _softmax(rows: slice, z: Tensor, largest: Tensor, temperature: float) -> SoftmaxBlock:
    logits = (z - largest).div_(temperature)
    probs = logits.softmax(1)
    if probs.shape[1] > MANY_CLASSES:
        probs /= probs.sum(1, keepdim=True)
    return SoftmaxBlock(rows, logits, probs, -probs.amax(1, keepdim=True).log())


@dataclass(frozen=True)
class DenseTarget:
    """KL(softmax(t / T) || the softmax), of all classes.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
        Of any precision; -inf is a probability of zero.
    temperature : float
        T.
    """

    logits: Tensor
    temperature: float

    def compare(self, block: SoftmaxBlock, weights: Tensor, gradient: Tensor) -> Tensor:
        t = self.logits[block.rows].to(gradient.dtype)
        target = _softmax(block.rows, t, t.amax(1, keepdim=True), self.temperature)
        gradient.addcmul_(target.probs, weights, value=-1)
        gaps = target.logits.clamp_min_(LOWEST) - block.logits
        gaps = gaps.mul_(target.probs).sum(1, keepdim=True)
        losses = (gaps + (block.log_total - target.log_total)).squeeze(1)
        if losses.device.type == "cpu" and bool(losses.isnan().any()):
            self._check(block.rows)
        return losses

    def _check(self, rows: slice) -> None:
        wrong = torch.softmax(self.logits[rows].float(), dim=1).isnan().any(1)
        if bool(wrong.any()):
            raise InputError(
                "a row of the target is no distribution",
                where=first_of((wrong.nonzero().flatten() + rows.start).tolist()),
                got="NaN",
                expected="probabilities that sum to 1",
            )


@dataclass(frozen=True)
class LabelTarget:
    """The cross-entropy with (1 - s) y + s / C.

    Parameters
    ----------
    labels : int64 Tensor of shape (n, 1)
    smoothing : float
        s, in [0, 1).
    """

    labels: Tensor
    smoothing: float = 0.0

    def compare(self, block: SoftmaxBlock, weights: Tensor, gradient: Tensor) -> Tensor:
        labels, s = self.labels[block.rows], self.smoothing
        gradient.scatter_add_(1, labels, -(1 - s) * weights)
        losses = -block.log_probs(labels).squeeze(1)
        if s == 0:
            return losses
        gradient.sub_(weights * (s / gradient.shape[1]))
        return (1 - s) * losses + s * (block.log_total.squeeze(1) - block.logits.mean(1))


class _KnownGradient(Function):
    """A value whose gradient was computed with it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # as autograd calls it
        ctx: Any, grad_loss: Tensor
    ) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        if grad_loss.device.type == "cpu" and float(grad_loss) == 1:  # as in training: no copy
            return gradient, None, None
        return grad_loss * gradient, None, None
