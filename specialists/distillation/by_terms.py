"""How is a student trained by an objective of terms? As any other, with another loss.

Where a term looks at layers, what is trained is the student with its adapters, and the teacher's
network is asked about every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.distillation.objective import Objective
from specialists.distillation.stores import SparseTargets
from specialists.distillation.teachers import Teacher
from specialists.distillation.terms.term import (
    CLASSES,
    LABELS,
    NETWORK,
    RAW_LOGITS,
    TARGETS,
    BatchView,
    KeptTargets,
    Term,
)
from specialists.distillation.watching import WatchedStudent

SAMPLE_ROWS = 2


class ObjectiveLoss:
    """An objective as the loss of a training, which is given the outputs and a batch's targets.

    Parameters
    ----------
    objective : Objective
    kept : SparseTargets, optional
        Of which the first targets of a batch are rows; None: they are predictions of all classes,
        if there is a teacher at all.
    is_taught : bool
        Whether targets begin with a teacher's.
    watched : WatchedStudent, optional
        The network that is trained, where terms look at layers.
    """

    def __init__(
        self,
        objective: Objective,
        kept: SparseTargets | None = None,
        is_taught: bool = True,
        watched: WatchedStudent | None = None,
    ) -> None:
        self.objective, self.kept, self.watched = objective, kept, watched
        self.n_parts = int(is_taught) if kept is None else len(kept.parts)

    def __call__(self, logits: Tensor, *targets: Tensor) -> Tensor:
        """The objective of a batch: the teacher's parts, labels, and weights if rows have any."""
        parts, (labels, *weights) = targets[: self.n_parts], targets[self.n_parts :]
        teacher: Tensor | KeptTargets | None = parts[0] if parts else None
        if self.kept is not None:
            teacher = KeptTargets(parts, self.kept.temperature, self.kept.divergences)
        view = BatchView(logits, teacher, labels)
        return self.objective(view if self.watched is None else self.watched.seen(view), *weights)


def needs_network(terms: Sequence[Term]) -> bool:
    """Whether one of the terms looks at a teacher's network."""
    return any(NETWORK in term.needs for term in terms)


def objective_loss(
    student: nn.Module,
    terms: Sequence[Term],
    teacher: Teacher | SparseTargets | None,
    teacher_network: nn.Module | None,
    inputs: Inputs,
) -> tuple[nn.Module, ObjectiveLoss, Teacher | SparseTargets | None]:
    """What is trained, by which loss, and whose targets its batches bring along.

    Parameters
    ----------
    student : nn.Module
    terms : sequence of Term
    teacher : Teacher or SparseTargets, optional
    teacher_network : nn.Module, optional
        Whose layers terms look at; None: the teacher, if it is a network.
    inputs : Tensor or Ragged
        Of the training, for a first look at the layers.

    Raises
    ------
    InputError
        If there is not what a term needs, or layers do not fit one another.
    """
    objective = Objective(terms)
    network = teacher if isinstance(teacher, nn.Module) else None
    watched = teacher_network or network
    there = {
        LABELS: True,
        TARGETS: teacher is not None,
        CLASSES: teacher is not None and not isinstance(teacher, SparseTargets),
        RAW_LOGITS: network is not None,
        NETWORK: watched is not None,
    }
    objective.check([what for what, is_there in there.items() if is_there])
    kept = teacher if isinstance(teacher, SparseTargets) else None
    if watched is None or not objective.needs & {NETWORK, RAW_LOGITS}:
        return student, ObjectiveLoss(objective, kept, teacher is not None), teacher
    teaches = network is watched
    rows = inputs[torch.arange(min(SAMPLE_ROWS, len(inputs)))]
    both = WatchedStudent(student, objective, watched, rows, teaches)
    asked = None if teaches else teacher
    return both, ObjectiveLoss(objective, kept, asked is not None, both), asked
