"""A data set of twelve confusable classes and settings that run the whole pipeline in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from specialists.config import Config
from specialists.runs import Run, write_text

N_CLASSES = 12
NAMES = tuple(f"{family}{member}" for family in "abcd" for member in range(3))
DIM = 6
STAGES_BEFORE_EVALUATION = (
    "prepare-data",
    "train-generalist",
    "cluster-classes",
    "train-specialists",
    "combine-predictions",
    "distill-student",
)
SETTINGS: dict[str, Any] = {
    "seed": 5,
    "device": "cpu",
    "precision": "float32",
    "threads": 1,
    "jobs": 1,
    "generalist": {"width": 12, "depth": 1, "epochs": 3, "batch_size": 64},
    "clusters": {"n_clusters": 3},
    "specialists": {"epochs": 2, "batch_size": 64},
    "combination": {"n": [1, 2], "weights": [1.0]},
    "student": {"width": 4, "epochs": 2, "temperatures": [2.0], "alphas": [0.7]},
    "evaluation": {"n_bootstrap": 20},
}


def features(n_per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four families of three classes each, close to one another; rows in random order."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(4, 1, DIM)) * 3
    centres = (centres + np.random.default_rng(1).normal(size=(4, 3, DIM))).reshape(-1, DIM)
    labels = rng.permutation(np.repeat(np.arange(N_CLASSES), n_per_class))
    x = centres[labels] + rng.normal(size=(len(labels), DIM))
    return x.astype(np.float32), np.array(NAMES)[labels]


def write_arrays(folder: Path, shuffled_test_labels: bool = False) -> Path:
    """``data.npz`` with train, validation and test parts."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for seed, (part, n) in enumerate({"train": 40, "validation": 10, "test": 10}.items()):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = features(n, seed + 2)
    if shuffled_test_labels:
        arrays["y_test"] = np.random.default_rng(9).permutation(arrays["y_test"])
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def make_run(folder: Path, **changes: dict[str, Any]) -> Run:
    """A run folder with its settings and its data, and nothing made yet."""
    values = {**SETTINGS, "data": {"arrays": str(write_arrays(folder.parent / "data"))}}
    for section, change in changes.items():
        values[section] = {**values.get(section, {}), **change}
    write_text(folder / "config.toml", Config.from_dict(values).to_toml())
    return Run(folder)


class Branched(nn.Module):
    """A user's own network: no chain, with a buffer that is not saved and a layer frozen."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((DIM,), 0.5), persistent=False)
        self.stem = nn.Linear(DIM, width)
        self.norm = nn.BatchNorm1d(width)
        self.branch = nn.Linear(DIM, width)
        self.out = nn.Linear(width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * self.scale
        return self.out(torch.relu(self.norm(self.stem(x)) + self.branch(x)))


def branched(n_classes: int, width: int = 12) -> nn.Module:
    """For ``generalist.factory = "tiny:branched"``."""
    return Branched(n_classes, width)
