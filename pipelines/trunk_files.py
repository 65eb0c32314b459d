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

from specialists.datasets.base import Inputs, rows_between
from specialists.distillation import teacher_blocks
from specialists.files import claim, write_array_blocks
from specialists.networks import load_network, outline, read_spec, split_frozen
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
    train = train if on_the_fly else read_rows(folder / "train.npy")
    return Trunk(lower, on_the_fly, train, read_rows(folder / "validation.npy"))


def generalist_targets(context: RunContext) -> Path:
    """The folder of the calibrated generalist's log-probabilities of the training inputs."""
    return context.path(*FOLDER, "log_probs")


def _frozen_part(context: RunContext, generalist: nn.Module | None = None) -> nn.Sequential | None:
    """The generalist's frozen lower part; where there is none, no weights are read."""
    spec = read_spec(context.path(GENERALIST))
    lower, _ = split_frozen(outline(spec), context.config.specialists.freeze or ())
    return None if lower is None else split_generalist(context, generalist)[0]


def split_generalist(
    context: RunContext, generalist: nn.Module | None = None
) -> tuple[nn.Sequential | None, nn.Module]:
    """The generalist's frozen lower part, or None, and the rest, in evaluation mode."""
    network = load_network(context.path(GENERALIST))[0] if generalist is None else generalist
    freeze = context.config.specialists.freeze or ()
    lower, upper = split_frozen(network.to(context.device), freeze)
    return lower, upper.eval()


def prepare_trunk(context: RunContext) -> None:
    """Write features and the generalist's log-probabilities, unless they stand already."""
    settings = context.config
    inputs = ("prepare-data/train.inputs.npy", "prepare-data/validation.inputs.npy")
    key = {
        "config": {"freeze": settings.specialists.freeze, "augment": settings.data.augment},
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


def _write_trunk(context: RunContext, key: dict[str, object], folder: Path) -> None:
    claim(folder / "validation.npy", folder / "train.npy")  # their absence means something
    dataset = context.dataset
    lower = _frozen_part(context)
    if lower is not None:
        _write_features(lower, dataset.validation.inputs, folder / "validation.npy")
        if context.augment is None:
            _write_features(lower, dataset.train.inputs, folder / "train.npy")
    generalist = Member(context, context.path(GENERALIST))
    inputs, description = context.asked("train"), "generalist on training data"
    blocks = teacher_blocks(generalist.predict, inputs, description)
    write_shards(folder / "log_probs", blocks, dataset.n_classes, key)
