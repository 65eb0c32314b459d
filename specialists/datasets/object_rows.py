"""How do the items of a dataset object become a data set?

Every item is looked at once: labels are kept, and which inputs are equal. Inputs are kept only
where they are texts, or take less than a quarter of the memory. Others are read again, by their
number, whenever a batch of them is needed. Pictures are grey if none has colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from specialists.config import DataConfig
from specialists.datasets.assembly import LabelledRows, assemble
from specialists.datasets.base import Dataset, Inputs, Kind, Preprocessing
from specialists.datasets.class_names import classes_of, classes_of_codes, labels_left_out
from specialists.datasets.dataset_objects import Items, datasets_of, items_of
from specialists.datasets.encoding import check_finite, encode
from specialists.datasets.fetched_rows import Origin
from specialists.datasets.item_arrays import as_rows, kind_of_item, shape_of_item
from specialists.datasets.labelled_tables import text_preprocessing
from specialists.datasets.observations import digests
from specialists.datasets.raw_rows import PART_OF_MEMORY, RawRows, fetched_rows
from specialists.datasets.splits import LEFT_OUT
from specialists.errors import DataError
from specialists.runtime import memory


@dataclass(frozen=True)
class DatasetRows(RawRows):
    """The inputs of datasets, those of each after those of the one before.

    Parameters
    ----------
    parts : sequence of Items
    kind : {"features", "images"}
    row_shape : tuple of int
        (d,) numbers, or channels, height and width in pixels.
    """

    parts: Sequence[Items]
    kind: Kind
    row_shape: tuple[int, ...]  # pyright: ignore[reportIncompatibleVariableOverride]
    origin: Origin | None = None
    digests: np.ndarray | None = None

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, numbers: np.ndarray) -> np.ndarray:
        return self.with_labels(numbers)[0]

    def with_labels(self, numbers: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """Rows, float32 or uint8, and their labels."""
        dtype = np.float32 if self.kind == "features" else np.uint8
        rows = np.empty((len(numbers), *self.row_shape), dtype=dtype)
        labels: list[Any] = [None] * len(numbers)
        which = np.searchsorted(self._ends, numbers, side="right")
        for i in np.unique(which).tolist():
            here = np.flatnonzero(which == i)
            first = self._ends[i] - len(self.parts[i])
            inputs, found = self.parts[i].read(numbers[here] - first)
            rows[here] = as_rows(inputs, self.kind, self.row_shape, numbers[here])
            for place, label in zip(here.tolist(), () if found is None else found, strict=False):
                labels[place] = _plain(label)
        return rows, labels


@dataclass(frozen=True)
class ReadObjects:
    """What was found in the items of datasets.

    Parameters
    ----------
    raw : list of str, array, or DatasetRows
        Inputs; the last are to be read again.
    labels : list
    names : list of str or None
        Of the classes that labels number, if the dataset knows them.
    """

    raw: Any
    labels: list[Any]
    names: list[str] | None = None


def load_objects(
    given: Any,
    config: DataConfig,
    seed: int,
    name: str,
    origin: Origin | None = None,
) -> Dataset:
    """The data set of a Dataset of PyTorch or Hugging Face, or of a mapping of splits to such.

    ``origin`` says, JSON-able, where another process finds it. Without one, what a run keeps is a
    copy.

    Raises
    ------
    DataError
        If it can only be iterated over, items are no pairs and no mappings, inputs differ in shape,
        or splits cannot be made.
    """
    datasets, notes = datasets_of(given, name)
    read = read_objects([dataset for dataset, _ in datasets], config, name, origin)
    classes = classes_of(read.labels, name)
    if read.names and all(isinstance(label, int) for label in read.labels):
        classes = classes_of_codes(np.array(read.labels), read.names, name)
    excluded, left = labels_left_out(classes, config.exclude_labels, name)
    parts = np.concatenate([np.full(len(dataset), part) for dataset, part in datasets])
    is_text = isinstance(read.raw, list)
    labelled = LabelledRows(
        raw=read.raw,
        labels=classes.labels,
        names=classes.names,
        given=np.where(excluded, LEFT_OUT, parts),
        notes=(*notes, *classes.notes, *left),
        texts=read.raw if is_text else None,
        rows=np.concatenate([np.arange(len(dataset)) for dataset, _ in datasets]),
        where=name,
    )
    preprocessing = text_preprocessing(config) if is_text else _preprocessing(read.raw.shape)
    return assemble(labelled, config, seed, name, preprocessing, {"rows": "row"})


def read_objects(
    datasets: Sequence[Any], config: DataConfig, name: str, origin: Origin | None = None
) -> ReadObjects:
    """Look at every item of map-style datasets once; :func:`load_objects` says what is refused."""
    keys = config.keys or {}
    parts = [items_of(dataset, keys.get("x"), keys.get("y"), where=name) for dataset in datasets]
    first, _ = parts[0].read(np.arange(1))
    kind = kind_of_item(first[0], name)
    if kind == "text":
        return ReadObjects(*_texts(parts, name), parts[0].names())
    rows = DatasetRows(parts, kind, shape_of_item(first[0], kind, config.image_size), origin)
    return ReadObjects(*_looked_through(rows, config.in_place, name), parts[0].names())


def encode_objects(given: Any, preprocessing: Preprocessing) -> Inputs:
    """The inputs of a dataset, encoded as training inputs were; those of texts alone are held.

    Raises
    ------
    DataError
        If it can only be iterated over, or inputs are not as the training's were.
    """
    datasets, _ = datasets_of(given)
    items, kind = items_of(datasets[0][0], labelled=False), preprocessing["kind"]
    first, _ = items.read(np.arange(1))
    if kind_of_item(first[0]) != kind:
        what = "these inputs are of another kind than those of the training"
        raise DataError(what, got=kind_of_item(first[0]), expected=kind)
    if kind == "text":
        return encode(preprocessing, _texts([items], "dataset")[0])
    return fetched_rows(DatasetRows([items], kind, _encoded_shape(preprocessing)), preprocessing)


def rows_again(given: Any, origin: Origin, preprocessing: Preprocessing) -> RawRows:
    """The rows that :func:`load_objects` found in what the function of ``origin`` gives again.

    A program that holds memory-mapped arrays gives their rows themselves.
    """
    if isinstance(given, RawRows):
        return given
    keys = origin["keys"]
    datasets, _ = datasets_of(given, origin["factory"])
    parts = [items_of(dataset, keys.get("x"), keys.get("y")) for dataset, _ in datasets]
    return DatasetRows(parts, preprocessing["kind"], _encoded_shape(preprocessing), origin)


def _encoded_shape(preprocessing: Preprocessing) -> tuple[int, ...]:
    of_images = ("channels", "height", "width")
    sizes = of_images if preprocessing["kind"] == "images" else ("n_features",)
    return tuple(preprocessing[size] for size in sizes)


def _looked_through(
    rows: DatasetRows, in_place: bool | None, name: str
) -> tuple[np.ndarray | DatasetRows, list[Any]]:
    """Inputs as they are kept, and labels."""
    n_bytes = int(np.prod(rows.shape)) * (4 if rows.kind == "features" else 1)
    held = None
    if not in_place and n_bytes <= memory() // PART_OF_MEMORY:
        held = np.empty(rows.shape, np.float32 if rows.kind == "features" else np.uint8)
    labels, found, coloured = [], [], False
    for start, numbers in rows.numbered_blocks():
        block, some = rows.with_labels(numbers)
        if rows.kind == "features":
            check_finite(block, name, start)
        else:
            coloured = coloured or bool((block != block[:, :1]).any())
        labels += some
        if held is None:
            found.append(digests(block))
        else:
            held[start : start + len(block)] = block
    if rows.kind == "images" and not coloured:
        rows = replace(rows, row_shape=(1, *rows.row_shape[1:]))
        held = None if held is None else np.ascontiguousarray(held[:, :1])
    if held is not None:
        return held, labels
    origin = None if in_place is False else rows.origin
    return replace(rows, origin=origin, digests=np.concatenate(found)), labels


def _texts(parts: Sequence[Items], name: str) -> tuple[list[str], list[Any]]:
    texts, labels = [], []
    for part in parts:
        for start in range(0, len(part), 1024):
            some, found = part.read(np.arange(start, min(start + 1024, len(part))))
            texts += some
            labels += map(_plain, found)
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        where, got = f"{name}, row {wrong}", type(texts[wrong]).__name__
        raise DataError("a text is not a string", where=where, got=got)
    return texts, labels


def _preprocessing(shape: tuple[int, ...]) -> Preprocessing:
    if len(shape) == 2:
        return {"kind": "features", "n_features": shape[1], "mean": None, "std": None}
    return {"kind": "images", "channels": shape[1], "height": shape[2], "width": shape[3]}


def _plain(label: Any) -> Any:
    """A number of a tensor or array as Python's."""
    return label.item() if hasattr(label, "item") else label
