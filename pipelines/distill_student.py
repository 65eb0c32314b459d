"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone.

A student is tried at each temperature and weight of its soft targets; the same network with hard
labels has as many trials. Validation keeps the best of both kinds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from specialists.catalogue import HARD_LABELS, STUDENT
from specialists.config import Recipe
from specialists.datasets.base import Inputs, Ragged, Split
from specialists.distillation import (
    HARD_TRIALS,
    SparseTargets,
    Teacher,
    best_trial,
    changed_recipe,
    distil,
    labelled_rows,
    student_spec,
)
from specialists.files import copy_file, read_json, sha256, write_json
from specialists.losses import UNLABELLED
from specialists.networks import NetworkSpec, build_for, read_spec
from specialists.predictions import ModelOutputs, SelectedPredictions
from specialists.runtime import seed_everything
from specialists.training import FitResult

from .classifiers import (
    DATA,
    MODEL,
    Member,
    TrainingTask,
    recipe_settings,
    save_classifier,
    train_tasks,
)
from .context import RunContext
from .pieces import expect_pieces
from .runs import Run
from .soft_targets import (
    STAGE,
    OnlineName,
    StoreName,
    online_teacher,
    read_soft_targets,
    unlabelled_inputs,
    write_soft_targets,
)
from .terminal import log

STUDENTS = (STUDENT, HARD_LABELS)


def execute(run: Run) -> None:
    """Store soft targets, train a student of each temperature and weight, keep the best."""
    context = RunContext.open(run.folder)
    expect_pieces(context, STAGE)
    write_soft_targets(context)
    if context.config.student.teacher == "online" and context.augment is None:
        log.info(f"{STAGE}: student.teacher = online changes nothing, since data.augment is off")
    train_and_choose(context, student_tasks(context, spec_of_size(context)), run.jobs)


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
    online : {"ensemble", "generalist"}, optional
        Who is asked about every batch instead; ``targets`` are that model's predictions as well.
    store : {"dense", "top", "sampled"}
        What the targets hold of the predictions.
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
    online: OnlineName | None = None
    store: StoreName = "dense"

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
        if self.labelled_share == 1:
            return settings
        return {**settings, "labelled_share": self.labelled_share, "transfer": self.transfer}

    def key(self, context: RunContext) -> dict[str, object]:
        inputs = context.fingerprints(*DATA)
        if self.targets is not None:
            inputs["targets"] = sha256(self.targets / "manifest.json")
        if self.unlabelled is not None:
            inputs["unlabelled"] = sha256(self.unlabelled)
        config = {
            "spec": self.spec.to_dict(),
            "recipe": recipe_settings(self.recipe),
            "seed": context.config.seed,
            **self.settings(),
        }
        return {"config": config, "conditions": context.conditions, "inputs": inputs}

    def train(self, context: RunContext, folder: Path) -> None:
        seed, dataset = context.seed("student"), context.dataset
        train, teacher = student_data(context, self)
        seed_everything(seed)
        network = build_for(self.spec, train.inputs)
        n_epoch = min(len(train), len(dataset.train))  # more inputs, no more steps
        student = distil(
            network,
            teacher,
            train,
            dataset.validation,
            self.recipe,
            temperature=self.temperature or 1.0,
            alpha=self.alpha or 0.0,
            seed=seed,
            hardware=context.hardware,
            folder=folder,
            augment=context.augment,
            n_examples=(self.recipe.epochs or 1) * n_epoch,
            description=folder.name,
        )
        save_classifier(context, student, self.spec, folder)


