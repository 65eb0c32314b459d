"""Terms of what is predicted, METHOD.md (34) to (36): the student's logits z, the teacher's t.

All but :class:`LogitMatching` are summed over classes, so that the gradient of a logit does not
shrink with their number.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from specialists.config.fields import Fraction, Number, Temperature
from specialists.distillation.terms.term import (
    CLASSES,
    LABELS,
    TARGETS,
    BatchView,
    KeptTargets,
    Term,
)
from specialists.errors import InputError
from specialists.losses import UNLABELLED, cross_entropy_rows, kl_rows, of_known
from specialists.probability import check_labels, kl_between, log_sum_exp

SMALLEST_VARIANCE = 1e-14


class Labels(Term):
    """CE((1 - s) y + s / C, z): the true labels, with label smoothing s.

    Smoothed labels are the baseline of soft targets: they give every wrong class the same.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
    """

    kind: ClassVar[str] = "labels"

    smoothing: Fraction = 0.0
    """Fraction s of a label's probability that is spread over all classes."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LABELS})

    def losses(self, view: BatchView) -> Tensor:
        assert view.labels is not None
        return cross_entropy_rows(view.logits, view.labels, self.smoothing)


class SoftTargets(Term):
    """T^2 KL(softmax(t / T) || softmax(z / T)), the soft term of METHOD.md (27), (32) and (33).

    Source: Hinton, Vinyals, Dean 2015, section 2.
    """

    kind: ClassVar[str] = "soft_targets"

    temperature: Temperature = 1.0
    """T."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({TARGETS})

    def losses(self, view: BatchView) -> Tensor:
        t, kept = self.temperature, view.teacher
        if not isinstance(kept, KeptTargets):
            target = (view.every_class(self.kind) / t).softmax(1)
            return t**2 * kl_rows(view.logits / t, target)
        if kept.temperature != t:
            raise InputError(
                "stored soft targets are of another temperature",
                got=f"temperature {t!r}",
                expected=f"{kept.temperature!r}, at which they were made",
            )
        return t**2 * kept.divergences(view.logits / t, *kept.parts)


class LogitMatching(Term):
    """(1 / 2 C) |(z - mean z) - (t - mean t)|^2, METHOD.md (34).

    It is what soft targets with the factor T^2 become at a high temperature, which is where the
    division by C comes from.

    Source: Hinton, Vinyals, Dean 2015, section 2.1, equations 2 to 4.
    """

    kind: ClassVar[str] = "logit_matching"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({TARGETS, CLASSES})

    def losses(self, view: BatchView) -> Tensor:
        gap = view.logits - view.finite_classes(self.kind)
        return (gap - gap.mean(1, keepdim=True)).square().mean(1) / 2


class DecoupledTargets(Term):
    """T^2 [alpha KL(b(t) || b(z)) + beta KL(p(t) || p(z))], METHOD.md (35).

    b is the probability of the label's class beside that of all others; p is the distribution
    among these others. With alpha = 1 and beta = the teacher's probability of all others this is
    the KL. Rows without a label are left out. The paper's warm-up of the weight over 20 epochs is
    left out as well.

    Source: Zhao et al. 2022, "Decoupled Knowledge Distillation".
    """

    kind: ClassVar[str] = "decoupled"

    temperature: Temperature = 4.0
    """T."""
    alpha: Number = 1.0
    """Weight of the label's class beside all others."""
    beta: Number = 8.0
    """Weight of the distribution among all others."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({TARGETS, CLASSES, LABELS})

    def losses(self, view: BatchView) -> Tensor:
        z, teacher = view.logits / self.temperature, view.every_class(self.kind) / self.temperature
        assert view.labels is not None
        labels = check_labels(view.labels, len(z), z.shape[1], UNLABELLED)
        label = labels.clamp_min(0)[:, None]
        (two_q, others_q), (two_p, others_p) = _decoupled(z, label), _decoupled(teacher, label)
        rows = self.alpha * kl_between(two_p, two_q) + self.beta * kl_between(others_p, others_q)
        return of_known(self.temperature**2 * rows, labels != UNLABELLED)


class StandardisedTargets(Term):
    """T^2 KL(softmax(s(t) / T) || softmax(s(z) / T)), s(z) = (z - mean z) / std z, METHOD.md (36).

    Student and teacher agree where their logits do up to a shift and a scale of each row. The
    standard deviation is that of the C logits (divided by C).

    Source: Sun et al. 2024, "Logit Standardization in Knowledge Distillation", algorithm 1.
    """

    kind: ClassVar[str] = "standardised"

    temperature: Temperature = 2.0
    """T, the paper's base temperature."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({TARGETS, CLASSES})

    def losses(self, view: BatchView) -> Tensor:
        t = self.temperature
        target = (_standardised(view.finite_classes(self.kind)) / t).softmax(1)
        return t**2 * kl_rows(_standardised(view.logits) / t, target)


def _decoupled(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the label beside all others, (n, 2), and among the others, (n, C)."""
    others = logits.scatter(1, label, -torch.inf)
    rest = log_sum_exp(others)[:, None]
    among = others - rest.masked_fill(rest == -torch.inf, 0.0)
    return torch.cat([logits.gather(1, label), rest], 1).log_softmax(1), among


def _standardised(logits: Tensor) -> Tensor:
    centred = logits - logits.mean(1, keepdim=True)
    return centred / centred.square().mean(1, keepdim=True).clamp_min(SMALLEST_VARIANCE).sqrt()
