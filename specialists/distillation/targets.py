"""What does a student learn from: inputs, a teacher's soft targets, and the labels there are.

The ensemble's log-probabilities of the training inputs (and of unlabelled ones, if there are any)
are computed once and cached; the generalist's were already, for the specialists. Or the ensemble is
asked about every batch (:mod:`specialists.distillation.live`). Labels may be known for a share of
the rows only; the others then serve without them, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specialists.datasets import read_unlabelled
from specialists.datasets.base import Inputs, Ragged
from specialists.distillation.live import TaughtExamples, teacher_of, teaching_rule
from specialists.distillation.tasks import STAGE, StudentTask
from specialists.ensemble import Ensemble, Rule
from specialists.losses import UNLABELLED
from specialists.predictions import ShardedRows, write_shards
from specialists.runs import build_unit, sha256
from specialists.runs.manifests import CODE_VERSION
from specialists.runtime import progress
from specialists.training import TensorExamples
from specialists.trunk import FOLDER
from specialists.workspace import Workspace


@dataclass(frozen=True)
class SelectedRows:
    """Some rows of a matrix on disk, gathered when they are asked for.

    Parameters
    ----------
    rows : ShardedRows
    index : int64 Tensor of shape (n,)
    """

    rows: ShardedRows
    index: Tensor

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.rows[self.index[index]]


def student_examples(workspace: Workspace, task: StudentTask) -> TensorExamples | TaughtExamples:
    """Training batches of (soft target, label), or of labels alone."""
    train = workspace.dataset.train
    inputs, labels = train.inputs, train.labels
    rows = None if task.targets is None or task.live is not None else ShardedRows(task.targets)
    if task.unlabelled is not None:
        extra = _unlabelled(workspace, task.unlabelled)
        inputs = _concatenated(inputs, extra)
        labels = torch.cat([labels, torch.full((len(extra),), UNLABELLED)])
    if task.labelled_share < 1:
        seed = workspace.seed("labelled rows", task.labelled_share)
        known = labelled_rows(train.labels, task.labelled_share, seed)
        if task.transfer:
            hidden = torch.full_like(labels, UNLABELLED)
            hidden[known] = labels[known]
            labels = hidden
        else:
            inputs, labels = inputs[known], labels[known]
            rows = None if rows is None else SelectedRows(rows, known)
    targets = (labels,) if rows is None else (rows, labels)
    examples = TensorExamples(inputs, targets, workspace.augment)
    if task.live is None:
        return examples
    return TaughtExamples(examples, teacher_of(workspace, task.live))


def labelled_rows(labels: Tensor, share: float, seed: int) -> Tensor:
    """A random ``share`` of the rows of every class, at least one of each, ascending.

    Parameters
    ----------
    labels : int64 Tensor of shape (n,)
    share : float
        In (0, 1].
    seed : int

    Returns
    -------
    int64 Tensor of indices
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = shuffled[labels[shuffled].argsort(stable=True)]  # class after class, each at random
    counts = torch.bincount(labels)
    own = labels[order]
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[own]
    wanted = (share * counts).round().clamp_min(1)
    return order[place < wanted[own]].sort().values


def generalist_targets(workspace: Workspace) -> Path:
    """The folder of the calibrated generalist's log-probabilities of the training inputs."""
    return workspace.path(*FOLDER, "log_probs")


def write_soft_targets(workspace: Workspace) -> Path:
    """Write the ensemble's log-probabilities of every transfer input as half-precision shards.

    Specialists are asked about every row (:func:`specialists.distillation.live.teaching_rule`).
    Returns the shards' folder.
    """
    folder = workspace.path(STAGE, "targets")
    files = ["combine-predictions/choice.json", "prepare-data/train.inputs.npy"]
    files += ["train-generalist/weights.safetensors", "train-generalist/calibration.json"]
    members = sorted(workspace.path("train-specialists").glob("specialist-*/manifest.json"))
    files += [member.relative_to(workspace.folder).as_posix() for member in members]
    inputs = workspace.fingerprints(*files)
    extra = workspace.config.student.unlabelled
    if extra:
        inputs[extra] = sha256(extra)
    rule = teaching_rule(workspace)
    key: dict[str, Any] = {
        "inputs": inputs,
        "config": {"rule": rule.to_dict()},
        "code": CODE_VERSION,
    }

    def build(folder: Path) -> None:
        blocks = _target_blocks(workspace, rule, extra)
        write_shards(folder, blocks, workspace.dataset.n_classes, key)

    build_unit(folder, key, build)
    return folder


def _target_blocks(
    workspace: Workspace, rule: Rule, unlabelled: str | None, rows: int = 8192
) -> Iterator[Tensor]:
    ensemble = Ensemble.open(workspace)
    sources = [workspace.dataset.train.inputs]
    if unlabelled is not None:
        sources.append(_unlabelled(workspace, unlabelled))
    with progress("soft targets", sum(map(len, sources))) as bar:
        for source in sources:
            for index in torch.arange(len(source)).split(rows):
                yield ensemble.log_probs(source[index], rule)
                bar.advance(len(index))


def _unlabelled(workspace: Workspace, file: str) -> Inputs:
    return read_unlabelled(file, workspace.dataset.preprocessing)[0]


def _concatenated(first: Inputs, second: Inputs) -> Inputs:
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        offsets = torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]])
        return Ragged(torch.cat([first.values, second.values]), offsets)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    return torch.cat([first, second])
