"""What is a student trained on? Rows, what is known of their labels, and its teacher's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from specialists.datasets.base import Split, joined_inputs
from specialists.datasets.fetched_rows import only_rows
from specialists.distillation import SparseTargets, Teacher, labelled_rows
from specialists.errors import InputError
from specialists.losses import UNLABELLED
from specialists.predictions import SelectedPredictions

from .context import RunContext
from .soft_targets import online_teacher, read_soft_targets, replayed_views, unlabelled_inputs

if TYPE_CHECKING:
    from .distill_student import StudentTask


def student_data(
    context: RunContext, task: StudentTask
) -> tuple[Split, Teacher | SparseTargets | None]:
    """The training rows of a student, and its teacher's predictions for them or its teacher.

    Labels may be known for a share of the training rows only. The others then serve without them
    (``transfer``), or not at all; nor do those of a class that is left out. Unlabelled inputs come
    after them, or in their place.
    """
    rows, index = _training_rows(context, task)
    if task.unlabelled is not None:
        extra = unlabelled_inputs(context, task.unlabelled)
        hidden = torch.full((len(extra),), UNLABELLED)
        if task.alone:
            rows, index = Split(extra, hidden), torch.arange(len(extra))
        else:
            n_before = len(context.dataset.train)
            index = torch.cat([index, torch.arange(n_before, n_before + len(extra))])
            weights = rows.weights
            rows = Split(
                joined_inputs([rows.inputs, extra]),
                torch.cat([rows.labels, hidden]),
                weights=None if weights is None else torch.cat([weights, torch.ones(len(extra))]),
            )
    if task.online is not None:
        return rows, online_teacher(context, task.online)
    if task.targets is None:
        return rows, None
    stored = read_soft_targets(task.targets, task.store, task.temperature or 1.0)
    if (views := replayed_views(context)) is not None:
        if views.n_views * len(rows) != len(stored):
            raise InputError("views are stored of all rows, and the student sees some of them")
        index = torch.arange(len(stored))
    if isinstance(stored, SparseTargets):
        return rows, stored.select(index)
    return rows, SelectedPredictions(stored, index)


def _training_rows(context: RunContext, task: StudentTask) -> tuple[Split, Tensor]:
    """Training rows that a student sees, labelled where it knows the label, and which they are."""
    train, names = context.dataset.train, context.dataset.class_names
    labels = train.labels
    if task.labelled_share < 1:
        seed = context.seed("labelled rows", task.labelled_share)
        known = labelled_rows(labels, task.labelled_share, seed)
        labels = torch.full_like(labels, UNLABELLED)
        labels[known] = train.labels[known]
    seen = torch.ones(len(labels), dtype=torch.bool)
    if not task.transfer:
        seen &= labels != UNLABELLED
    if task.leave_out:
        left_out = torch.tensor([names.index(name) for name in task.leave_out])
        seen &= ~torch.isin(train.labels, left_out)
    index = seen.nonzero().squeeze(1)
    if len(index) == len(labels):
        return Split(train.inputs, labels, weights=train.weights), index
    weights = None if train.weights is None else train.weights[index]
    return Split(only_rows(train.inputs, index), labels[index], weights=weights), index
