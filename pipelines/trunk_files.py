"""``RUN/train-specialists/trunk``: the shared frozen part's features, the generalist's targets.

Features of the training inputs are cached where they never change. The generalist's
log-probabilities of the training inputs lie beside them, as half-precision shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from specialists.config import SpecialistsConfig
from specialists.datasets.base import Inputs, Ragged, rows_between
from specialists.distillation import teacher_blocks
from specialists.files import claim, write_array, write_array_blocks
from specialists.networks import (
    Adapters,
    TransformerTrunk,
    cut_below,
    load_network,
    outline,
    read_spec,
    split_frozen,
)
from specialists.predictions import BATCH_SIZE, predict_outputs, read_rows, write_shards
from specialists.runtime import progress
from specialists.trunk import Trunk

from .classifiers import GENERALIST_FILES, Member
from .context import RunContext
from .runs import ensure_result

GENERALIST = "train-generalist"
FOLDER = ("train-specialists", "trunk")


def load_trunk(context: RunContext, generalist: nn.Module | None = None) -> Trunk:
    """What :func:`prepare_trunk` wrote, memory-mapped; ``generalist``, where it is read already."""
    lower = _frozen_part(context, generalist)
    folder = context.path(*FOLDER)
    train, validation = context.dataset.train.inputs, context.dataset.validation.inputs
    if lower is None:
        return Trunk(None, False, train, validation)
    on_the_fly = not (folder / "train.npy").is_file()
    train = train if on_the_fly else _read_features(folder / "train.npy", lower, train)
    held_out = _read_features(folder / "validation.npy", lower, validation)
    return Trunk(lower, on_the_fly, train, held_out)


def _read_features(file: Path, lower: nn.Module, inputs: Inputs) -> Inputs:
    """A row an input or, of a transformer's trunk, a vector for each of its tokens."""
    rows = read_rows(file)
    if isinstance(lower, TransformerTrunk) and isinstance(inputs, Ragged):
        return Ragged(rows, inputs.offsets)
    return rows


def _write_vectors(file: Path, features: Inputs) -> None:
    values = features.values if isinstance(features, Ragged) else features
    write_array(file, np.asarray(values))


def generalist_targets(context: RunContext) -> Path:
    """The folder of the calibrated generalist's log-probabilities of the training inputs."""
    return context.path(*FOLDER, "log_probs")


def _frozen_part(context: RunContext, generalist: nn.Module | None = None) -> nn.Module | None:
    """The generalist's frozen lower part; where there is none, no weights are read.

    Where a network can be cut below adapters, only its weights tell.
    """
    if context.config.specialists.adapter is not None:
        return split_generalist(context, generalist)[0]
    spec = read_spec(context.path(GENERALIST))
    lower, _ = split_frozen(outline(spec), context.config.specialists.freeze or ())
    return None if lower is None else split_generalist(context, generalist)[0]


def split_generalist(
    context: RunContext, generalist: nn.Module | None = None
) -> tuple[nn.Module | None, nn.Module]:
    """The generalist's frozen lower part, or None, and the rest, in evaluation mode."""
    network = load_network(context.path(GENERALIST))[0] if generalist is None else generalist
    freeze, n_classes = context.config.specialists.freeze or (), len(context.about["class_names"])
    adapters = Adapters.of(network, n_classes, context.config.specialists)
    if adapters is not None:
        return cut_below(network.to(context.device), adapters)
    lower, upper = split_frozen(network.to(context.device), freeze)
    return lower, upper.eval()


def prepare_trunk(context: RunContext) -> None:
    """Write features and the generalist's log-probabilities, unless they stand already."""
    settings = context.config
    inputs = ("prepare-data/train.inputs.npy", "prepare-data/validation.inputs.npy")
    key = {
        "config": {"augment": settings.data.augment, **_cut(settings.specialists)},
        "inputs": context.fingerprints(*inputs, *GENERALIST_FILES),
    }
    ensure_result(context.path(*FOLDER), key, partial(_write_trunk, context, key))


def _write_features(lower: nn.Module, inputs: Inputs, path: Path) -> None:
    """What the frozen part gives for every input, a batch at a time."""
    n = len(inputs)
    with progress("features", n) as bar:

        def batches() -> Iterator[np.ndarray]:
            for start in range(0, n, BATCH_SIZE):
                rows = rows_between(inputs, start, min(start + BATCH_SIZE, n))
                yield predict_outputs(lower, rows).numpy()
                bar.advance(len(rows))

        write_array_blocks(path, batches(), n)


def _cut(settings: SpecialistsConfig) -> dict[str, object]:
    """What says where the generalist is cut."""
    if settings.adapter is None:
        return {"freeze": settings.freeze}
    return settings.model_dump(include={"adapter_blocks", "adapter_targets"}, mode="json")


def _write_trunk(context: RunContext, key: dict[str, object], folder: Path) -> None:
    claim(folder / "validation.npy", folder / "train.npy")  # their absence means something
    dataset = context.dataset
    lower = _frozen_part(context)
    if lower is not None:
        train, validation = dataset.train.inputs, dataset.validation.inputs
        augmented = context.augment is not None
        if isinstance(lower, TransformerTrunk):
            trunk = Trunk.from_inputs(lower, train, validation, augmented)
            _write_vectors(folder / "validation.npy", trunk.validation)
            if not trunk.on_the_fly:
                _write_vectors(folder / "train.npy", trunk.train)
        else:
            _write_features(lower, validation, folder / "validation.npy")
            if not augmented:
                _write_features(lower, train, folder / "train.npy")
    generalist = Member(context, context.path(GENERALIST))
    inputs, description = context.asked("train"), "generalist on training data"
    blocks = teacher_blocks(generalist.predict, inputs, description)
    write_shards(folder / "log_probs", blocks, dataset.n_classes, key)
