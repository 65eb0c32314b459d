"""What every stage needs of a run: its settings, resolved for its kind of input, and its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from specialists.config import Config, GeneralistConfig
from specialists.datasets.augmentation import drop_features, drop_ngrams, random_affine
from specialists.datasets.base import Dataset, Inputs, Ragged, Split
from specialists.datasets.factory import source_file
from specialists.datasets.storage import load_dataset_folder
from specialists.networks.build import NetworkSpec
from specialists.runs import Run, check_trusted, sha256
from specialists.runtime import derive_seed, pick_device, resolve_precision

NGRAM_DROPOUT = 0.1
FEATURE_DROPOUT = 0.2


@dataclass(frozen=True)
class Workspace:
    """A run folder with its resolved configuration and its data set.

    Unless ``test_labels`` was asked for, the test split's labels are not read.
    """

    folder: Path
    config: Config
    dataset: Dataset

    @classmethod
    def open(cls, folder: str | Path, test_labels: bool = False) -> Workspace:
        run = Run(folder)
        dataset = load_dataset_folder(run.path("prepare-data"), test_labels)
        return cls(run.folder, run.config.resolve(dataset.kind), dataset)

    def path(self, stage: str, *parts: str) -> Path:
        return self.folder.joinpath(stage, *parts)

    def seed(self, *names: object) -> int:
        """A seed of its own for everything that has a name."""
        return derive_seed(self.config.seed, *names)

    @property
    def device(self) -> torch.device:
        return pick_device(self.config.device)

    @property
    def augment(self) -> Callable[[Inputs, Generator], Inputs] | None:
        """The random change of training batches that the configuration asks for."""
        if not self.config.data.augment:
            return None
        return {
            "text": partial(drop_ngrams, rate=NGRAM_DROPOUT),
            "images": random_affine,
            "features": partial(drop_features, rate=FEATURE_DROPOUT),
        }[self.dataset.kind]

    @property
    def conditions(self) -> dict[str, Any]:
        """What every training depends on beside its own recipe, network and files."""
        settings = self.config
        conditions = {
            "augment": settings.data.augment,
            "device": settings.device,
            "precision": resolve_precision(self.device, settings.precision),
        }
        factory = settings.generalist.factory
        source = source_file(factory) if factory else None
        return conditions if source is None else {**conditions, "factory": sha256(source)}

    def split(self, name: str) -> Split:
        """The split of this name: train, validation, test, and gate if there is one."""
        return self.dataset.splits[name]

    def network_spec(self, **changes: Any) -> NetworkSpec:
        """The generalist's description; ``changes`` replace parts of it."""
        settings = self.config.generalist
        if settings.factory:
            check_trusted(settings.factory, settings.options, self.folder / "config.toml")
        inputs = self.dataset.train.inputs
        shape = () if isinstance(inputs, Ragged) else tuple(inputs.shape[1:])
        spec = generalist_spec(self.config.generalist, self.dataset.n_classes, shape)
        return dataclasses.replace(spec, **changes)

    def fingerprints(self, *files: str) -> dict[str, str]:
        """sha256 of files below the run folder, by path."""
        return {file: sha256(self.folder / file) for file in files}


def generalist_spec(
    settings: GeneralistConfig, n_classes: int, input_shape: tuple[int, ...]
) -> NetworkSpec:
    """The generalist of resolved settings at the first of its widths."""
    return NetworkSpec(
        model=settings.factory or settings.model or "",
        n_classes=n_classes,
        input_shape=input_shape,
        width=settings.widths[0] if settings.widths else 1,
        depth=settings.depth or 1,
        embedding_dim=settings.embedding_dim or 1,
        n_buckets=settings.n_buckets or 1,
        dropout=settings.dropout or 0.0,
        options=settings.options,
        head_rank=settings.head_rank,
    )
