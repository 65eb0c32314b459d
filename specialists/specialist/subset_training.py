"""One small model per cluster of confusable classes, with a dustbin for all the others.

A specialist starts from a generalist, whose outputs of its subset it keeps and whose other classes
it merges into one dustbin, or afresh. Half of its examples come from its subset, half at random
from the rest (Hinton et al. 2015, section 5). It trains under a prior of its own, so the
generalist's soft targets are shifted to that prior, and its dustbin logit is corrected and
calibrated afterwards.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from specialists.calibration import Calibration, dustbin_correction, fit_calibration
from specialists.config import SpecialistsConfig
from specialists.datasets.base import Split
from specialists.errors import InputError
from specialists.losses import SpecialistLoss
from specialists.predictions import Predictions, as_predictions, predict_outputs
from specialists.runtime import Hardware
from specialists.specialist.model import TrainedSpecialist
from specialists.specialist.sampling import (
    CALIBRATING,
    natural_weights,
    subset_examples,
    subset_validation,
)
from specialists.training import Trainer
from specialists.training.examples import Augmentation
from specialists.trunk import Trunk


def train_specialist(
    network: nn.Module,
    subset: Tensor,
    train: Split,
    validation: Split,
    predictions: Predictions | Tensor,
    settings: SpecialistsConfig,
    *,
    seed: int,
    trunk: Trunk | None = None,
    hardware: Hardware | None = None,
    folder: Path | None = None,
    augment: Augmentation | None = None,
    description: str = "specialist",
) -> TrainedSpecialist:
    """Train a specialist of some classes and calibrate it to the natural prior.

    Parameters
    ----------
    network : nn.Module
        What it starts from, for instance what :func:`specialists.specialist.specialise` made of the
        generalist. Maps n inputs (features, above a trunk) to logits of shape (n, k + 1), the
        dustbin last. It is trained in place.
    subset : int64 Tensor of shape (k,)
        Its classes.
    train, validation : Split
        With labels of all C classes. Validation rows of the subset and, where there are many,
        a sample of the others choose the epoch and the calibration.
    predictions : Predictions, or Tensor of log-probabilities of shape (n_train, C)
        The calibrated generalist's, of the training rows.
    settings : SpecialistsConfig
        Its epochs, batch size and learning rate are set.
    seed : int
        Of the order of examples, augmentation and dropout, and of the validation rows.
    trunk : Trunk, optional
        Frozen part below ``network``, with what it gives for both splits. None: there is none.
    hardware : Hardware, optional
        None: a GPU if there is one, and bfloat16 where the machine is fast at it.
    folder : Path, optional
        Where checkpoints and ``metrics.jsonl`` are written; None: nowhere.
    augment : callable, optional
        Maps a batch of inputs and a generator to changed inputs.
    description : str
        Of the progress bar and of errors.

    Raises
    ------
    DataError
        If no training example is of the subset, or all are.
    InputError
        If rows, labels, subset, log-probabilities and outputs do not fit one another.
    TrainingError
        If the loss is no longer finite.
    """
    if trunk is None:
        trunk = Trunk(None, False, train.inputs, validation.inputs)
    predictions, share = as_predictions(predictions), settings.subset_share
    _check_fit(network, subset, train, predictions, trunk)
    examples, natural_share = subset_examples(
        trunk.train, train.labels, predictions, subset, settings, augment, train.weights
    )
    held_out = (trunk.validation, validation.labels, predictions.n_classes, subset, share, seed)
    counts = validation.weights
    judge = subset_validation(*held_out, counts=counts)
    smoothing = settings.label_smoothing or 0.0
    trainer = Trainer(
        trunk.stacked(network),
        examples,
        SpecialistLoss(settings.temperature, settings.soft_targets, smoothing),
        lambda stacked: judge(trunk.unstacked(stacked)),
        settings,
        seed=seed,
        hardware=hardware or Hardware(),
        folder=folder,
        description=description,
    )
    result = trainer.fit()
    calibration = Calibration(dustbin_correction(share, natural_share, settings.correction))
    if settings.calibrate:
        rows = subset_validation(*held_out, least=CALIBRATING, counts=counts)
        weights = natural_weights(rows, subset, len(validation.labels), counts)
        outputs = predict_outputs(network, rows.inputs)
        calibration = fit_calibration(outputs, rows.labels, calibration.correction, weights)
    return TrainedSpecialist(
        network, subset, calibration, result.cost, natural_share, share, result
    )


def _check_fit(
    network: nn.Module, subset: Tensor, train: Split, predictions: Predictions, trunk: Trunk
) -> None:
    """Raise :class:`InputError` unless there are k + 1 outputs, and a prediction a training row."""
    n_outputs = predict_outputs(network, trunk.validation[torch.arange(1)]).shape[-1]
    if n_outputs != len(subset) + 1:
        raise InputError(
            "a specialist has an output for each class of its subset, and one for its dustbin",
            got=f"{n_outputs} outputs for {len(subset)} classes",
            expected=len(subset) + 1,
            fix="specialise(generalist, n_classes, subset) makes such a network",
        )
    if len(predictions) != len(train.labels):
        raise InputError(
            "the generalist's predictions are not one for each training row",
            got=f"{len(predictions)} predictions, {len(train.labels)} rows",
        )
