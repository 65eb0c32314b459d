"""What is minimised: cross-entropy, distillation, and a specialist's mixture of both.

Every loss is summed over classes and averaged over the batch. ``F.kl_div(reduction="mean")``
divides by the number of classes as well, which makes the soft term vanish for large label sets.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from specialists.errors import InputError

UNLABELLED = -1


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-sum_j target_j log softmax(logits)_j, averaged over the batch; gradients as of the KL."""
    return -(target * F.log_softmax(logits, dim=-1)).sum(-1).mean()


def kl_to(logits: Tensor, target: Tensor) -> Tensor:
    """KL(target || softmax(logits)) in nats, averaged over the batch; 0 log 0 = 0.

    Parameters
    ----------
    logits, target : Tensors of shape (n, C)
        ``target`` holds probabilities, so that a class of probability zero gives no NaN.
    """
    entropy_term = (target * target.clamp_min(1e-45).log()).sum(-1).mean()
    return soft_cross_entropy(logits, target) + entropy_term


class DistillationLoss(nn.Module):
    """alpha T^2 KL(softmax(t / T) || softmax(z / T)) + (1 - alpha) CE(z, y).

    Parameters
    ----------
    temperature : float
        T > 0. The factor T^2 keeps the size of the gradients (Hinton et al. 2015, section 2).
    alpha : float
        Weight of the soft targets, in [0, 1].
    label_smoothing : float
        Of the cross-entropy.

    Notes
    -----
    The teacher is given as logits or, equally, as log-probabilities; -inf is a probability of
    zero. The value of the soft term is a true KL: zero where student and teacher agree.
    """

    def __init__(self, temperature: float, alpha: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not temperature > 0 or not 0 <= alpha <= 1:
            raise InputError(
                "a distillation loss needs temperature > 0 and alpha in [0, 1]",
                got=f"temperature={temperature}, alpha={alpha}",
            )
        self.temperature = temperature
        self.alpha = alpha
        self.label_smoothing = label_smoothing

    def forward(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Loss in nats, a scalar.

        Parameters
        ----------
        student_logits, teacher_logits : Tensors of shape (n, C)
        labels : int64 Tensor of shape (n,), optional
            ``UNLABELLED`` (-1) where there is none; needed unless alpha is 1.
        """
        target = F.softmax(teacher_logits.to(student_logits.dtype) / self.temperature, dim=-1)
        soft = self.temperature**2 * kl_to(student_logits / self.temperature, target)
        if self.alpha == 1:
            return soft
        if labels is None:
            raise InputError("a distillation loss with alpha < 1 needs labels", got=None)
        hard = F.cross_entropy(
            student_logits,
            labels,
            ignore_index=UNLABELLED,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        n_labelled = (labels != UNLABELLED).sum().clamp_min(1)
        return self.alpha * soft + (1 - self.alpha) * hard / n_labelled


class SpecialistLoss(nn.Module):
    """(1 - a) CE(z, y) + a T^2 KL(target || softmax(z / T)) over classes and dustbin.

    ``target`` is the generalist's posterior, aggregated to the dustbin, shifted to the prior that
    the specialist trains under, and tempered, in this order
    (:func:`specialists.specialist.soft_targets`).

    Parameters
    ----------
    temperature : float
    soft_share : float
        a, in [0, 1].
    """

    def __init__(self, temperature: float, soft_share: float, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.soft_share = soft_share
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Loss in nats; ``target`` [n, k + 1] are probabilities at the temperature."""
        hard = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if self.soft_share == 0:
            return hard
        soft = self.temperature**2 * kl_to(logits / self.temperature, target)
        return (1 - self.soft_share) * hard + self.soft_share * soft
