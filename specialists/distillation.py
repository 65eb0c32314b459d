"""Soft targets in, one compact student out.

The ensemble's log-probabilities of the training inputs (and of unlabelled ones, if there are any)
are computed once and cached. Students learn from them with the true labels, at each temperature T
and weight alpha of a small grid; validation picks one. `student_hard_labels` is the same network
trained as long, with as many tuning trials, without the ensemble.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.config import Recipe
from specialists.config.defaults import DEFAULTS
from specialists.datasets import read_unlabelled
from specialists.datasets.base import Inputs, Ragged
from specialists.ensemble import Ensemble, Rule, cost_sample
from specialists.generalist import DATA, fit_and_save, hardware_of, validation_of
from specialists.losses import UNLABELLED, DistillationLoss
from specialists.networks import (
    NetworkSpec,
    build,
    inference_flops,
    largest_width,
    load_network,
    n_parameters,
    outline,
)
from specialists.predictions import ModelOutputs, ShardedRows, predict_log_probs, write_shards
from specialists.runs import Run, build_unit, is_done, read_json, sha256, write_json, write_text
from specialists.runs.manifests import CODE_VERSION
from specialists.runtime import map_processes, progress, say, seed_everything
from specialists.training import TensorExamples, Trainer
from specialists.workspace import Workspace

STAGE = "distill-student"
STUDENTS = ("student", "student_hard_labels")
HARD_RATES = (1.0, 0.5, 2.0, 0.7, 1.4, 0.25, 4.0, 0.35, 2.8)
HARD_TRIALS = tuple(itertools.product(HARD_RATES, (0.0, 0.1, 0.2)))


@dataclass(frozen=True)
class StudentTask:
    """One tuning trial of a student, as plain data.

    Parameters
    ----------
    run : Path
    name : str
        Of its folder below ``trials``.
    model : {"student", "student_hard_labels"}
    spec : NetworkSpec
    recipe : Recipe
    temperature, alpha : float or None
        Of the soft targets; None without them.
    """

    run: Path
    name: str
    model: str
    spec: NetworkSpec
    recipe: Recipe
    temperature: float | None = None
    alpha: float | None = None

    @property
    def folder(self) -> Path:
        return self.run / STAGE / "trials" / self.name

    def settings(self) -> dict[str, Any]:
        """What tells trials apart."""
        return {
            "model": self.model,
            "temperature": self.temperature,
            "alpha": self.alpha,
            "learning_rate": self.recipe.learning_rate,
            "label_smoothing": self.recipe.label_smoothing,
        }


def distill_student(run: Run) -> None:
    """Cache soft targets, train all trials, keep the best of each kind by validation top-1."""
    workspace = Workspace.open(run.folder)
    write_soft_targets(workspace)
    tasks = student_tasks(workspace)
    map_processes(train_student, tasks, run.jobs, description="students")
    results = [read_json(task.folder / "result.json") for task in tasks]
    trials = []
    for model in STUDENTS:
        own = [i for i, task in enumerate(tasks) if task.model == model]
        best = max(own, key=lambda i: (results[i]["top1"], -results[i]["loss"]))
        _publish(tasks[best].folder, workspace.path(STAGE, model))
        trials += [
            {
                **tasks[i].settings(),
                "validation_loss": results[i]["loss"],
                "validation_top1": results[i]["top1"],
                "chosen": i == best,
            }
            for i in own
        ]
        say(f"distill-student: {model}, validation top-1 {results[best]['top1']:.3f}")
    write_json(workspace.path(STAGE, "trials.json"), trials)


def student_spec(workspace: Workspace) -> NetworkSpec:
    """The student's network: of ``student.width``, or ``student.size`` times the generalist's."""
    settings = workspace.config.student
    _, generalist, _ = load_network(workspace.path("train-generalist"))
    spec = dataclasses.replace(
        generalist,
        model=DEFAULTS[workspace.dataset.kind]["generalist"]["model"],
        embedding_dim=settings.embedding_dim or generalist.embedding_dim,
        n_buckets=settings.n_buckets or generalist.n_buckets,
        dropout=settings.dropout or 0.0,
        options={},
    )
    if settings.width is not None:
        return dataclasses.replace(spec, width=settings.width)
    limit = settings.size * _trained_parameters(generalist)
    width = largest_width(spec, lambda candidate: _trained_parameters(candidate) <= limit)
    return dataclasses.replace(spec, width=width)


def student_tasks(workspace: Workspace) -> list[StudentTask]:
    """Every trial: T times alpha with soft targets, and as many without."""
    settings, spec = workspace.config.student, student_spec(workspace)
    grid = list(itertools.product(settings.temperatures, settings.alphas))
    soft = [
        StudentTask(workspace.folder, f"soft-{i}", "student", spec, settings, temperature, alpha)
        for i, (temperature, alpha) in enumerate(grid)
    ]
    hard = []
    for i, (factor, smoothing) in enumerate(itertools.islice(HARD_TRIALS, len(grid))):
        rates = {
            name: factor * rate
            for name in ("learning_rate", "embedding_learning_rate")
            if (rate := getattr(settings, name)) is not None
        }
        recipe = settings.model_copy(update={**rates, "label_smoothing": smoothing})
        hard.append(StudentTask(workspace.folder, f"hard-{i}", STUDENTS[1], spec, recipe))
    return [*soft, *hard]


def train_student(task: StudentTask) -> None:
    """Train one trial, calibrate it and write it as a unit."""
    workspace = Workspace.open(task.run)
    soft = task.temperature is not None and task.alpha is not None
    recipe = task.recipe.model_dump(mode="json", include=set(Recipe.model_fields))
    inputs = workspace.fingerprints(*DATA)
    if soft:
        inputs["targets"] = sha256(workspace.path(STAGE, "targets", "manifest.json"))
    key = {
        "config": {
            "spec": task.spec.to_dict(),
            "recipe": recipe,
            "seed": workspace.config.seed,
            **task.settings(),
        },
        "conditions": workspace.conditions,
        "inputs": inputs,
    }

    def run_training(folder: Path) -> None:
        seed = workspace.seed("student")
        seed_everything(seed)
        network = build(task.spec)
        examples = _soft_examples(workspace) if soft else _hard_examples(workspace)
        smoothing = recipe["label_smoothing"]
        loss = DistillationLoss(task.temperature or 1.0, task.alpha or 0.0, smoothing)
        trainer = Trainer(
            network,
            examples,
            loss if soft else _cross_entropy(smoothing),
            validation_of(workspace),
            task.recipe,
            seed=seed,
            folder=folder,
            hardware=hardware_of(workspace),
            n_examples=(task.recipe.epochs or 1) * len(workspace.dataset.train),
            description=task.name,
        )
        fit_and_save(workspace, trainer, task.spec)

    build_unit(task.folder, key, run_training)


def write_soft_targets(workspace: Workspace) -> None:
    """Write the ensemble's log-probabilities of every transfer input as half-precision shards."""
    folder = workspace.path(STAGE, "targets")
    files = ["combine-predictions/choice.json", "prepare-data/train.inputs.npy"]
    files += ["train-generalist/weights.safetensors", "train-generalist/calibration.json"]
    members = sorted(workspace.path("train-specialists").glob("specialist-*/manifest.json"))
    files += [member.relative_to(workspace.folder).as_posix() for member in members]
    inputs = workspace.fingerprints(*files)
    extra = workspace.config.student.unlabelled
    if extra:
        inputs[extra] = sha256(extra)
    key: dict[str, Any] = {"inputs": inputs, "config": {}, "code": CODE_VERSION}
    if is_done(folder, key) is None:
        return
    shutil.rmtree(folder, ignore_errors=True)
    choice = read_json(workspace.path("combine-predictions", "choice.json"))
    rule = Rule.from_dict(choice["chosen"])
    blocks = _target_blocks(workspace, rule)
    write_shards(folder, blocks, workspace.dataset.n_classes, key)


