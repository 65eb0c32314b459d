"""Distillation from targets that name few classes: k + 1 cells, or draws.

Both compute in float32 or better, are averaged over the batch, and carry T^2 as
:class:`specialists.losses.DistillationLoss` does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from specialists.errors import InputError
from specialists.losses import UNLABELLED, DistillationLoss
from specialists.probability import check_labels, check_rows, kl_between, log_sum_exp


def kl_to_cells(logits: Tensor, classes: Tensor, log_cells: Tensor) -> Tensor:
    """The mean of :func:`cell_divergences`."""
    return cell_divergences(logits, classes, log_cells).mean()


def cell_divergences(logits: Tensor, classes: Tensor, log_cells: Tensor) -> Tensor:
    """KL(cells || the same cells of softmax(logits)), METHOD.md (32), of each row, (n,).

    The cells are k classes, each alone, and all others together. This is at most the KL over all
    classes, and the same where k = C or C - 1.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
    classes : int64 Tensor of shape (n, k)
        Distinct in a row.
    log_cells : Tensor of shape (n, k + 1)
        Log-probabilities, that of all others last; -inf is a probability of zero.

    Raises
    ------
    InputError
        If the shapes do not fit one another.
    """
    z = _in_full_precision(logits)
    _check_cells(z, classes, log_cells)
    target = log_cells.to(z.dtype)
    inside = z.gather(1, classes)
    outside = log_sum_exp(z.scatter(1, classes, -torch.inf))
    cells = torch.cat([inside, outside[:, None]], dim=1)
    return kl_between(target, cells - log_sum_exp(cells)[:, None])


def cross_entropy_to_draws(logits: Tensor, draws: Tensor) -> Tensor:
    """The mean of :func:`draw_divergences`."""
    return draw_divergences(logits, draws).mean()


def draw_divergences(logits: Tensor, draws: Tensor) -> Tensor:
    """-mean log softmax(logits)_j over m draws j a row, METHOD.md (33), of each row, (n,).

    With draws from p its expectation, and that of its gradient, is the cross-entropy to p: the KL
    and the entropy of p, which no logit changes (Anshumann et al. 2025, "Sparse Logit Sampling").

    Parameters
    ----------
    logits : Tensor of shape (n, C)
    draws : int64 Tensor of shape (n, m)
        Classes, with repetitions.

    Raises
    ------
    InputError
        If there are not as many rows of draws as of logits.
    """
    z = _in_full_precision(logits)
    _check_draws(z, draws)
    return -z.log_softmax(1).gather(1, draws).mean(1)


class CellDistillationLoss(nn.Module):
    """alpha T^2 KL over cells (:func:`kl_to_cells`) + (1 - alpha) CE(z, y).

    Parameters
    ----------
    temperature, alpha, label_smoothing
        As for :class:`specialists.losses.DistillationLoss`; the cells are of softmax(t / T).
    """

    def __init__(self, temperature: float, alpha: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.whole = DistillationLoss(temperature, alpha, label_smoothing)

    def forward(self, logits: Tensor, classes: Tensor, log_cells: Tensor, labels: Tensor) -> Tensor:
        """Loss in nats; an InputError as :func:`kl_to_cells`, and for labels that make no sense."""
        t, z = self.whole.temperature, _in_full_precision(logits)
        _check_cells(z, classes, log_cells)
        if t == 1 and not self.whole.label_smoothing:
            return _in_one_pass(z, classes, log_cells, labels, self.whole.alpha)
        return self.whole.with_labels(t**2 * kl_to_cells(z / t, classes, log_cells), z, labels)


class DrawnDistillationLoss(nn.Module):
    """alpha T^2 cross-entropy to draws (:func:`cross_entropy_to_draws`) + (1 - alpha) CE(z, y).

    Parameters
    ----------
    temperature, alpha, label_smoothing
        As for :class:`specialists.losses.DistillationLoss`; the draws are from softmax(t / T).
    """

    def __init__(self, temperature: float, alpha: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.whole = DistillationLoss(temperature, alpha, label_smoothing)

    def forward(self, logits: Tensor, draws: Tensor, labels: Tensor) -> Tensor:
        """Loss in nats; an InputError as :func:`cross_entropy_to_draws`, and for wrong labels."""
        t, z, a = self.whole.temperature, _in_full_precision(logits), self.whole.alpha
        _check_draws(z, draws)
        if t == 1 and not self.whole.label_smoothing:
            labels, b = _weighted_labels(z, labels, a)
            weights = z.new_full(draws.shape, a / draws.numel())
            classes, weights = torch.cat([draws, labels], 1), torch.cat([weights, b[:, None]], 1)
            return _CrossEntropy.apply(z, classes, weights)
        return self.whole.with_labels(t**2 * cross_entropy_to_draws(z / t, draws), z, labels)


def _in_one_pass(
    z: Tensor, classes: Tensor, log_cells: Tensor, labels: Tensor, alpha: float
) -> Tensor:
    """Both terms of a :class:`CellDistillationLoss` at T = 1, of one exponential a logit."""
    labels, b = _weighted_labels(z, labels, alpha)
    cells = log_cells.to(z.dtype).exp()
    loss = _CellCrossEntropy.apply(z, classes, cells, labels, alpha / len(z), b)
    return loss - alpha * torch.special.entr(cells).sum(1).mean()


def _weighted_labels(z: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Labels (n, 1), and what the hard term gives each row, (n,): nothing where there is none."""
    labels = check_labels(labels, len(z), z.shape[1], UNLABELLED)
    known = labels != UNLABELLED
    weights = (1.0 - alpha) * known.to(z.dtype) / known.sum().clamp_min(1)
    return labels.clamp_min(0)[:, None], weights


