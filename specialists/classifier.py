"""The one way in which any classifier over all classes is trained here.

The generalist, those beside it, its rivals and the student share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.calibration import fit_temperature
from specialists.config import Recipe
from specialists.networks import (
    NetworkSpec,
    build,
    inference_flops,
    load_network,
    n_parameters,
    save_network,
)
from specialists.predictions import predict_outputs
from specialists.runs import build_unit, write_json
from specialists.runtime import Hardware, map_processes, seed_everything, threads
from specialists.training import Loss, TensorExamples, Trainer, ValidationLoss, flops_per_example
from specialists.workspace import Workspace

COST_SAMPLE = 512
DATA = (
    "prepare-data/dataset.json",
    "prepare-data/train.labels.npy",
    "prepare-data/train.inputs.npy",
    "prepare-data/validation.labels.npy",
    "prepare-data/validation.inputs.npy",
)


@dataclass(frozen=True)
class ClassifierTask:
    """One classifier to be trained, as plain data that a worker process can take.

    Parameters
    ----------
    run, folder : Path
        Run folder, and where the result goes.
    spec : NetworkSpec
    recipe : Recipe
    seed : int
    start : Path, optional
        Folder of a network whose weights it starts from; its start may then stay the best.
    flops : float, optional
        Floating-point operations to train for, instead of the recipe's epochs.
    rows : tuple of int, optional
        (fold, number of folds): train on all rows but those of the fold, as they are dealt out.
    """

    run: Path
    folder: Path
    spec: NetworkSpec
    recipe: Recipe
    seed: int
    start: Path | None = None
    flops: float | None = None
    rows: tuple[int, int] | None = None

    def key(self, workspace: Workspace) -> dict[str, Any]:
        """What the result depends on."""
        task = {
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.model_dump(mode="json", include=set(Recipe.model_fields)),
            "seed": self.seed,
            "flops": self.flops,
            "rows": self.rows,
        }
        files = DATA if self.start is None else (*DATA, _below(self.run, self.start))
        inputs = workspace.fingerprints(*files)
        return {"config": task, "conditions": workspace.conditions, "inputs": inputs}


def train_classifiers(tasks: Sequence[ClassifierTask], jobs: int, description: str) -> None:
    """Train what does not yet stand, several at a time; a single one with all threads."""
    if len(tasks) == 1:
        threads(Workspace.open(tasks[0].run).config.threads)
        train_classifier(tasks[0])
    else:
        map_processes(train_classifier, tasks, jobs, description=description)


def train_classifier(task: ClassifierTask) -> None:
    """Train one classifier with hard labels, calibrate it, write it as a unit."""
    workspace = Workspace.open(task.run)

    def run_training(folder: Path) -> None:
        seed_everything(task.seed)
        network = build(task.spec)
        if task.start is not None:
            network.load_state_dict(load_network(task.start)[0].state_dict())
        fit_and_save(
            workspace,
            Trainer(
                network,
                _examples(workspace, task.rows),
                _loss(task.recipe),
                validation_of(workspace),
                task.recipe,
                seed=task.seed,
                folder=folder,
                hardware=hardware_of(workspace),
                flops=task.flops,
                keep_start=task.start is not None,
                description=folder.name,
            ),
            task.spec,
        )

    build_unit(task.folder, task.key(workspace), run_training)


def fit_and_save(workspace: Workspace, trainer: Trainer, spec: NetworkSpec) -> None:
    """Train, calibrate on validation data, and write network and ``result.json``."""
    result = trainer.fit()
    validation = workspace.dataset.validation
    outputs = predict_outputs(trainer.network, validation.inputs)
    temperature = fit_temperature(outputs, validation.labels)
    save_network(trainer.network, spec, trainer.folder, **describe(workspace, temperature))
    costs = {
        "parameters": n_parameters(trainer.network),
        "inference_flops": sample_flops(workspace, trainer.network),
    }
    result_values = {**result.to_dict(), "temperature": temperature, **costs}
    write_json(trainer.folder / "result.json", result_values)


def describe(workspace: Workspace, temperature: float) -> dict[str, Any]:
    """What a model's folder holds beside its network, so that it works alone."""
    dataset = workspace.dataset
    return {
        "dataset": dataset.name,
        "kind": dataset.kind,
        "class_names": list(dataset.class_names),
        "preprocessing": dict(dataset.preprocessing),
        "temperature": temperature,
    }


def sample_flops(workspace: Workspace, network: nn.Module) -> float:
    """Mean inference FLOPs over the first validation inputs."""
    inputs = workspace.dataset.validation.inputs
    index = torch.arange(min(COST_SAMPLE, len(inputs)))
    device = next(network.parameters()).device
    return inference_flops(network, inputs[index].to(device))


def validation_of(workspace: Workspace) -> ValidationLoss:
    """How a classifier over all classes is judged after each epoch."""
    validation = workspace.dataset.validation
    return ValidationLoss(validation.inputs, validation.labels)


def hardware_of(workspace: Workspace) -> Hardware:
    """Device and precision of the configuration."""
    return Hardware(workspace.config.device, workspace.config.precision)


def training_flops_per_example(workspace: Workspace, network: nn.Module) -> float:
    """Of the generalist's training: forward, backward and the optimisers' updates."""
    recipe, examples = workspace.config.generalist, _examples(workspace, None)
    rows = torch.arange(min(recipe.batch_size or 1, len(examples)))
    batch = examples.batch(rows, torch.Generator().manual_seed(workspace.config.seed))
    return flops_per_example(network, batch.to(next(network.parameters()).device), _loss(recipe))


def _examples(workspace: Workspace, rows: tuple[int, int] | None) -> TensorExamples:
    train = workspace.dataset.train
    inputs, labels = train.inputs, train.labels
    if rows is not None:
        fold, n_folds = rows
        index = torch.arange(len(train))
        index = index[index % n_folds != fold]
        inputs, labels = inputs[index], labels[index]
    return TensorExamples(inputs, (labels,), workspace.augment)


def _loss(recipe: Recipe) -> Loss:
    smoothing = recipe.label_smoothing or 0.0

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, label_smoothing=smoothing)

    return loss


def _below(run: Path, folder: Path) -> str:
    return (folder / "weights.safetensors").relative_to(run).as_posix()
