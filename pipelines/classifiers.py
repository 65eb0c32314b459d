"""Models of a run as resumable results, of which several are trained at a time.

A task is plain data that a worker process can take. Every model of a run is trained by one: here
the classifiers over all classes, in other modules the specialists and the students.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from specialists.classifier import TrainedClassifier, hard_label_loss, train_classifier
from specialists.config import Recipe
from specialists.cross_fitting import without_fold
from specialists.datasets.base import Inputs
from specialists.ensemble import cost_sample
from specialists.files import read_json, write_json
from specialists.networks import (
    NetworkSpec,
    blank,
    build_for,
    fill,
    inference_flops,
    load_network,
    n_parameters,
    outline,
    read_model,
    read_spec,
    save_network,
)
from specialists.predictions import (
    DensePredictions,
    ModelOutputs,
    Predictions,
    network_predictions,
    read_rows,
)
from specialists.runtime import map_processes, progress, seed_everything, threads
from specialists.training import FitResult, TensorExamples, TrainingCost, flops_per_example

from .context import RunContext
from .kept import kept, letting_go
from .runs import ensure_result

DATA = (
    "prepare-data/dataset.json",
    "prepare-data/train.labels.npy",
    "prepare-data/train.inputs.npy",
    "prepare-data/validation.labels.npy",
    "prepare-data/validation.inputs.npy",
    "prepare-data/train.weights.npy",
    "prepare-data/validation.weights.npy",
    "prepare-data/train.predictions.npy",
    "prepare-data/validation.predictions.npy",
)
WEIGHTS = "weights.safetensors"
MODEL = (WEIGHTS, "model.json")
GENERALIST_FILES = ("train-generalist/weights.safetensors", "train-generalist/calibration.json")


@dataclass(frozen=True)
class TrainingTask(ABC):
    """One model to be trained, as a resumable result.

    Parameters
    ----------
    run, folder : Path
        Run folder, and where the result goes.
    """

    run: Path
    folder: Path

    @abstractmethod
    def key(self, context: RunContext) -> dict[str, object]:
        """What the result depends on."""

    @abstractmethod
    def train(self, context: RunContext, folder: Path) -> None:
        """Train the model and write it; a checkpoint in the folder is gone on from."""


def train_task(task: TrainingTask) -> None:
    """Train one model, unless it stands."""
    sources = [task.run / "config.toml", task.run / "prepare-data"]
    context = kept("run", sources, partial(RunContext.open, task.run))
    ensure_result(task.folder, task.key(context), partial(task.train, context))


def train_tasks(tasks: Sequence[TrainingTask], jobs: int, description: str) -> None:
    """Train what does not yet stand, several at a time."""
    with letting_go():
        map_processes(train_task, tasks, jobs, description=description)


@dataclass(frozen=True)
class ClassifierTask(TrainingTask):
    """One classifier over all classes to be trained.

    Parameters
    ----------
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

    spec: NetworkSpec
    recipe: Recipe
    seed: int
    start: Path | None = None
    flops: float | None = None
    rows: tuple[int, int] | None = None

    def key(self, context: RunContext) -> dict[str, object]:
        task = {
            "spec": self.spec.to_dict(),
            "recipe": recipe_settings(self.recipe),
            "seed": self.seed,
            "flops": self.flops,
            "rows": self.rows,
        }
        start = [] if self.start is None else [context.below(self.start / WEIGHTS)]
        inputs = context.fingerprints(*DATA, *start)
        return {"config": task, "conditions": context.conditions, "inputs": inputs}

    def train(self, context: RunContext, folder: Path) -> None:
        rows = context.dataset.train
        train = rows if self.rows is None else without_fold(rows, *self.rows)
        seed_everything(self.seed)
        if self.start is None:
            network = build_for(self.spec, train.inputs)
            context.check_head(network, self.spec, train.inputs)
        else:
            network = outline(self.spec)
            fill(network, read_model(self.start)[2])
        classifier = train_classifier(
            network,
            train,
            context.dataset.validation,
            self.recipe,
            seed=self.seed,
            hardware=context.hardware,
            folder=folder,
            augment=context.augment,
            flops=self.flops,
            keep_start=self.start is not None,
            description=folder.name,
        )
        save_classifier(context, classifier, self.spec, folder)


def train_classifiers(tasks: Sequence[ClassifierTask], jobs: int, description: str) -> None:
    """Train what does not yet stand, several at a time; a single one with all threads."""
    if len(tasks) == 1:
        threads(RunContext.open(tasks[0].run).config.threads)
        with letting_go(), progress(description, 1, counted=True):
            train_task(tasks[0])
    else:
        train_tasks(tasks, jobs, description)


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


@dataclass(frozen=True)
class Member:
    """A trained classifier of a run, which is read once.

    Parameters
    ----------
    context : RunContext
    folder : Path
        Of its network, or of what :mod:`pipelines.rivals` left of it.
    """

    context: RunContext
    folder: Path

    @cached_property
    def _read(self) -> tuple[nn.Module, float]:
        network, _, about = load_network(self.folder)
        return network.to(self.context.device), about["temperature"]

    @cached_property
    def _blank(self) -> nn.Module:
        return blank(read_spec(self.folder)).to(self.context.device)

    def network(self) -> nn.Module:
        """On the configured device; with zeros in place of weights that were not kept."""
        return self._read[0] if (self.folder / WEIGHTS).is_file() else self._blank

    def predict(self, inputs: Inputs) -> Predictions:
        """Calibrated predictions; a DamagedError without weights."""
        network, temperature = self._read
        return network_predictions(network, inputs, temperature)

    def predictions(self, split: str) -> Predictions:
        """The same of a split, where these are stored as they are stored."""
        stored = predictions_file(self.folder, split)
        if stored.is_file():
            return DensePredictions(read_rows(stored))
        return self.predict(self._inputs(split))

    def sample(self, split: str) -> Inputs:
        """Inputs of a split to count operations on."""
        return cost_sample(self._inputs(split)).to(self.context.device)

    def _inputs(self, split: str) -> Inputs:
        is_asked = self.folder == self.context.path("train-generalist")
        return self.context.asked(split) if is_asked else self.context.split(split).inputs

    @property
    def cost(self) -> TrainingCost:
        """Of its training."""
        return TrainingCost.from_dict(read_json(self.folder / "result.json"))

    def outputs(self, name: str, split: str) -> ModelOutputs:
        """What it predicts for a split, and what it costs."""
        return ModelOutputs(
            name,
            self.predictions(split),
            n_parameters(self.network()),
            inference_flops(self.network(), self.sample(split)),
            self.cost.examples,
            self.cost.flops,
        )


def predictions_file(folder: Path, split: str) -> Path:
    """Where a trained classifier's calibrated log-probabilities of a split lie, if kept."""
    return folder / f"{split}.calibrated.npy"


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


def recipe_settings(recipe: Recipe) -> dict[str, object]:
    """A recipe without what else its section of the configuration says, JSON-able."""
    return recipe.model_dump(mode="json", include=set(Recipe.model_fields))
