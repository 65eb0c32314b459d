"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone.

A student is tried at each temperature and weight of its soft targets; the same network with hard
labels has as many trials. Validation keeps the best of both kinds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from specialists.catalogue import HARD_LABELS, STUDENT
from specialists.config import Recipe
from specialists.config.fields import Tables
from specialists.datasets.tokens import check_tokenizer
from specialists.distillation import (
    HARD_TRIALS,
    OFFLINE,
    Scheme,
    SchemeData,
    best_trial,
    changed_recipe,
    needs_network,
    read_terms,
    soft_trials,
    student_spec,
    with_raised_classes,
)
from specialists.files import copy_file, read_json, sha256, write_json
from specialists.networks import NetworkSpec, build_for, load_network, read_spec
from specialists.predictions import ModelOutputs
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
    replayed_views,
    write_soft_targets,
)
from .student_rows import student_data
from .terminal import log

STUDENTS = (STUDENT, HARD_LABELS)


def execute(run: Run) -> None:
    """Store soft targets, train a student of each temperature and weight, keep the best."""
    context = RunContext.open(run.folder)
    expect_pieces(context, STAGE)
    if Scheme.from_config(context.config.student).has_teacher:
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
        seed, dataset = context.seed("student"), context.dataset
        train, teacher = student_data(context, self)
        seed_everything(seed)
        n_epoch = min(len(train), len(dataset.train))  # more inputs, no more steps
        n_examples = (self.recipe.epochs or 1) * n_epoch
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


def student_tasks(
    context: RunContext, spec: NetworkSpec, stage: str = STAGE, network: Path | None = None
) -> list[StudentTask]:
    """Every trial: T times alpha with soft targets, and as many without; terms see ``network``."""
    settings = context.config.student
    watched = network or context.path("train-generalist")
    watched = watched if needs_network(read_terms(settings.terms)) else None
    scheme, trials = Scheme.from_config(settings), context.path(stage, "trials")
    targets = context.path(stage, "targets") if scheme.has_teacher else None
    grid = soft_trials(settings)
    rows = {"labelled_share": settings.labelled_share, "leave_out": settings.leave_out or ()}
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
            terms=settings.terms,
            network=watched,
            transfer=scheme.has_teacher,
            alone=scheme.has_teacher and settings.transfer_set == "unlabelled",
            **rows,
            scheme=scheme,
        )
        for i, (temperature, alpha) in enumerate(grid)
    ]
    hard, passes = [], 1 / settings.labelled_share  # as many steps, of fewer rows
    for i, (rate, smoothing) in enumerate(itertools.islice(HARD_TRIALS, len(grid))):
        recipe = changed_recipe(settings, rate=rate, smoothing=smoothing, passes=passes)
        folder = trials / f"hard-{i}"
        hard.append(StudentTask(context.folder, folder, HARD_LABELS, spec, recipe, **rows))
    return [*soft, *hard]


def spec_of_size(
    context: RunContext, size: float | None = None, generalist: Path | None = None
) -> NetworkSpec:
    """The student's network beside a generalist, the run's if not another; see ``student_spec``."""
    beside = read_spec(generalist or context.path("train-generalist"))
    dataset, settings = context.dataset, context.config.student
    if settings.pretrained is not None:
        check_tokenizer(settings.pretrained, dataset.preprocessing)
    return student_spec(beside, settings, dataset.kind, size, dataset.class_names)


def train_and_choose(
    context: RunContext, tasks: Sequence[StudentTask], jobs: int, stage: str = STAGE
) -> None:
    """Train all trials, keep the best of each kind by validation top-1; writes ``trials.json``."""
    context.check_networks()
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
