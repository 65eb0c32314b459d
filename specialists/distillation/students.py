"""Soft targets in, one compact student out.

Students learn from the ensemble's soft targets with the true labels, at each temperature T and
weight alpha of a small grid; validation picks one. `student_hard_labels` is the same network
trained as long, with as many tuning trials, without the ensemble.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from specialists.classifier import calibrate_classifier
from specialists.distillation.targets import student_examples, write_soft_targets
from specialists.distillation.tasks import STAGE, STUDENTS, StudentTask, student_tasks
from specialists.ensemble import cost_sample
from specialists.losses import DistillationLoss
from specialists.networks import build, inference_flops, load_network, n_parameters
from specialists.predictions import ModelOutputs, predict_log_probs
from specialists.runs import Run, build_unit, copy_file, read_json, write_json
from specialists.runtime import map_processes, seed_everything
from specialists.training import Trainer, TrainingCost, ValidationLoss
from specialists.workspace import Workspace

log = logging.getLogger(__name__)


def distill_student(run: Run) -> None:
    """Cache soft targets, train all trials, keep the best of each kind by validation top-1."""
    workspace = Workspace.open(run.folder)
    write_soft_targets(workspace)
    tasks = student_tasks(workspace)
    if workspace.config.student.teacher == "live" and workspace.augment is None:
        log.info(f"{STAGE}: a live teacher says what is stored, since data.augment is off")
    results = train_students(tasks, run.jobs)
    trials = []
    for model in STUDENTS:
        own = [i for i, task in enumerate(tasks) if task.model == model]
        best = best_trial(results, own)
        _publish(tasks[best].folder, workspace.path(STAGE, model))
        trials += [
            {
                **tasks[i].settings(),
                "validation_loss": results[i]["loss"],
                "validation_top1": results[i]["top1"],
                "chosen": i == best,
                "training": f"{STAGE}/trials/{tasks[i].folder.name}",
            }
            for i in own
        ]
        log.info(f"distill-student: {model}, validation top-1 {results[best]['top1']:.3f}")
    write_json(workspace.path(STAGE, "trials.json"), trials)


def train_students(tasks: Sequence[StudentTask], jobs: int) -> list[dict[str, Any]]:
    """Train what does not yet stand, several at a time; each trial's ``result.json``."""
    map_processes(train_student, tasks, jobs, description="students")
    return [read_json(task.folder / "result.json") for task in tasks]


def best_trial(results: Sequence[dict[str, Any]], among: Sequence[int]) -> int:
    """The index with the highest validation top-1; of several, the one with the least loss."""
    return max(among, key=lambda i: (results[i]["top1"], -results[i]["loss"]))


def train_student(task: StudentTask) -> None:
    """Train one trial, calibrate it and write it as a unit."""
    workspace = Workspace.open(task.run)
    build_unit(task.folder, task.key(workspace), lambda folder: _train(workspace, task, folder))


def student_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What both students say of a split, by name."""
    workspace = Workspace.open(run.folder)
    trials = read_json(workspace.path(STAGE, "trials.json"))
    return {
        name: dataclasses.replace(
            model_outputs(workspace, name, workspace.path(STAGE, name), split),
            tuning_trials=sum(trial["model"] == name for trial in trials),
            trainings=tuple(t["training"] for t in trials if t["model"] == name and t["chosen"]),
        )
        for name in STUDENTS
    }


def model_outputs(workspace: Workspace, name: str, folder: Path, split: str) -> ModelOutputs:
    """What the model of one folder says of a split, calibrated."""
    inputs = workspace.split(split).inputs
    network, _, about = load_network(folder)
    network.to(workspace.device)
    return ModelOutputs(
        name,
        predict_log_probs(network, inputs, about["temperature"]).numpy(),
        n_parameters(network),
        inference_flops(network, cost_sample(inputs).to(workspace.device)),
        **TrainingCost.from_dict(read_json(folder / "result.json")).to_dict(),
    )


def _train(workspace: Workspace, task: StudentTask, folder: Path) -> None:
    from specialists.pipelines.classifiers import save_classifier

    seed, validation = workspace.seed("student"), workspace.dataset.validation
    seed_everything(seed)
    network = build(task.spec)  # before a teacher is opened, which draws random numbers too
    examples = student_examples(workspace, task)
    n_epoch = min(len(examples), len(workspace.dataset.train))  # more inputs, no more steps
    trainer = Trainer(
        network,
        examples,
        _loss(task),
        ValidationLoss(validation.inputs, validation.labels),
        task.recipe,
        seed=seed,
        folder=folder,
        hardware=workspace.hardware,
        n_examples=(task.recipe.epochs or 1) * n_epoch,
        description=folder.name,
    )
    classifier = calibrate_classifier(network, validation, trainer.fit())
    save_classifier(workspace, classifier, task.spec, folder)


def _loss(task: StudentTask):
    smoothing = task.recipe.label_smoothing or 0.0
    if task.targets is not None:
        assert task.temperature is not None
        assert task.alpha is not None
        return DistillationLoss(task.temperature, task.alpha, smoothing)

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)

    return cross_entropy


def _publish(trial: Path, folder: Path) -> None:
    """Copy the chosen trial's model to a folder that works alone."""
    for name in ("weights.safetensors", "model.json", "result.json", "metrics.jsonl"):
        copy_file(trial / name, folder / name)
