"""Distillation from targets that name few classes: k + 1 cells, or draws.

Both compute in float32 or better, are averaged over the batch, and carry T^2 as
:class:`specialists.losses.DistillationLoss` does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from specialists.errors import InputError
from specialists.losses import DistillationLoss
from specialists.probability import check_rows, log_sum_exp


def kl_to_cells(logits: Tensor, classes: Tensor, log_cells: Tensor) -> Tensor:
    """KL(cells || the same cells of softmax(logits)), METHOD.md (32), averaged over the batch.

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
    if classes.dim() != 2 or log_cells.shape != (len(z), classes.shape[1] + 1):
        got = f"classes {tuple(classes.shape)}, cells {tuple(log_cells.shape)}"
        expected = f"[{len(z)}, k] and [{len(z)}, k + 1]"
        raise InputError("cells and classes do not fit one another", got=got, expected=expected)
    target = log_cells.to(z.dtype)
    inside = z.gather(1, classes)
    outside = log_sum_exp(z.scatter(1, classes, -torch.inf))
    cells = torch.cat([inside, outside[:, None]], dim=1)
    log_q = cells - log_sum_exp(cells)[:, None]
    held = target > -torch.inf
    gap = target.masked_fill(~held, 0.0) - log_q.masked_fill(~held, 0.0)
    return (target.exp() * gap).sum(1).mean()


def cross_entropy_to_draws(logits: Tensor, draws: Tensor) -> Tensor:
    """-mean log softmax(logits)_j over m draws j a row, METHOD.md (33), averaged over the batch.

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
    if draws.dim() != 2 or len(draws) != len(z):
        expected = f"[{len(z)}, m]"
        got = tuple(draws.shape)
        raise InputError("draws and logits do not fit one another", got=got, expected=expected)
    return (z.logsumexp(1, keepdim=True) - z.gather(1, draws)).mean()


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
        t = self.whole.temperature
        soft = t**2 * kl_to_cells(_in_full_precision(logits) / t, classes, log_cells)
        return self.whole.with_labels(soft, logits, labels)


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
        t = self.whole.temperature
        soft = t**2 * cross_entropy_to_draws(_in_full_precision(logits) / t, draws)
        return self.whole.with_labels(soft, logits, labels)


def _in_full_precision(logits: Tensor) -> Tensor:
    check_rows(logits, "logits")
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
