"""What does a student of a run learn from: inputs, a teacher's soft targets, and labels.

The ensemble's log-probabilities of the training inputs (and of unlabelled ones, if there are any)
are computed once and stored; the generalist's were already, for the specialists. Or the ensemble is
asked about every batch. Labels may be known for a share of the rows only; the others then serve
without them, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specialists.datasets import read_unlabelled
from specialists.datasets.base import Inputs, Ragged, Split
from specialists.distillation import (
    OnlineTeacher,
    Teacher,
    labelled_rows,
    teacher_blocks,
)
from specialists.ensemble import CombinationRule
from specialists.losses import UNLABELLED
from specialists.predictions import (
    Predictions,
    SelectedPredictions,
    StoredPredictions,
    write_shards,
)
from specialists.runs import sha256
from specialists.runs.manifests import CODE_VERSION

from .context import RunContext
from .ensembles import chosen_rule, open_ensemble
from .runs import build_unit
from .student_tasks import STAGE, OnlineName, StudentTask
from .trunk_files import FOLDER


def teaching_rule(workspace: RunContext) -> CombinationRule:
    """The rule of `ensemble`, its specialists asked about every row, whatever that costs.

    A generalist is sure of most of what it was trained on, so that a teacher who leaves sure rows
    to it would hand on little of what the specialists know; and a teacher's inference is paid for
    in training only.
    """
    return replace(chosen_rule(workspace), defer_above=None)


def online_teacher(workspace: RunContext, name: OnlineName) -> Callable[[Inputs], Predictions]:
    """The run's ensemble, its specialists asked about every row, or its generalist."""
    rule = teaching_rule(workspace)
    if name == "generalist":
        rule = replace(rule, members=())
    return replace(open_ensemble(workspace), rule=rule).predictions


def student_data(workspace: RunContext, task: StudentTask) -> tuple[Split, Teacher | None]:
    """The training rows of a student, and its teacher's predictions for them or its teacher."""
    train = workspace.dataset.train
    inputs, labels = train.inputs, train.labels
    if task.unlabelled is not None:
        extra = _unlabelled(workspace, task.unlabelled)
        inputs = _concatenated(inputs, extra)
        labels = torch.cat([labels, torch.full((len(extra),), UNLABELLED)])
    index = torch.arange(len(labels))
    if task.labelled_share < 1:
        seed = workspace.seed("labelled rows", task.labelled_share)
        known = labelled_rows(train.labels, task.labelled_share, seed)
        if task.transfer:
            hidden = torch.full_like(labels, UNLABELLED)
            hidden[known] = labels[known]
            labels = hidden
        else:
            inputs, labels, index = inputs[known], labels[known], known
    teacher = None
    if task.online is not None:
        teacher = online_teacher(workspace, task.online)
    elif task.targets is not None:
        teacher = SelectedPredictions(StoredPredictions(task.targets), index)
    return Split(inputs, labels), teacher


def generalist_targets(workspace: RunContext) -> Path:
    """The folder of the calibrated generalist's log-probabilities of the training inputs."""
    return workspace.path(*FOLDER, "log_probs")


def write_soft_targets(workspace: RunContext) -> Path:
    """Write the ensemble's log-probabilities of every transfer input as half-precision shards.

    Specialists are asked about every row (:func:`teaching_rule`). Returns the shards' folder.
    """
    folder = workspace.path(STAGE, "targets")
    files = ["combine-predictions/choice.json", "prepare-data/train.inputs.npy"]
    files += ["train-generalist/weights.safetensors", "train-generalist/calibration.json"]
    members = sorted(workspace.path("train-specialists").glob("specialist-*/manifest.json"))
    files += [member.relative_to(workspace.folder).as_posix() for member in members]
    inputs = workspace.fingerprints(*files)
    rule = teaching_rule(workspace)
    key: dict[str, Any] = {
        "inputs": inputs,
        "config": {"rule": rule.to_dict()},
        "code": CODE_VERSION,
    }
    write_targets(
        workspace, folder, key, lambda: replace(open_ensemble(workspace), rule=rule).predictions
    )
    return folder


def write_targets(
    workspace: RunContext,
    folder: Path,
    key: dict[str, Any],
    open_teacher: Callable[[], OnlineTeacher],
) -> None:
    """Write a teacher's log-probabilities of every transfer input, unless they stand already."""
    extra = workspace.config.student.unlabelled
    if extra:
        key = {**key, "inputs": key["inputs"] | {extra: sha256(extra)}}

    def build(folder: Path) -> None:
        teacher = open_teacher()
        sources = [workspace.dataset.train.inputs]
        sources += [_unlabelled(workspace, extra)] if extra else []
        blocks = (block for source in sources for block in teacher_blocks(teacher, source))
        write_shards(folder, blocks, workspace.dataset.n_classes, key)

    build_unit(folder, key, build)


def _unlabelled(workspace: RunContext, file: str) -> Inputs:
    return read_unlabelled(file, workspace.dataset.preprocessing)[0]


def _concatenated(first: Inputs, second: Inputs) -> Inputs:
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        offsets = torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]])
        return Ragged(torch.cat([first.values, second.values]), offsets)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    return torch.cat([first, second])
