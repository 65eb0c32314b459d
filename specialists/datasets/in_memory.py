"""How do rows that a program holds in memory become a data set?

No test is cut: the program keeps its own. Validation rows are cut or given, and of these the rows
of the admission test. No class is left out, however few rows it has. What later reads a test split,
the report, reads the admission rows, or the validation rows where there are none; a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.config import DataConfig
from specialists.datasets.admission_rows import hold_out_admission_rows
from specialists.datasets.assembly import LabelledRows, assemble, limit
from specialists.datasets.base import Dataset, NamedTensors, Preprocessing
from specialists.datasets.encoding import described_tensors
from specialists.datasets.labelled_tables import text_preprocessing
from specialists.datasets.object_rows import DatasetRows
from specialists.datasets.pictures import with_channels
from specialists.datasets.raw_rows import MappedArrays, RawRows, digests_of
from specialists.datasets.splits import TRAIN, VALIDATION
from specialists.errors import DataError

MEMORY = "memory"  # as data.name
OF_PARTS = ("X", "X of validation_data")  # as messages name them


@dataclass(frozen=True)
class HeldRows:
    """n labelled rows.

    Parameters
    ----------
    raw : list of str, float32 array (n, d), uint8 array of images, NamedTensors, or RawRows
    labels : int array of shape (n,)
        Numbers of the classes.
    weights : float array of shape (n,), optional
        How many rows each one counts as; not negative. None: one.
    predictions : Tensor of shape (n, n_classes), optional
        Log-probabilities of a generalist that the user brings.
    """

    raw: Any
    labels: np.ndarray
    weights: np.ndarray | None = None
    predictions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def with_labels(self, labels: np.ndarray) -> HeldRows:
        """The same inputs and weights."""
        return replace(self, labels=labels)

    def counted(self) -> HeldRows:
        """Without the rows of weight 0, which count as none; weights of 1 are no weights."""
        if self.weights is None:
            return self
        rows = np.flatnonzero(self.weights)
        weights = None if (self.weights[rows] == 1).all() else self.weights[rows]
        if len(rows) == len(self):
            return replace(self, weights=weights)
        if isinstance(self.raw, RawRows):
            what, n = "rows of weight 0 among rows that are read in place", len(self) - len(rows)
            raise DataError(what, got=f"{n} of them", fix="leave these rows out")
        raw = [self.raw[i] for i in rows.tolist()] if isinstance(self.raw, list) else self.raw[rows]
        return HeldRows(raw, self.labels[rows], weights)


def held_dataset(
    train: HeldRows,
    names: Sequence[str],
    config: DataConfig,
    seed: int,
    *,
    validation: HeldRows | None = None,
    features: Sequence[str] | None = None,
    common_scale: bool = False,
) -> Dataset:
    """Cut and encode the rows.

    Parameters
    ----------
    train : HeldRows
        Of two classes at least.
    names : sequence of str
        Of the classes, in the order of their numbers; none stands twice.
    config : DataConfig
        Its fractions of validation and admission rows, and how inputs are encoded.
    seed : int
        Of the cuts.
    validation : HeldRows, optional
        Rows that train nobody; admission rows are cut from them. None: cut from ``train``.
    features : sequence of str, optional
        Names of the columns of numbers.
    common_scale : bool
        Divide all features by one number and move none, so that zeros stay zeros.

    Raises
    ------
    DataError
        If there are fewer than two classes, or features that are not finite.
    """
    preprocessing = _preprocessing(train.raw, config, features)
    parts = [train] if validation is None else [train, validation]
    raw = _together([part.raw for part in parts])
    given = [np.full(len(part), i) for i, part in zip((TRAIN, VALIDATION), parts, strict=False)]
    weights = None
    if any(part.weights is not None for part in parts):
        ones = [np.ones(len(part)) if part.weights is None else part.weights for part in parts]
        weights = np.concatenate(ones)
    if common_scale and config.standardize is None:
        scale = max(float(np.sqrt(np.square(train.raw).mean(dtype=np.float64))), 1e-12)
        d = train.raw.shape[1]
        preprocessing = {**preprocessing, "mean": [0.0] * d, "std": [scale] * d}
        config = config.model_copy(update={"standardize": False})
    rows = LabelledRows(
        raw=raw,
        labels=np.concatenate([part.labels for part in parts]),
        names=names,
        given=np.concatenate(given),
        notes=(),
        texts=raw if isinstance(raw, list) else None,
        rows=np.concatenate([np.arange(len(part)) for part in parts]),
        weights=weights,
        predictions=_predictions(parts),
    )
    every = config.model_copy(update={"min_examples": 1})
    about = {"rows": "row"}
    dataset = assemble(rows, every, seed, MEMORY, preprocessing, about, keep_all=True)
    if dataset.validation is dataset.train:
        note = "no class has two different inputs: models are chosen on rows that trained them"
        return replace(dataset, notes=(*dataset.notes, note))
    if config.max_examples:
        dataset = limit(dataset, config.max_examples, seed)
    return _with_test(hold_out_admission_rows(dataset, config.admission_fraction, seed))


def _with_test(dataset: Dataset) -> Dataset:
    name = "validation" if dataset.admission is None else "admission"
    what = {"validation": "chose among the models", "admission": "decided who may answer"}[name]
    note = f"no test split: a report measures the {name} rows, which {what}"
    if dataset.splits[name].weights is not None:
        note += "; there each counts once, whatever its weight"
    return replace(dataset, test=dataset.splits[name], notes=(*dataset.notes, note))


def _preprocessing(raw: Any, config: DataConfig, features: Sequence[str] | None) -> Preprocessing:
    if isinstance(raw, list):
        return text_preprocessing(config)
    if isinstance(raw, NamedTensors):
        return described_tensors(raw)
    if raw.ndim == 2:
        about = {"kind": "features", "n_features": raw.shape[1], "mean": None, "std": None}
        return {**about, "features": None if features is None else list(features)}
    images = raw if isinstance(raw, RawRows) else with_channels(raw)
    channels, height, width = images.shape[1:]
    return {"kind": "images", "channels": channels, "height": height, "width": width}


def _predictions(parts: Sequence[HeldRows]) -> Tensor | None:
    given = [part.predictions for part in parts if part.predictions is not None]
    return torch.cat(given) if given else None


def _together(parts: Sequence[Any]) -> Any:
    """The rows of all parts; images are copied, since their rows are put in another order."""
    if all(isinstance(part, DatasetRows) for part in parts):
        items, found = zip(*((part.parts, part.digests) for part in parts), strict=True)
        return replace(parts[0], parts=[*chain(*items)], digests=np.concatenate(found))
    if isinstance(parts[0], MappedArrays):
        found = [digests_of(part, name) for part, name in zip(parts, OF_PARTS, strict=False)]
        arrays = [array for part in parts for array in part.arrays]
        return replace(parts[0], arrays=arrays, digests=np.concatenate(found))
    if isinstance(parts[0], list):
        return [text for part in parts for text in part]
    if isinstance(parts[0], NamedTensors):
        return NamedTensors.concatenated(parts)
    if parts[0].ndim > 2:
        return np.concatenate([np.ascontiguousarray(with_channels(part)) for part in parts])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
