"""The frozen lower parts that all specialists share, with their outputs computed once.

Without augmentation a frozen part's outputs never change: they are computed for all examples and
cached on disk. With augmentation they are computed batch by batch, without gradients. Where
nothing is frozen, the inputs themselves are the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.networks import load_network, split_frozen
from specialists.predictions import (
    ShardedRows,
    predict_log_probs,
    predict_outputs,
    read_rows,
    write_shards,
)
from specialists.runs import build_unit, claim, write_array
from specialists.runtime import progress
from specialists.workspace import Workspace

FOLDER = ("train-specialists", "trunk")
ROWS_AT_A_TIME = 8192


class Stacked(nn.Module):
    """A frozen lower part below a trained upper one."""

    def __init__(self, lower: nn.Module, upper: nn.Module) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper

    def forward(self, inputs: Inputs) -> Tensor:
        with torch.no_grad():
            features = self.lower(inputs)
        return self.upper(features)

    def train(self, mode: bool = True) -> Stacked:
        super().train(mode)
        self.lower.eval()
        return self


@dataclass(frozen=True)
class Trunk:
    """What specialists learn from.

    Parameters
    ----------
    lower : nn.Module or None
        The shared frozen part; None where nothing is frozen.
    on_the_fly : bool
        Whether ``train`` holds raw inputs that ``lower`` has yet to see.
    train, validation : Tensor or Ragged
        Features of the training and validation inputs.
    log_probs : ShardedRows
        The calibrated generalist's log-probabilities of the training inputs.
    """

    lower: nn.Module | None
    on_the_fly: bool
    train: Inputs
    validation: Inputs
    log_probs: ShardedRows

    def fits(self, lower: nn.Module) -> bool:
        """Whether another lower part computes the same."""
        if self.lower is None:
            return False
        ours, theirs = self.lower.state_dict(), lower.state_dict()
        return ours.keys() == theirs.keys() and all(
            ours[k].shape == theirs[k].shape and torch.equal(ours[k].cpu(), theirs[k].cpu())
            for k in ours
        )

    def stacked(self, upper: nn.Module) -> nn.Module:
        """What is trained: ``upper``, on top of ``lower`` where that runs on the fly."""
        if self.lower is None or not self.on_the_fly:
            return upper
        return Stacked(self.lower, upper)

    def unstacked(self, network: nn.Module) -> nn.Module:
        """The upper part again."""
        return network.upper if isinstance(network, Stacked) else network


def load_trunk(workspace: Workspace) -> Trunk:
    """What :func:`prepare_trunk` wrote, memory-mapped."""
    lower, _ = split_generalist(workspace)
    folder = workspace.path(*FOLDER)
    train: Inputs = workspace.dataset.train.inputs
    validation: Inputs = workspace.dataset.validation.inputs
    cached = (folder / "train.npy").is_file()
    if lower is not None:
        validation = read_rows(folder / "validation.npy")
    if cached:
        train = read_rows(folder / "train.npy")
    on_the_fly = lower is not None and not cached
    return Trunk(lower, on_the_fly, train, validation, ShardedRows(folder / "log_probs"))


def split_generalist(workspace: Workspace) -> tuple[nn.Sequential | None, nn.Module]:
    """The generalist's frozen lower part, or None, and the rest, in evaluation mode."""
    network, _, _ = load_network(workspace.path("train-generalist"))
    freeze = workspace.config.specialists.freeze or ()
    lower, upper = split_frozen(network.to(workspace.device), freeze)
    return lower, upper.eval()


def features_of(lower: nn.Module | None, inputs: Inputs, description: str | None = None) -> Inputs:
    """What specialists see of ``inputs``."""
    return inputs if lower is None else predict_outputs(lower, inputs, description=description)


def prepare_trunk(workspace: Workspace) -> None:
    """Write features and the generalist's log-probabilities, unless they stand already."""
    settings = workspace.config
    key: dict[str, Any] = {
        "config": {"freeze": settings.specialists.freeze, "augment": settings.data.augment},
        "inputs": workspace.fingerprints(
            "prepare-data/train.inputs.npy",
            "prepare-data/validation.inputs.npy",
            "train-generalist/weights.safetensors",
            "train-generalist/calibration.json",
        ),
    }

    def build(folder: Path) -> None:
        claim(folder / "validation.npy", folder / "train.npy")  # their absence means something
        lower, _ = split_generalist(workspace)
        dataset = workspace.dataset
        if lower is not None:
            features = predict_outputs(lower, dataset.validation.inputs)
            write_array(folder / "validation.npy", features.numpy())
        if lower is not None and workspace.augment is None:
            features = predict_outputs(lower, dataset.train.inputs, description="features")
            write_array(folder / "train.npy", features.numpy())
        blocks = _generalist_blocks(workspace)
        write_shards(folder / "log_probs", blocks, dataset.n_classes, key)

    build_unit(workspace.path(*FOLDER), key, build)


def _generalist_blocks(workspace: Workspace) -> Iterator[Tensor]:
    network, _, about = load_network(workspace.path("train-generalist"))
    network.to(workspace.device)
    inputs = workspace.dataset.train.inputs
    with progress("generalist on training data", len(inputs)) as bar:
        for rows in torch.arange(len(inputs)).split(ROWS_AT_A_TIME):
            yield predict_log_probs(network, inputs[rows], about["temperature"])
            bar.advance(len(rows))