class _CrossEntropy(Function):
    """sum of w CE(j, q) over classes j with weights w, (n, m) each, of one exponential a logit."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
        largest = z.amax(1, keepdim=True)
        e = (z - largest).exp_()
        total = e.sum(1, keepdim=True)
        ctx.save_for_backward(e, total, classes, weights)
        return (weights * (total.log() + largest - z.gather(1, classes))).sum()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # as autograd calls it
        ctx: Any, grad_loss: Tensor
    ) -> tuple[Tensor | None, ...]:
        e, total, classes, weights = ctx.saved_tensors
        grad = e * (weights.sum(1, keepdim=True) / total)
        grad.scatter_add_(1, classes, -weights)
        return grad_loss * grad, None, None


class _CellCrossEntropy(Function):
    """sum over rows of a CE(cells, q) + b CE(y, q), with q = softmax(z); b of each row.

    With e = exp(z - max), E its sum and E_R that of the rest, dL/dz_j is e_j (a + b) / E, less
    a p_j for a class of its own, a p_R e_j / E_R for one of the rest, and b for the label.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, classes: Tensor, cells: Tensor, labels: Tensor, a: float, b: Tensor
    ) -> Tensor:
        largest = z.amax(1, keepdim=True)
        e = (z - largest).exp_()
        of_label = (z.gather(1, labels) - largest).squeeze(1)
        held, alone = e.gather(1, classes), z.gather(1, classes) - largest
        e.scatter_(1, classes, 0.0)
        rest = e.sum(1).clamp_min(torch.finfo(z.dtype).tiny)
        total = rest + held.sum(1)
        log_total = total.log()
        soft = (cells[:, :-1] * (log_total[:, None] - alone)).sum(1)
        soft += cells[:, -1] * (log_total - rest.log())
        ctx.save_for_backward(e, held, rest, total, classes, cells, labels, b)
        ctx.a = a
        return (a * soft + b * (log_total - of_label)).sum()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  # as autograd calls it
        ctx: Any, grad_loss: Tensor
    ) -> tuple[Tensor | None, ...]:
        e, held, rest, total, classes, cells, labels, b = ctx.saved_tensors
        both = (ctx.a * cells.sum(1) + b) / total
        grad = e * (both - ctx.a * cells[:, -1] / rest)[:, None]
        grad.scatter_(1, classes, both[:, None] * held - ctx.a * cells[:, :-1])
        grad.scatter_add_(1, labels, -b[:, None])
        return grad_loss * grad, None, None, None, None, None


def _in_full_precision(logits: Tensor) -> Tensor:
    check_rows(logits, "logits")
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _check_cells(z: Tensor, classes: Tensor, log_cells: Tensor) -> None:
    fits = classes.dim() == 2 and len(classes) == len(z)
    if not fits or log_cells.shape != (len(z), classes.shape[1] + 1):
        got = f"classes {tuple(classes.shape)}, cells {tuple(log_cells.shape)}"
        expected = f"[{len(z)}, k] and [{len(z)}, k + 1]"
        raise InputError("cells and classes do not fit one another", got=got, expected=expected)


def _check_draws(z: Tensor, draws: Tensor) -> None:
    if draws.dim() != 2 or len(draws) != len(z):
        got, expected = tuple(draws.shape), f"[{len(z)}, m]"
        raise InputError("draws and logits do not fit one another", got=got, expected=expected)
