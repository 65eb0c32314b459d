"""Classifiers over all classes as resumable results, of which a run trains several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from specialists.classifier import TrainedClassifier, hard_label_loss, train_classifier
from specialists.config import Recipe
from specialists.cross_fitting import without_fold
from specialists.files import read_json, write_json
from specialists.networks import NetworkSpec, build, load_network, save_network
from specialists.runtime import map_processes, seed_everything, threads
from specialists.training import FitResult, TensorExamples, flops_per_example

from .context import RunContext
from .runs import build_unit

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
        (fold, number of folds): train on all rows but those of the fold.
    """

    run: Path
    folder: Path
    spec: NetworkSpec
    recipe: Recipe
    seed: int
    start: Path | None = None
    flops: float | None = None
    rows: tuple[int, int] | None = None

    def key(self, context: RunContext) -> dict[str, object]:
        """What the result depends on."""
        task = {
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.model_dump(mode="json", include=set(Recipe.model_fields)),
            "seed": self.seed,
            "flops": self.flops,
            "rows": self.rows,
        }
        start = () if self.start is None else (weights_below(self.run, self.start),)
        inputs = context.fingerprints(*DATA, *start)
        return {"config": task, "conditions": context.conditions, "inputs": inputs}


def train_classifiers(tasks: Sequence[ClassifierTask], jobs: int, description: str) -> None:
    """Train what does not yet stand, several at a time; a single one with all threads."""
    if len(tasks) == 1:
        threads(RunContext.open(tasks[0].run).config.threads)
        train_task(tasks[0])
    else:
        map_processes(train_task, tasks, jobs, description=description)


def train_task(task: ClassifierTask) -> None:
    """Train one classifier and write it as a resumable result."""
    context = RunContext.open(task.run)

    def train(folder: Path) -> None:
        seed_everything(task.seed)
        network = build(task.spec)
        if task.start is not None:
            network.load_state_dict(load_network(task.start)[0].state_dict())
        rows = context.dataset.train
        classifier = train_classifier(
            network,
            rows if task.rows is None else without_fold(rows, *task.rows),
            context.dataset.validation,
            task.recipe,
            seed=task.seed,
            hardware=context.hardware,
            folder=folder,
            augment=context.augment,
            flops=task.flops,
            keep_start=task.start is not None,
            description=folder.name,
        )
        save_classifier(context, classifier, task.spec, folder)

    build_unit(task.folder, task.key(context), train)


def save_classifier(
    context: RunContext, classifier: TrainedClassifier, spec: NetworkSpec, folder: Path
) -> None:
    """Write a folder that works alone, and ``result.json``; :func:`load_classifier` reads both."""
    save_network(classifier.network, spec, folder, **describe(context, classifier.temperature))
    write_json(folder / "result.json", classifier.to_dict())


def load_classifier(folder: Path) -> TrainedClassifier:
    """A trained classifier of a run, on the CPU."""
    network, _, about = load_network(folder)
    result = read_json(folder / "result.json")
    return TrainedClassifier(
        **vars(FitResult.from_dict(result)),
        network=network,
        temperature=about["temperature"],
        inference_flops=result["inference_flops"],
    )


def describe(context: RunContext, temperature: float) -> dict[str, object]:
    """What a model's folder holds beside its network, so that it works alone."""
    dataset = context.dataset
    return {
        "dataset": dataset.name,
        "kind": dataset.kind,
        "class_names": list(dataset.class_names),
        "preprocessing": dict(dataset.preprocessing),
        "temperature": temperature,
    }


def training_flops_per_example(context: RunContext, network: nn.Module) -> float:
    """Of the generalist's training: forward, backward and the optimisers' updates."""
    recipe, train = context.config.generalist, context.dataset.train
    examples = TensorExamples(train.inputs, (train.labels,), context.augment)
    rows = torch.arange(min(recipe.batch_size or 1, len(examples)))
    batch = examples.batch(rows, torch.Generator().manual_seed(context.config.seed))
    device = next(network.parameters()).device
    return flops_per_example(network, batch.to(device), hard_label_loss(recipe))


def weights_below(run: Path, folder: Path) -> str:
    """The path of a model's weights, below its run's folder."""
    return (folder / "weights.safetensors").relative_to(run).as_posix()
