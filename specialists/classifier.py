"""The one way in which any classifier over all classes is trained here.

The generalist, those beside it, its baselines and the student share it. Any ``nn.Module`` will do
that maps a batch of inputs to logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from specialists.calibration import fit_temperature, tempered_loss
from specialists.config import Recipe
from specialists.datasets.base import Inputs, Split
from specialists.datasets.fetched_rows import block_rows
from specialists.errors import InputError
from specialists.losses import CrossEntropy, relative_weights
from specialists.networks import inference_flops, n_parameters
from specialists.predictions import Predictions, network_predictions, predict_outputs
from specialists.probability import check_labels, mean_over_rows
from specialists.runtime import Hardware
from specialists.training import (
    FitResult,
    Loss,
    TensorExamples,
    Trainer,
    TrainingCost,
    ValidationLoss,
)
from specialists.training.examples import Augmentation

COST_SAMPLE = 512


@dataclass(frozen=True, kw_only=True)
class TrainedClassifier(FitResult):
    """A network over all classes, its temperature, and how its training went.

    Parameters
    ----------
    network : nn.Module
        With the weights of the best epoch, in evaluation mode.
    temperature : float
        By which its logits are divided; fitted on validation data.
    inference_flops : float
        Mean floating-point operations of one prediction.
    """

    network: nn.Module
    temperature: float
    inference_flops: float

    def predictions(self, inputs: Inputs) -> Predictions:
        """Calibrated predictions."""
        return network_predictions(self.network, inputs, self.temperature)

    def to_dict(self) -> dict[str, float]:
        """For JSON: everything but the weights."""
        return {
            **super().to_dict(),
            "temperature": self.temperature,
            "parameters": n_parameters(self.network),
            "inference_flops": self.inference_flops,
        }


def train_classifier(
    network: nn.Module,
    train: Split,
    validation: Split,
    recipe: Recipe,
    *,
    seed: int,
    hardware: Hardware | None = None,
    folder: Path | None = None,
    augment: Augmentation | None = None,
    flops: float | None = None,
    keep_start: bool = False,
    description: str = "classifier",
) -> TrainedClassifier:
    """Train a network with hard labels, keep its best epoch, and calibrate it.

    Parameters
    ----------
    network : nn.Module
        Maps n inputs to logits of shape (n, C). It is trained in place.
    train, validation : Split
        Validation rows choose the epoch and the temperature.
    recipe : Recipe
        Its epochs, batch size and learning rate are set.
    seed : int
        Of the order of examples, augmentation and dropout.
    hardware : Hardware, optional
        None: a GPU if there is one, and bfloat16 where the machine is fast at it.
    folder : Path, optional
        Where checkpoints and ``metrics.jsonl`` are written; None: nowhere.
    augment : callable, optional
        Maps a batch of inputs and a generator to changed inputs.
    flops : float, optional
        Floating-point operations to train for, instead of the recipe's epochs.
    keep_start : bool
        Whether the state before training may be the best one.
    description : str
        Of the progress bar and of errors.

    Raises
    ------
    InputError
        If a split is empty, or its labels are none of the network's outputs.
    ConfigError
        If the recipe leaves epochs, batch size or learning rate open.
    TrainingError
        If the loss is no longer finite.
    """
    _check_splits(network, train, validation)
    trainer = Trainer(
        network,
        TensorExamples(train.inputs, (train.labels, *relative_weights(train.weights)), augment),
        hard_label_loss(recipe),
        ValidationLoss(validation.inputs, validation.labels, counts=validation.weights),
        recipe,
        seed=seed,
        hardware=hardware or Hardware(),
        folder=folder,
        flops=flops,
        keep_start=keep_start,
        description=description,
    )
    return calibrate_classifier(network, validation, trainer.fit())


def calibrate_classifier(
    network: nn.Module, validation: Split, result: FitResult | None = None
) -> TrainedClassifier:
    """A trained network with the temperature that validation rows prefer.

    Parameters
    ----------
    network : nn.Module
    validation : Split
    result : FitResult, optional
        Of its training. None: it was trained elsewhere, which costs nothing here.
    """
    outputs = predict_outputs(network, validation.inputs)
    counts = validation.weights
    temperature = fit_temperature(outputs, validation.labels, counts=counts)
    if result is None:
        right = (outputs.argmax(-1) == validation.labels).double()
        top1 = float(mean_over_rows(right, counts))
        loss = tempered_loss(outputs, validation.labels, temperature, counts)
        result = FitResult(0, loss, top1, TrainingCost())
    index = torch.arange(block_rows(validation.inputs, min(COST_SAMPLE, len(validation))))
    sample = validation.inputs[index].to(next(network.parameters()).device)
    return TrainedClassifier(
        **vars(result),
        network=network,
        temperature=temperature,
        inference_flops=inference_flops(network, sample),
    )


def hard_label_loss(recipe: Recipe) -> Loss:
    """The mean cross-entropy with a recipe's label smoothing, in nats."""
    return CrossEntropy(recipe.label_smoothing or 0.0)


def _check_splits(network: nn.Module, *splits: Split) -> None:
    """Raise :class:`InputError` unless splits have rows, with outputs of the network as labels."""
    for split in splits:
        n_rows = len(split.inputs)
        if n_rows == 0:
            raise InputError("a split has no rows", expected="rows to train and to validate on")
        n_outputs = predict_outputs(network, split.inputs[torch.arange(1)]).shape[-1]
        check_labels(split.labels, n_rows, n_outputs)
