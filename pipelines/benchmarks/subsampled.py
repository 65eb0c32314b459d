"""What is left of a data set with fewer classes, or with fewer training examples of each?

A data source for ``data.factory``: the data set of another configuration, loaded as it always is,
of which some classes and a share of each class's training rows are drawn. Validation and test keep
all rows of the classes that are kept. With the same seed a smaller draw is part of a larger one.
What the loader learned from all training rows (the mean and the spread of features) stays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.config import DataConfig
from specialists.datasets import load_dataset
from specialists.datasets.assembly import draw_share, take
from specialists.datasets.base import Dataset, Ragged, Split
from specialists.errors import DataError
from specialists.runtime import derive_seed

FACTORY = "pipelines.benchmarks.subsampled:subsampled"


def subsampled(
    source: Mapping[str, object], seed: int, share: float = 1.0, n_classes: int | None = None
) -> Dataset:
    """The data set of the ``[data]`` section ``source``, of which a part is drawn.

    ``seed`` is that of the splits and of the draws. ``share``, in (0, 1], is that of each class's
    training rows, rounded, at least one row. ``n_classes`` are kept; None: all.
    """
    dataset = load_dataset(DataConfig.model_validate(dict(source)), seed)
    if not 0 < share <= 1:
        raise DataError("this share of training rows cannot be drawn", got=share, expected="(0, 1]")
    if n_classes is not None:
        kept = draw_classes(dataset.n_classes, n_classes, derive_seed(seed, "classes"))
        dataset = with_classes(dataset, kept)
    generator = np.random.default_rng(derive_seed(seed, "rows"))
    rows = draw_share(dataset.train.labels.numpy(), share, generator)
    note = f"{len(rows):,} of {len(dataset.train):,} training rows drawn"
    train = take(dataset.train, rows)
    return dataclasses.replace(dataset, train=train, notes=(*dataset.notes, note))


def drawn_from(data: DataConfig, **options: float) -> DataConfig:
    """The ``[data]`` section with which a run takes a part of what ``data`` names.

    It keeps what is not for the source to read.
    """
    source = data.model_dump(exclude_none=True, mode="json")
    kept = {"admission_fraction": data.admission_fraction, "augment": data.augment}
    return DataConfig(factory=FACTORY, options={"source": source, **options}, **kept)


def draw_classes(n_classes: int, n_kept: int, seed: int) -> np.ndarray:
    """``n_kept`` class indices in increasing order."""
    if not 2 <= n_kept <= n_classes:
        raise DataError(
            "so many classes cannot be drawn", got=n_kept, expected=f"from 2 to {n_classes}"
        )
    return np.sort(np.random.default_rng(seed).permutation(n_classes)[:n_kept])


def with_classes(dataset: Dataset, classes: np.ndarray) -> Dataset:
    """The data set with these classes alone, in the given order; valid labels too."""
    number = torch.full((dataset.n_classes,), -1, dtype=torch.int64)
    number[torch.from_numpy(classes)] = torch.arange(len(classes))
    kept = {name: _kept(split, number) for name, split in dataset.splits.items()}
    names = tuple(dataset.class_names[i] for i in classes.tolist())
    note = f"{len(classes):,} of {dataset.n_classes:,} classes drawn"
    return dataclasses.replace(dataset, class_names=names, notes=(*dataset.notes, note), **kept)


def _kept(split: Split, number: Tensor) -> Split:
    """The rows of the classes that have a number, -1 being none, and what else is valid of them."""
    part = take(split, np.flatnonzero((number[split.labels] >= 0).numpy()))
    valid = part.valid
    if valid is not None:
        values = number[valid.values]
        n_before = F.pad((values >= 0).cumsum(0), (1, 0))
        valid = Ragged(values[values >= 0], n_before[valid.offsets])
    return dataclasses.replace(part, labels=number[part.labels], valid=valid)