def student_data(
    context: RunContext, task: StudentTask
) -> tuple[Split, Teacher | SparseTargets | None]:
    """The training rows of a student, and its teacher's predictions for them or its teacher.

    Labels may be known for a share of the rows only. The others then serve without them
    (``transfer``), or not at all.
    """
    train = context.dataset.train
    inputs, labels, weights = train.inputs, train.labels, train.weights
    if task.unlabelled is not None:
        extra = unlabelled_inputs(context, task.unlabelled)
        inputs = _concatenated(inputs, extra)
        labels = torch.cat([labels, torch.full((len(extra),), UNLABELLED)])
        weights = None if weights is None else torch.cat([weights, torch.ones(len(extra))])
    index = torch.arange(len(labels))
    if task.labelled_share < 1:
        seed = context.seed("labelled rows", task.labelled_share)
        known = labelled_rows(train.labels, task.labelled_share, seed)
        if task.transfer:
            hidden = torch.full_like(labels, UNLABELLED)
            hidden[known] = labels[known]
            labels = hidden
        else:
            inputs, labels, index = inputs[known], labels[known], known
            weights = None if weights is None else weights[known]
    rows = Split(inputs, labels, weights=weights)
    if task.online is not None:
        return rows, online_teacher(context, task.online)
    if task.targets is None:
        return rows, None
    stored = read_soft_targets(task.targets, task.store, task.temperature or 1.0)
    if isinstance(stored, SparseTargets):
        return rows, stored.select(index)
    return rows, SelectedPredictions(stored, index)


def student_tasks(context: RunContext, spec: NetworkSpec, stage: str = STAGE) -> list[StudentTask]:
    """Every trial: T times alpha with soft targets, and as many without."""
    settings = context.config.student
    trials, targets = context.path(stage, "trials"), context.path(stage, "targets")
    grid = list(itertools.product(settings.temperatures, settings.alphas))
    soft = [
        StudentTask(
            context.folder,
            trials / f"soft-{i}",
            STUDENT,
            spec,
            settings,
            temperature,
            alpha,
            targets,
            settings.unlabelled,
            online="ensemble" if settings.teacher == "online" else None,
            store=settings.targets,
        )
        for i, (temperature, alpha) in enumerate(grid)
    ]
    hard = []
    for i, (rate, smoothing) in enumerate(itertools.islice(HARD_TRIALS, len(grid))):
        recipe = changed_recipe(settings, rate=rate, smoothing=smoothing)
        hard.append(StudentTask(context.folder, trials / f"hard-{i}", HARD_LABELS, spec, recipe))
    return [*soft, *hard]


def spec_of_size(context: RunContext, size: float | None = None) -> NetworkSpec:
    """The student's network beside the run's generalist; see ``student_spec``."""
    generalist = read_spec(context.path("train-generalist"))
    return student_spec(generalist, context.config.student, context.dataset.kind, size)


def train_and_choose(
    context: RunContext, tasks: Sequence[StudentTask], jobs: int, stage: str = STAGE
) -> None:
    """Train all trials, keep the best of each kind by validation top-1; writes ``trials.json``."""
    results = train_students(tasks, jobs)
    trials = []
    for model in STUDENTS:
        among = [i for i, task in enumerate(tasks) if task.model == model]
        best = best_trial(results, among)
        for name in (*MODEL, "result.json", "metrics.jsonl"):
            copy_file(tasks[best].folder / name, context.path(stage, model, name))
        trials += [
            {
                **tasks[i].settings(),
                "validation_loss": results[i].loss,
                "validation_top1": results[i].top1,
                "chosen": i == best,
                "training": f"{stage}/trials/{tasks[i].folder.name}",
            }
            for i in among
        ]
        log.info(f"{stage}: {model}, validation top-1 {results[best].top1:.3f}")
    write_json(context.path(stage, "trials.json"), trials)


def train_students(tasks: Sequence[StudentTask], jobs: int) -> list[FitResult]:
    """Train what does not yet stand, several at a time; what came of each trial."""
    train_tasks(tasks, jobs, "students")
    return [FitResult.from_dict(read_json(task.folder / "result.json")) for task in tasks]


def student_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What both students predict for a split, by name."""
    context = RunContext.open(run.folder)
    trials = read_json(context.path(STAGE, "trials.json"))
    return {
        name: replace(
            Member(context, context.path(STAGE, name)).outputs(name, split),
            tuning_trials=sum(trial["model"] == name for trial in trials),
            trainings=tuple(t["training"] for t in trials if t["model"] == name and t["chosen"]),
        )
        for name in STUDENTS
    }


def _concatenated(first: Inputs, second: Inputs) -> Inputs:
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        offsets = torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]])
        return Ragged(torch.cat([first.values, second.values]), offsets)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    return torch.cat([first, second])
