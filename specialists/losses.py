"""What is minimised: cross-entropy, distillation, and a specialist's mixture of both.

Every loss is summed over classes and averaged over the batch. ``F.kl_div(reduction="mean")``
divides by the number of classes as well, which makes the soft term vanish for large label sets.

Rows may have weights whose mean over all training rows is 1. They multiply the rows' losses, and
the batch still divides by its number of rows: so the gradient of a batch has the expectation that
it would have if rows stood there as often as they count.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.errors import InputError, first_of
from specialists.fused_softmax import DenseTarget, LabelTarget, Target, WeightedTarget, fused_loss
from specialists.probability import check_labels, check_rows

UNLABELLED = -1
SUM_TOLERANCE = 1e-2


def relative_weights(weights: Tensor | None) -> tuple[Tensor, ...]:
    """Weights (n,) divided by their mean, as the last of a batch's targets; none for None."""
    return () if weights is None else (weights / weights.mean(),)


class CrossEntropy(nn.Module):
    """Mean cross-entropy with labels, int64 (n,), in nats; ``label_smoothing`` in [0, 1)."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Loss of a batch, a scalar; see the module for ``weights`` (n,).

        Raises an InputError for a label that is none of the classes.
        """
        labels, smoothing = check_labels(labels, *logits.shape), self.label_smoothing
        if weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        losses = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        return (losses * weights).mean()


