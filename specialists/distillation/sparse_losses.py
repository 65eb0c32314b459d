"""Distillation from targets that name few classes: k + 1 cells, or drawn ones with their counts.

Both compute in float32 or better, are averaged over the batch, and carry T^2 as
:class:`specialists.losses.DistillationLoss` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.errors import InputError
from specialists.fused_softmax import SoftmaxBlock
from specialists.losses import SoftTargetLoss
from specialists.probability import check_rows, kl_between, log_sum_exp


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
        Log-probabilities, that of all others last; -inf is a probability of zero. They are divided
        by their sum.

    Raises
    ------
    InputError
        If the shapes do not fit one another, or a class is none of the logits'.
    """
    z = _in_full_precision(logits)
    _check_cells(z, classes, log_cells)
    target = log_cells.to(z.dtype).log_softmax(1)  # half precision rounds their sum
    inside = z.gather(1, classes)
    outside = log_sum_exp(z.scatter(1, classes, -torch.inf))
    cells = torch.cat([inside, outside[:, None]], dim=1)
    return kl_between(target, cells - log_sum_exp(cells)[:, None])


def cross_entropy_to_draws(logits: Tensor, classes: Tensor, counts: Tensor) -> Tensor:
    """The mean of :func:`draw_divergences`."""
    return draw_divergences(logits, classes, counts).mean()


def draw_divergences(logits: Tensor, classes: Tensor, counts: Tensor) -> Tensor:
    """-sum over drawn classes j of (n_j / N) log softmax(logits)_j, METHOD.md (33), of each row.

    Of draws by :func:`specialists.distillation.drawn_classes.drawn_classes` its expectation, and
    that of its gradient, is the cross-entropy to the teacher: the KL and the teacher's entropy,
    which no logit changes.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
    classes : int64 Tensor of shape (n, m)
        May repeat one.
    counts : Tensor of shape (n, m)
        n_j >= 0; N is their sum in a row.

    Raises
    ------
    InputError
        If the shapes do not fit one another, or a class is none of the logits'.
    """
    z = _in_full_precision(logits)
    shares = _shares(z, classes, counts)
    return -(shares * z.log_softmax(1).gather(1, classes)).sum(1)


class CellDistillationLoss(SoftTargetLoss):
    """alpha T^2 KL over cells (:func:`kl_to_cells`) + (1 - alpha) CE(z, y).

    Its settings are those of :class:`specialists.losses.SoftTargetLoss`; the cells are of
    softmax(t / T).
    """

    def forward(
        self,
        logits: Tensor,
        classes: Tensor,
        log_cells: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Loss in nats; an InputError as :func:`kl_to_cells`, and for labels that make no sense."""
        z = _in_full_precision(logits)
        _check_cells(z, classes, log_cells)
        target = CellTarget(classes, log_cells.to(z.dtype).log_softmax(1))
        return self.mixed(z, target, labels, weights)


class DrawnDistillationLoss(SoftTargetLoss):
    """alpha T^2 cross-entropy to draws (:func:`cross_entropy_to_draws`) + (1 - alpha) CE(z, y).

    Its settings are those of :class:`specialists.losses.SoftTargetLoss`; the draws are from
    softmax(t / T).
    """

    def forward(
        self,
        logits: Tensor,
        classes: Tensor,
        counts: Tensor,
        labels: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Loss in nats; an InputError as :func:`cross_entropy_to_draws`, and for wrong labels."""
        z = _in_full_precision(logits)
        return self.mixed(z, DrawnTarget(classes, _shares(z, classes, counts)), labels, weights)


@dataclass(frozen=True)
class DrawnTarget:
    """The cross-entropy to m classes of each row, int64 (n, m), with shares of sum 1, (n, m)."""

    classes: Tensor
    shares: Tensor

    def compare(self, block: SoftmaxBlock, weights: Tensor, gradient: Tensor) -> Tensor:
        classes, shares = self.classes[block.rows], self.shares[block.rows]
        gradient.scatter_add_(1, classes, -weights * shares)
        return -(shares * block.log_probs(classes)).sum(1)


@dataclass(frozen=True)
class CellTarget:
    """The KL over cells: k classes of each row, int64 (n, k), and all others, last of (n, k + 1).

    With q = softmax(z / T) and q_R its sum over the others, their cell adds p_R q_j / q_R to the
    target of a class j among them.
    """

    classes: Tensor
    log_cells: Tensor

    def compare(self, block: SoftmaxBlock, weights: Tensor, gradient: Tensor) -> Tensor:
        classes, log_cells = self.classes[block.rows], self.log_cells[block.rows]
        cells, limits = log_cells.exp(), torch.finfo(gradient.dtype)
        others, rest, log_rest = _others(block, classes, limits.tiny)
        gradient.scatter_add_(1, classes, -weights * cells[:, :-1])
        gradient.addcmul_(others, (weights * cells[:, -1:] / rest).clamp_max(limits.max), value=-1)
        return kl_between(log_cells, torch.cat([block.log_probs(classes), log_rest], dim=1))


def _others(block: SoftmaxBlock, classes: Tensor, tiny: float) -> tuple[Tensor, Tensor, Tensor]:
    """All but these classes: numbers in proportion to their probabilities, (b, C), and their sum.

    The third is the logarithm of their probability; it and the sum are (b, 1). The numbers are the
    probabilities, unless all of them vanish: then the largest is 1.
    """
    probs = block.probs.scatter(1, classes, 0.0)
    total = probs.sum(1, keepdim=True)
    if total.device.type == "cpu" and float(total.amin()) > tiny**0.75:  # a sum of rounded ones
        return probs, total, total.log()
    logits = block.logits.scatter(1, classes, -torch.inf)
    largest = logits.amax(1, keepdim=True)
    largest = largest.masked_fill(largest == -torch.inf, 0.0)  # none is left
    exps = (logits - largest).exp()
    total = exps.sum(1, keepdim=True).clamp_min(tiny)
    return exps, total, total.log() + largest - block.log_total


def _in_full_precision(logits: Tensor) -> Tensor:
    check_rows(logits, "logits")
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _check_cells(z: Tensor, classes: Tensor, log_cells: Tensor) -> None:
    fits = classes.dim() == 2 and len(classes) == len(z)
    if not fits or log_cells.shape != (len(z), classes.shape[1] + 1):
        got = f"classes {tuple(classes.shape)}, cells {tuple(log_cells.shape)}"
        expected = f"[{len(z)}, k] and [{len(z)}, k + 1]"
        raise InputError("cells and classes do not fit one another", got=got, expected=expected)
    _check_classes(z, classes)


def _check_classes(z: Tensor, classes: Tensor) -> None:
    if classes.device.type != "cpu" or not classes.numel():
        return
    wrong = [c for c in map(int, classes.aminmax()) if not 0 <= c < z.shape[1]]
    if wrong:
        got, expected = f"class {wrong[-1]}", f"0 to {z.shape[1] - 1}, as the logits have"
        raise InputError("a stored class is none of the student's", got=got, expected=expected)


def _shares(z: Tensor, classes: Tensor, counts: Tensor) -> Tensor:
    """Counts over their sum, once they fit the logits."""
    if classes.dim() != 2 or len(classes) != len(z) or counts.shape != classes.shape:
        got = f"classes {tuple(classes.shape)}, counts {tuple(counts.shape)}"
        expected = f"[{len(z)}, m] both"
        raise InputError("draws and logits do not fit one another", got=got, expected=expected)
    _check_classes(z, classes)
    counts = counts.to(z.dtype)
    return counts / counts.sum(1, keepdim=True)
