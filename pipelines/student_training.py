"""The students of a run: each trial is trained once, calibrated and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from specialists.distillation import best_trial, distil
from specialists.ensemble import cost_sample
from specialists.networks import (
    build,
    inference_flops,
    load_network,
    n_parameters,
)
from specialists.predictions import ModelOutputs, predict
from specialists.runs import copy_file, read_json, write_json
from specialists.runtime import map_processes, seed_everything
from specialists.training import FitResult, TrainingCost

from .classifiers import save_classifier
from .context import RunContext
from .runs import Run, build_unit
from .soft_targets import student_data
from .student_tasks import STAGE, STUDENTS, StudentTask
from .terminal import log


def train_and_choose(
    workspace: RunContext, tasks: Sequence[StudentTask], jobs: int, stage: str = STAGE
) -> None:
    """Train all trials, keep the best of each kind by validation top-1; writes ``trials.json``."""
    results = train_students(tasks, jobs)
    trials = []
    for model in STUDENTS:
        among = [i for i, task in enumerate(tasks) if task.model == model]
        best = best_trial(results, among)
        _publish(tasks[best].folder, workspace.path(stage, model))
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
    write_json(workspace.path(stage, "trials.json"), trials)


def train_students(tasks: Sequence[StudentTask], jobs: int) -> list[FitResult]:
    """Train what does not yet stand, several at a time; what came of each trial."""
    map_processes(train_student, tasks, jobs, description="students")
    results = [read_json(task.folder / "result.json") for task in tasks]
    return [FitResult.from_dict(result) for result in results]


def train_student(task: StudentTask) -> None:
    """Train one trial, calibrate it and write it as a resumable result."""
    workspace = RunContext.open(task.run)
    build_unit(task.folder, task.key(workspace), lambda folder: _train(workspace, task, folder))


def student_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What both students predict for a split, by name."""
    workspace = RunContext.open(run.folder)
    trials = read_json(workspace.path(STAGE, "trials.json"))
    return {
        name: dataclasses.replace(
            model_outputs(workspace, name, workspace.path(STAGE, name), split),
            tuning_trials=sum(trial["model"] == name for trial in trials),
            trainings=tuple(t["training"] for t in trials if t["model"] == name and t["chosen"]),
        )
        for name in STUDENTS
    }


def model_outputs(workspace: RunContext, name: str, folder: Path, split: str) -> ModelOutputs:
    """What the model of one folder predicts for a split, calibrated."""
    inputs = workspace.split(split).inputs
    network, _, about = load_network(folder)
    network.to(workspace.device)
    return ModelOutputs(
        name,
        predict(network, inputs, about["temperature"]),
        n_parameters(network),
        inference_flops(network, cost_sample(inputs).to(workspace.device)),
        **TrainingCost.from_dict(read_json(folder / "result.json")).to_dict(),
    )


def _publish(trial: Path, folder: Path) -> None:
    """Copy the chosen trial's model to a folder that works alone."""
    for name in ("weights.safetensors", "model.json", "result.json", "metrics.jsonl"):
        copy_file(trial / name, folder / name)


def _train(workspace: RunContext, task: StudentTask, folder: Path) -> None:
    seed, dataset = workspace.seed("student"), workspace.dataset
    seed_everything(seed)
    network = build(task.spec)  # before a teacher is opened, which draws random numbers too
    train, teacher = student_data(workspace, task)
    n_epoch = min(len(train), len(dataset.train))  # more inputs, no more steps
    student = distil(
        network,
        teacher,
        train,
        dataset.validation,
        task.recipe,
        temperature=task.temperature or 1.0,
        alpha=task.alpha or 0.0,
        seed=seed,
        hardware=workspace.hardware,
        folder=folder,
        augment=workspace.augment,
        n_examples=(task.recipe.epochs or 1) * n_epoch,
        description=folder.name,
    )
    save_classifier(workspace, student, task.spec, folder)