def student_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What both students say of a split, by name."""
    workspace = Workspace.open(run.folder)
    inputs = workspace.split(split).inputs
    outputs = {}
    for name in STUDENTS:
        folder = workspace.path(STAGE, name)
        network, _, about = load_network(folder)
        network.to(workspace.device)
        log_probs = predict_log_probs(network, inputs, about["temperature"])
        outputs[name] = ModelOutputs(
            name,
            log_probs.numpy(),
            n_parameters(network),
            inference_flops(network, cost_sample(inputs).to(workspace.device)),
            read_json(folder / "result.json")["n_examples"],
        )
    return outputs


def _trained_parameters(spec: NetworkSpec) -> int:
    return n_parameters(outline(dataclasses.replace(spec, n_buckets=1)), tables=False)


def _cross_entropy(smoothing: float):
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)

    return loss


def _hard_examples(workspace: Workspace) -> TensorExamples:
    train = workspace.dataset.train
    return TensorExamples(train.inputs, (train.labels,), workspace.augment)


def _soft_examples(workspace: Workspace) -> TensorExamples:
    train = workspace.dataset.train
    inputs, labels = train.inputs, train.labels
    extra = _unlabelled(workspace)
    if extra is not None:
        inputs = _concatenated(inputs, extra)
        labels = torch.cat([labels, torch.full((len(extra),), UNLABELLED)])
    rows = ShardedRows(workspace.path(STAGE, "targets"))
    return TensorExamples(inputs, (rows, labels), workspace.augment)


def _unlabelled(workspace: Workspace) -> Inputs | None:
    file = workspace.config.student.unlabelled
    if file is None:
        return None
    return read_unlabelled(file, workspace.dataset.preprocessing)[0]


def _concatenated(first: Inputs, second: Inputs) -> Inputs:
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        offsets = torch.cat([first.offsets, second.offsets[1:] + first.offsets[-1]])
        return Ragged(torch.cat([first.values, second.values]), offsets)
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    return torch.cat([first, second])


def _target_blocks(workspace: Workspace, rule: Rule, rows: int = 8192) -> Iterator[Tensor]:
    ensemble = Ensemble.open(workspace)
    extra = _unlabelled(workspace)
    sources = [workspace.dataset.train.inputs, *([] if extra is None else [extra])]
    with progress("soft targets", sum(map(len, sources))) as bar:
        for source in sources:
            for index in torch.arange(len(source)).split(rows):
                yield ensemble.log_probs(source[index], rule)
                bar.advance(len(index))


def _publish(trial: Path, folder: Path) -> None:
    """Copy the chosen trial's model to a folder that works alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("weights.safetensors", "model.json", "result.json"):
        shutil.copyfile(trial / name, folder / name)
    metrics = (trial / "metrics.jsonl").read_text(encoding="utf-8")
    write_text(folder / "metrics.jsonl", metrics)