def kl_to(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean of :func:`kl_rows`, of which ``weights`` (n,) multiply the rows."""
    rows = kl_rows(logits, target)
    return rows.mean() if weights is None else (rows * weights).mean()


def kl_rows(logits: Tensor, target: Tensor) -> Tensor:
    """KL(target || softmax(logits)) of each row in nats, (n,); 0 log 0 = 0.

    Computed in float32 or better, whatever comes in.

    Parameters
    ----------
    logits, target : Tensors of shape (n, C)
        ``target`` holds probabilities, so that a class of probability zero gives no NaN.

    Raises
    ------
    InputError
        If the shapes differ, or a row of the target is NaN.
    """
    logits, target = _in_full_precision(logits, target, "the target")
    # The smallest normal number, which no mode flushes to zero; special.entr is five times slower.
    entropy = -(target * target.clamp_min(torch.finfo(target.dtype).tiny).log()).sum(-1)
    _refuse(entropy.isnan(), "a row of the target is no distribution", "NaN")
    return -(target * F.log_softmax(logits, dim=-1)).sum(-1) - entropy


class SoftTargetLoss(nn.Module):
    """alpha T^2 D(target || softmax(z / T)) + (1 - alpha) CE(z, y), for targets of any form.

    Parameters
    ----------
    temperature : float
        T > 0. The factor T^2 keeps the size of the gradients (Hinton et al. 2015, section 2).
    alpha : float
        Weight of the soft targets, in [0, 1].
    label_smoothing : float
        Of the cross-entropy, in [0, 1).
    """

    def __init__(self, temperature: float, alpha: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        _check_settings(temperature, alpha, label_smoothing, "a distillation loss", "alpha")
        self.temperature = temperature
        self.alpha = alpha
        self.label_smoothing = label_smoothing

    def mixed(
        self, z: Tensor, target: Target, labels: Tensor | None, weights: Tensor | None = None
    ) -> Tensor:
        """The loss of logits in full precision, (n, C), which ``target`` fits."""
        rows = z.new_ones(len(z)) if weights is None else weights.to(z.dtype)
        soft = WeightedTarget(
            target, rows * (self.alpha * self.temperature**2 / len(z)), self.temperature
        )
        if self.alpha == 1:
            return fused_loss(z, [soft])
        if labels is None:
            raise InputError("a distillation loss with alpha < 1 needs labels", got=None)
        share, smoothing = 1 - self.alpha, self.label_smoothing
        if labels.is_floating_point():
            hard = _cross_entropy(z, labels, smoothing, UNLABELLED, weights)
            return fused_loss(z, [soft]) + share * hard
        labels = check_labels(labels, len(z), z.shape[1], UNLABELLED)
        known = of_known(rows, labels != UNLABELLED) * (share / len(z))
        hard = LabelTarget(labels.clamp_min(0)[:, None], smoothing)
        return fused_loss(z, [soft, WeightedTarget(hard, known)])


class DistillationLoss(SoftTargetLoss):
    """alpha T^2 KL(softmax(t / T) || softmax(z / T)) + (1 - alpha) CE(z, y), METHOD.md (27).

    Notes
    -----
    The teacher is given as logits or, equally, as log-probabilities; -inf is a probability of
    zero. It is a constant: no gradient reaches it. The value of the soft term is a true KL: zero
    where student and teacher agree. Half precision is taken, and computed with in float32.

    Shapes are always checked. Values are checked on the CPU alone, since a look at a GPU's
    tensors waits for it.
    """

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Loss in nats, a scalar.

        Parameters
        ----------
        student_logits, teacher_logits : Tensors of shape (n, C)
        labels : int64 Tensor of shape (n,) or probabilities of shape (n, C), optional
            Needed unless alpha is 1. ``UNLABELLED`` (-1) where an example has no label.
        weights : Tensor of shape (n,), optional
            See the module.

        Raises
        ------
        InputError
            If the shapes do not fit one another, or labels or teacher make no sense.
        """
        dtype = _common_precision(student_logits, teacher_logits, "the teacher's logits")
        target = DenseTarget(teacher_logits.detach(), self.temperature)
        return self.mixed(student_logits.to(dtype), target, labels, weights)


class SpecialistLoss(nn.Module):
    """(1 - a) CE(z, y) + a T^2 KL(target || softmax(z / T)) over classes and dustbin.

    ``target`` is the generalist's posterior, aggregated to the dustbin, shifted to the prior that
    the specialist trains under, and tempered, in this order
    (:func:`specialists.specialist.soft_targets`). Precision and checks are those of
    :class:`DistillationLoss`.

    Parameters
    ----------
    temperature : float
        T > 0.
    soft_share : float
        a, in [0, 1].
    label_smoothing : float
        Of the cross-entropy, in [0, 1).
    """

    def __init__(self, temperature: float, soft_share: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        _check_settings(temperature, soft_share, label_smoothing, "a specialist's loss", "a")
        self.temperature = temperature
        self.soft_share = soft_share
        self.label_smoothing = label_smoothing

    def forward(
        self, logits: Tensor, target: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Loss in nats; ``target`` [n, k + 1] are probabilities at the temperature.

        Raises
        ------
        InputError
            If the shapes do not fit one another, or labels or target make no sense.
        """
        check_rows(logits, "logits")
        z = logits.to(torch.promote_types(logits.dtype, torch.float32))
        hard = _cross_entropy(z, labels, self.label_smoothing, 0, weights)
        if self.soft_share == 0:
            return hard
        z, target = _in_full_precision(z, target, "the target")
        _check_distributions(target, "a row of the target is no distribution")
        soft = self.temperature**2 * kl_to(z / self.temperature, target, weights)
        return (1 - self.soft_share) * hard + self.soft_share * soft


def _cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: float, lowest: int, weights: Tensor | None = None
) -> Tensor:
    """Mean over the labelled rows; zero where none is."""
    rows = cross_entropy_rows(logits, labels, smoothing, lowest)
    return rows.mean() if weights is None else (rows * weights).mean()


def cross_entropy_rows(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, lowest: int = UNLABELLED
) -> Tensor:
    """Cross-entropy of each row, (n,), whose mean is that over the labelled rows.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
    labels : int64 Tensor of shape (n,) or probabilities of shape (n, C)
        From ``lowest``; ``UNLABELLED`` rows are 0.
    smoothing : float
        Of the labels, in [0, 1).

    Raises
    ------
    InputError
        If the labels are none.
    """
    if labels.is_floating_point():
        logits, labels = _in_full_precision(logits, labels, "the soft labels")
        _check_distributions(labels, "a row of the soft labels is no distribution")
        return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    labels = check_labels(labels, len(logits), logits.shape[1], lowest)
    how = {"ignore_index": UNLABELLED, "label_smoothing": smoothing}
    return of_known(F.cross_entropy(logits, labels, reduction="none", **how), labels != UNLABELLED)


def of_known(rows: Tensor, known: Tensor) -> Tensor:
    """Losses (n,) that are 0 where they are not ``known``, and whose mean is that of the others."""
    known = known.to(rows.dtype)
    return rows * (known * (len(known) / known.sum().clamp_min(1)))


def _in_full_precision(logits: Tensor, other: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Both in float32 or better, once they fit one another."""
    dtype = _common_precision(logits, other, name)
    return logits.to(dtype), other.to(dtype)


def _common_precision(logits: Tensor, other: Tensor, name: str) -> torch.dtype:
    """Float32 or better. Shapes that differ are refused, since they would broadcast."""
    check_rows(logits, "logits")
    if other.shape != logits.shape or not other.is_floating_point():
        raise InputError(
            f"{name} and the logits do not fit one another",
            got=f"{other.dtype} of shape {tuple(other.shape)}",
            expected=f"real numbers of shape {tuple(logits.shape)}, as the logits",
        )
    return torch.promote_types(torch.promote_types(logits.dtype, other.dtype), torch.float32)


def _check_distributions(probs: Tensor, what: str) -> None:
    wrong = (probs < 0).any(-1) | ~((probs.sum(-1) - 1).abs() < SUM_TOLERANCE)
    _refuse(wrong, what, "a negative number, or a sum that is not 1")


def _refuse(wrong: Tensor, what: str, got: str) -> None:
    if wrong.device.type == "cpu" and wrong.any():
        where = first_of(wrong.nonzero().flatten().tolist())
        raise InputError(what, where=where, got=got, expected="probabilities that sum to 1")


def _check_settings(temperature: Any, share: Any, smoothing: Any, what: str, name: str) -> None:
    settings = {"temperature": temperature, name: share, "label_smoothing": smoothing}
    try:
        fits = 0 < temperature < math.inf and 0 <= share <= 1 and 0 <= smoothing < 1
    except TypeError:
        fits = False
    if not fits:
        raise InputError(
            f"{what} needs a temperature > 0, {name} in [0, 1] and label smoothing in [0, 1)",
            got=", ".join(f"{key}={value}" for key, value in settings.items()),
        )
