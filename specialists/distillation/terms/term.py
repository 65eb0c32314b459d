"""What is a term of a student's objective, and what does it see of a batch?

    objective = sum over terms of weight * (mean over the rows of the term's losses)

A term is its settings and one formula, from a :class:`BatchView` to a loss for each row. It takes
what it needs from the view: logits, the teacher's targets, labels, or outputs of layers by their
paths. It is computed in float32 or better. What a term must be given is in its ``needs``, so that
what is missing is named before anything is trained.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from specialists.config import ConfigMistakesError
from specialists.config.fields import Section, Weight
from specialists.config.mistakes import explained
from specialists.errors import InputError, first_of
from specialists.probability import check_rows

LABELS = "labels"
TARGETS = "a teacher's predictions"
CLASSES = "a teacher's probability of every class"
RAW_LOGITS = "a teacher's logits"
NETWORK = "a teacher's network"
OUTPUTS = "logits"  # the name of the last layer, wherever a network has it


@dataclass(frozen=True)
class KeptTargets:
    """What is kept of a teacher's predictions of a batch: cells or draws.

    Parameters
    ----------
    parts : tuple of Tensors of n rows
    temperature : float
        T, at which they were made.
    divergences : callable
        From logits divided by T and the parts to the divergence of each row, (n,).
    """

    parts: tuple[Tensor, ...]
    temperature: float
    divergences: Callable[..., Tensor]


@dataclass(frozen=True)
class BatchView:
    """What a term sees of n rows.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
        The student's.
    teacher : Tensor of shape (n, C) or KeptTargets, optional
        Logits or, where a term's formula allows it, log-probabilities.
    labels : Tensor, optional
        int64 (n,), ``UNLABELLED`` where a row has none; or real numbers in [0, 1], (n, C).
    features, teacher_features : mapping of str to Tensor
        Outputs of layers, n rows each, by their paths in the student and in the teacher.
    """

    logits: Tensor
    teacher: Tensor | KeptTargets | None = None
    labels: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)

    def in_full_precision(self) -> BatchView:
        """The same in float32 or better; an InputError unless the logits are a matrix."""
        check_rows(self.logits, "logits")
        teacher = self.teacher
        return BatchView(
            _precise(self.logits),
            _precise(teacher) if isinstance(teacher, Tensor) else teacher,
            self.labels,
            {path: _precise(value) for path, value in self.features.items()},
            {path: _precise(value) for path, value in self.teacher_features.items()},
        )

    def every_class(self, kind: str) -> Tensor:
        """The teacher's numbers of all classes, (n, C), for a term of this kind."""
        if not isinstance(self.teacher, Tensor):
            raise lacking(kind, TARGETS if self.teacher is None else CLASSES)
        if self.teacher.shape != self.logits.shape:
            raise InputError(
                f"{kind}: the teacher's predictions and the student's logits do not fit",
                got=f"{tuple(self.teacher.shape)} and {tuple(self.logits.shape)}",
                expected="a row for each input, a column for each class",
            )
        if self.teacher.device.type == "cpu" and not bool(self.teacher.sum() < torch.inf):
            wrong = (~(self.teacher < torch.inf)).any(1).nonzero().flatten().tolist()
            if wrong:
                what = f"{kind}: the teacher's predictions are NaN or infinite"
                raise InputError(what, where=first_of(wrong))
        return self.teacher

    def finite_classes(self, kind: str) -> Tensor:
        """The same, refused where a class has a probability of zero, whose logit is infinite."""
        teacher = self.every_class(kind)
        if teacher.device.type == "cpu" and not bool(teacher.isfinite().all()):
            raise InputError(
                f"{kind} compares logits, and some of the teacher's are not finite",
                fix="soft_targets takes probabilities of zero",
            )
        return teacher


class Term(Section, ABC):
    """A part of an objective: settings, and a loss for each row of a batch.

    A setting that makes no sense, and one that a term does not have, are refused with an
    InputError.
    """

    kind: ClassVar[str]

    weight: Weight = 1.0
    """Factor of the term in the objective."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            lines = explained(error, type(self).model_fields)
            raise ConfigMistakesError(lines, self.kind) from None

    @property
    def needs(self) -> frozenset[str]:
        """What a view must hold."""
        return frozenset()

    @property
    def layers(self) -> tuple[str, str] | None:
        """Paths of a layer of the student and of one of the teacher; None: it looks at none."""
        return None

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module | None:
        """What is trained to turn the student's layer into one like the teacher's, if anything.

        Raises an InputError if the layers' shapes do not fit.
        """
        return None

    def __call__(self, view: BatchView) -> Tensor:
        """Losses of the rows, (n,), whose mean is the term; its ``weight`` is not in them.

        Raises
        ------
        InputError
            If the view lacks what the term needs, or its parts do not fit one another.
        """
        if LABELS in self.needs and view.labels is None:
            raise lacking(self.kind, LABELS)
        return self.losses(view.in_full_precision())

    @abstractmethod
    def losses(self, view: BatchView) -> Tensor:
        """The formula, of a view in full precision."""


def lacking(kind: str, what: str) -> InputError:
    """The error of a term that needs what there is not."""
    fixes = {
        LABELS: "leave the term out, or give labels",
        TARGETS: "name a teacher",
        CLASSES: "student.targets = dense stores every class",
        RAW_LOGITS: "take a network as the teacher; of stored predictions or of an ensemble "
        "exclusive = true makes targets",
        NETWORK: "take a network as the teacher, or give distil a teacher_network; a file of "
        "predictions, a store or an ensemble has no layers",
    }
    return InputError(f"the term {kind} needs {what}", got="none", fix=fixes[what])


def changed_feature(view: BatchView, path: str, feature: Tensor) -> BatchView:
    """The same view with another output of a layer of the student."""
    return dataclasses.replace(view, features={**view.features, path: feature})


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
