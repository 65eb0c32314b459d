"""``RUN/train-specialists/trunk``: what the shared frozen parts give, and what the generalist says.

Features of the training inputs are cached where they never change. The generalist's
log-probabilities of the training inputs lie beside them, as half-precision shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from specialists.datasets.base import Inputs
from specialists.networks import load_network, split_frozen
from specialists.predictions import (
    Predictions,
    StoredPredictions,
    predict,
    read_rows,
    write_shards,
)
from specialists.runs import claim, write_array
from specialists.runtime import progress
from specialists.trunk import Trunk

from .context import RunContext
from .runs import build_unit

FOLDER = ("train-specialists", "trunk")
ROWS_AT_A_TIME = 8192


def load_trunk(context: RunContext) -> Trunk:
    """What :func:`prepare_trunk` wrote, memory-mapped."""
    lower, _ = split_generalist(context)
    folder = context.path(*FOLDER)
    train: Inputs = context.dataset.train.inputs
    validation: Inputs = context.dataset.validation.inputs
    cached = (folder / "train.npy").is_file()
    if lower is not None:
        validation = read_rows(folder / "validation.npy")
    if cached:
        train = read_rows(folder / "train.npy")
    return Trunk(lower, lower is not None and not cached, train, validation)


def load_predictions(context: RunContext) -> StoredPredictions:
    """What the calibrated generalist predicts for the training inputs, memory-mapped."""
    return StoredPredictions(context.path(*FOLDER, "log_probs"))


def split_generalist(context: RunContext) -> tuple[nn.Sequential | None, nn.Module]:
    """The generalist's frozen lower part, or None, and the rest, in evaluation mode."""
    network, _, _ = load_network(context.path("train-generalist"))
    freeze = context.config.specialists.freeze or ()
    lower, upper = split_frozen(network.to(context.device), freeze)
    return lower, upper.eval()


def prepare_trunk(context: RunContext) -> None:
    """Write features and the generalist's log-probabilities, unless they stand already."""
    settings, dataset = context.config, context.dataset
    key = {
        "config": {"freeze": settings.specialists.freeze, "augment": settings.data.augment},
        "inputs": context.fingerprints(
            "prepare-data/train.inputs.npy",
            "prepare-data/validation.inputs.npy",
            "train-generalist/weights.safetensors",
            "train-generalist/calibration.json",
        ),
    }

    def build(folder: Path) -> None:
        claim(folder / "validation.npy", folder / "train.npy")  # their absence means something
        lower, _ = split_generalist(context)
        if lower is not None:
            inputs = (dataset.train.inputs, dataset.validation.inputs)
            trunk = Trunk.from_inputs(lower, *inputs, augmented=context.augment is not None)
            features = {"validation": trunk.validation, "train": trunk.train}
            for name in ("validation",) if trunk.on_the_fly else features:
                write_array(folder / f"{name}.npy", np.asarray(features[name]))
        blocks = _generalist_blocks(context)
        write_shards(folder / "log_probs", blocks, dataset.n_classes, key)

    build_unit(context.path(*FOLDER), key, build)


def _generalist_blocks(context: RunContext) -> Iterator[Predictions]:
    network, _, about = load_network(context.path("train-generalist"))
    network.to(context.device)
    inputs = context.dataset.train.inputs
    with progress("generalist on training data", len(inputs)) as bar:
        for rows in torch.arange(len(inputs)).split(ROWS_AT_A_TIME):
            yield predict(network, inputs[rows], about["temperature"])
            bar.advance(len(rows))
