"""A training of a student: by what it learns, on which rows, and by its teacher's word.

Labels may be known of some rows alone. A training whose loss does not stay finite leaves what it
cost in place of a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from specialists.config import Recipe
from specialists.config.fields import Tables
from specialists.datasets.base import Split, joined_inputs
from specialists.datasets.fetched_rows import only_rows
from specialists.distillation import (
    OFFLINE,
    Scheme,
    SchemeData,
    SparseTargets,
    Teacher,
    labelled_rows,
    read_terms,
    with_raised_classes,
)
from specialists.errors import DivergedError, InputError
from specialists.files import sha256, write_json
from specialists.losses import UNLABELLED
from specialists.networks import NetworkSpec, build_for, load_network
from specialists.predictions import SelectedPredictions
from specialists.runtime import seed_everything
from specialists.training import TrainingCost
from specialists.training.loading import without_single

from .classifiers import DATA, TrainingTask, recipe_settings, save_classifier
from .context import RunContext
from .soft_targets import (
    OnlineName,
    StoreName,
    online_teacher,
    read_soft_targets,
    replayed_views,
    unlabelled_inputs,
)

DIVERGED = "diverged"


@dataclass(frozen=True)
class StudentTask(TrainingTask):
    """One tuning trial of a student.

    Parameters
    ----------
    model : str
        What it is a trial of, for instance "student" or "student_hard_labels".
    spec : NetworkSpec
    recipe : Recipe
    temperature, alpha : float or None
        Of the soft targets; None without them.
    targets : Path, optional
        Folder of the teacher's log-probabilities, a row a training input; None: hard labels only.
    unlabelled : str, optional
        File of more inputs; their targets go on where those of the training inputs end.
    labelled_share : float
        Share of the training rows whose labels are known, in (0, 1].
    transfer : bool
        Whether the other rows are learned from as well, by their soft targets alone.
    alone : bool
        Whether nothing but the unlabelled inputs is learned from.
    leave_out : tuple of str
        Classes of which there are no rows; validation rows tell how frequent they are.
    online : {"ensemble", "generalist"}, optional
        Who is asked about every batch instead; ``targets`` are that model's predictions as well.
    store : {"dense", "top", "sampled"}
        What the targets hold of the predictions.
    terms : tuple of dict
        The objective, as ``student.terms`` has it; (): soft targets and labels.
    network : Path, optional
        Folder of the network whose layers terms look at.
    scheme : Scheme
        Who teaches.
    share : float
        Of the recipe's epochs, in (0, 1]: the whole of its schedule is passed through in this part
        of them.
    searched : mapping
        What it has of the keys that are searched; for tables.
    """

    model: str
    spec: NetworkSpec
    recipe: Recipe
    temperature: float | None = None
    alpha: float | None = None
    targets: Path | None = None
    unlabelled: str | None = None
    labelled_share: float = 1.0
    transfer: bool = False
    alone: bool = False
    leave_out: tuple[str, ...] = ()
    online: OnlineName | None = None
    store: StoreName = "dense"
    terms: Tables = ()
    network: Path | None = None
    scheme: Scheme = OFFLINE
    share: float = 1.0
    searched: Mapping[str, object] = field(default_factory=dict)

    def settings(self) -> dict[str, object]:
        """What tells trials apart."""
        settings = {
            "model": self.model,
            "temperature": self.temperature,
            "alpha": self.alpha,
            "learning_rate": self.recipe.learning_rate,
            "label_smoothing": self.recipe.label_smoothing,
        }
        if self.online is not None:
            settings["teacher"] = "online"
        if self.terms:
            settings |= {"temperature": None, "terms": list(self.terms)}
        settings |= self.scheme.to_dict()
        if self.labelled_share < 1:
            settings |= {"labelled_share": self.labelled_share, "transfer": self.transfer}
        if self.alone:
            settings["transfer_set"] = "unlabelled"
        if self.leave_out:
            settings["leave_out"] = list(self.leave_out)
        if self.share < 1:
            settings["share"] = self.share
        return settings

    def key(self, context: RunContext) -> dict[str, object]:
        inputs = context.fingerprints(*DATA)
        if self.targets is not None:
            inputs["targets"] = sha256(self.targets / "manifest.json")
        if self.network is not None:
            inputs["network"] = sha256(self.network / "weights.safetensors")
        if self.unlabelled is not None:
            inputs["unlabelled"] = sha256(self.unlabelled)
        config = {
            "spec": self.spec.to_dict(),
            "recipe": recipe_settings(self.recipe),
            "seed": context.config.seed,
            **self.settings(),
        }
        conditions = context.conditions | context.source("student")
        return {"config": config, "conditions": conditions, "inputs": inputs}

    def train(self, context: RunContext, folder: Path) -> None:
        try:
            self._train(context, folder)
        except DivergedError as error:  # other trials may do better
            _write_diverged(folder, error)

    def _train(self, context: RunContext, folder: Path) -> None:
        seed, dataset = context.seed("student"), context.dataset
        train, teacher = student_data(context, self)
        seed_everything(seed)
        n_epoch = min(len(train), len(dataset.train))  # more inputs, no more steps
        n_examples = (self.recipe.epochs or 1) * n_epoch
        if self.share < 1:
            n_examples = without_single(self.share * n_examples, len(train))
        augment = replayed_views(context) or context.augment
        how = seed, context.hardware, folder, augment, n_examples, folder.name
        data = SchemeData(train, dataset.validation, self.recipe, *how)
        student = self.scheme.train(
            lambda _: build_for(self.spec, train.inputs),
            teacher,
            data,
            terms=read_terms(self.terms),
            temperature=self.temperature or 1.0,
            alpha=self.alpha or 0.0,
            teacher_network=None if self.network is None else load_network(self.network)[0],
        )
        if self.leave_out:
            missing = [dataset.class_names.index(name) for name in self.leave_out]
            student = with_raised_classes(student, dataset.validation, missing)
        save_classifier(context, student, self.spec, folder)


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


def _write_diverged(folder: Path, error: DivergedError) -> None:
    """Write what stands for a result where a training went wrong."""
    cost = TrainingCost(error.examples, error.flops)
    write_json(folder / "result.json", {DIVERGED: str(error), **cost.to_dict()})
