"""``RUN/train-specialists/trunk``: the shared frozen part's features, the generalist's targets.

Features of the training inputs are cached where they never change. The generalist's
log-probabilities of the training inputs lie beside them, as half-precision shards.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from specialists.datasets.base import Inputs
from specialists.distillation import teacher_blocks
from specialists.networks import load_network, split_frozen
from specialists.predictions import predict_log_probs, read_rows, write_shards
from specialists.runs import claim, write_array
from specialists.trunk import Trunk

from .classifiers import GENERALIST
from .context import RunContext
from .runs import ensure_result

FOLDER = ("train-specialists", "trunk")


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


def generalist_targets(context: RunContext) -> Path:
    """The folder of the calibrated generalist's log-probabilities of the training inputs."""
    return context.path(*FOLDER, "log_probs")


def split_generalist(context: RunContext) -> tuple[nn.Sequential | None, nn.Module]:
    """The generalist's frozen lower part, or None, and the rest, in evaluation mode."""
    network, _, _ = load_network(context.path("train-generalist"))
    freeze = context.config.specialists.freeze or ()
    lower, upper = split_frozen(network.to(context.device), freeze)
    return lower, upper.eval()


def prepare_trunk(context: RunContext) -> None:
    """Write features and the generalist's log-probabilities, unless they stand already."""
    settings = context.config
    inputs = ("prepare-data/train.inputs.npy", "prepare-data/validation.inputs.npy")
    key = {
        "config": {"freeze": settings.specialists.freeze, "augment": settings.data.augment},
        "inputs": context.fingerprints(*inputs, *GENERALIST),
    }
    ensure_result(context.path(*FOLDER), key, partial(_write_trunk, context, key))


def _write_trunk(context: RunContext, key: dict[str, object], folder: Path) -> None:
    claim(folder / "validation.npy", folder / "train.npy")  # their absence means something
    dataset = context.dataset
    lower, _ = split_generalist(context)
    if lower is not None:
        inputs = (dataset.train.inputs, dataset.validation.inputs)
        trunk = Trunk.from_inputs(lower, *inputs, augmented=context.augment is not None)
        write_array(folder / "validation.npy", np.asarray(trunk.validation))
        if not trunk.on_the_fly:
            write_array(folder / "train.npy", np.asarray(trunk.train))
    network, _, about = load_network(context.path("train-generalist"))
    network.to(context.device)
    blocks = teacher_blocks(
        lambda inputs: predict_log_probs(network, inputs, about["temperature"]),
        dataset.train.inputs,
    )
    write_shards(folder / "log_probs", blocks, dataset.n_classes, key)
