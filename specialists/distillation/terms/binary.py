"""Terms of classes that are each a question of its own: any number of them may be right.

Both are summed over classes, METHOD.md (37): the gradient of a logit does not shrink with their
number.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F
from torch.special import entr

from specialists.config.fields import Switch, Temperature
from specialists.distillation.terms.term import (
    CLASSES,
    LABELS,
    RAW_LOGITS,
    TARGETS,
    BatchView,
    Term,
)
from specialists.errors import InputError
from specialists.losses import UNLABELLED, of_known
from specialists.probability import check_labels


class BinaryLabels(Term):
    """Sum over classes of the binary cross-entropy of sigmoid(z_j) with y_j.

    Labels (n, C) hold 0 or 1, or a probability, or ``UNLABELLED`` where an answer is not known;
    those of shape (n,) name the one class that is right.
    """

    kind: ClassVar[str] = "binary_labels"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LABELS})

    def losses(self, view: BatchView) -> Tensor:
        z, labels = view.logits, view.labels
        assert labels is not None
        if labels.dim() == 1:
            labels = check_labels(labels, len(z), z.shape[1], UNLABELLED)
            right = F.one_hot(labels.clamp_min(0), z.shape[1]).to(z.dtype)
            rows = F.binary_cross_entropy_with_logits(z, right, reduction="none").sum(1)
            return of_known(rows, labels != UNLABELLED)
        known = labels != UNLABELLED
        wrong = known & ~((labels >= 0) & (labels <= 1)) if labels.shape == z.shape else known
        if labels.shape != z.shape or (wrong.device.type == "cpu" and bool(wrong.any())):
            raise InputError(
                f"{self.kind}: these are no answers to each class",
                got=f"{labels.dtype} of shape {tuple(labels.shape)}",
                expected=f"numbers in [0, 1], or {UNLABELLED}, of shape {tuple(z.shape)}",
            )
        right = labels.to(z.dtype).clamp_min(0)
        each = F.binary_cross_entropy_with_logits(z, right, reduction="none")
        return (each * known).sum(1)


class BinaryTargets(Term):
    """T^2 times the sum over classes of KL(Bernoulli(p_j) || Bernoulli(sigmoid(z_j / T))).

    p_j = sigmoid(t_j / T), or softmax(t / T)_j if the teacher's classes exclude one another.

    Source: the soft targets of Hinton et al. 2015 with one question a class, as in Yang et al.
    2023, "Multi-Label Knowledge Distillation", section 3.2.
    """

    kind: ClassVar[str] = "binary_targets"

    temperature: Temperature = 1.0
    """T."""
    exclusive: Switch = False
    """Whether the teacher's classes exclude one another, as those of a softmax."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({TARGETS, CLASSES, *(() if self.exclusive else (RAW_LOGITS,))})

    def losses(self, view: BatchView) -> Tensor:
        teacher, z = view.every_class(self.kind) / self.temperature, view.logits / self.temperature
        p = (teacher.softmax(1) if self.exclusive else teacher.sigmoid()).to(z.dtype)
        each = F.binary_cross_entropy_with_logits(z, p, reduction="none")
        return self.temperature**2 * (each - entr(p) - entr(1 - p)).sum(1)
