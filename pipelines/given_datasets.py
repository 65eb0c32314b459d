"""A Dataset or a memory-mapped array handed to an estimator: what is kept, what is read again?

Labels are kept. Inputs of a Dataset of PyTorch or Hugging Face are kept where they are texts, or
take less than a quarter of the memory; else the run reads them from the object, a batch at a time.
A memory-mapped array from 256 MiB on is read from its file in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from specialists.config import DataConfig
from specialists.datasets.dataset_objects import datasets_of, is_dataset
from specialists.datasets.in_memory import MEMORY
from specialists.datasets.object_rows import DatasetRows, ReadObjects, read_objects
from specialists.datasets.raw_rows import MappedArrays, mapped_rows
from specialists.errors import DataError

ROWS = "specialists_in_memory:rows"
ORIGIN = {"factory": ROWS, "options": {}, "seed": {}}


@dataclass(frozen=True)
class GivenData:
    """What ``fit`` was given; in place of a dataset or a mapped array, rows that can be read.

    Parameters
    ----------
    x, y : inputs and labels
    validation : (x, y) or (x, y, weights), optional
    functions : mapping
        Gives what is read again, by the name that stands for it.
    names : list of str, optional
        Of the classes that ``y`` numbers, if the dataset knows them.
    """

    x: Any
    y: Any
    validation: Any
    functions: Mapping[str, Callable[..., Any]]
    names: list[str] | None = None


def opened(x: Any, y: Any, validation: Any, config: DataConfig) -> GivenData:
    """Inputs and labels of what is a dataset or a large mapped array; anything else as it is.

    ``config`` says how items are read.

    Raises
    ------
    DataError
        If labels are given beside a dataset, or it can only be iterated over.
    """
    if not is_dataset(x):
        return _kept_in_its_file(x, y, validation, config.in_place)
    if y is not None:
        raise DataError("labels beside a dataset, whose items bring their own", where="y")
    given = [x] if validation is None else [x, _validation_dataset(validation)]
    datasets = [datasets_of(one, "X")[0][0][0] for one in given]
    read: list[ReadObjects] = []
    for dataset in datasets:
        read.append(read_objects([dataset], config, "X", {**ORIGIN, "keys": config.keys or {}}))
        config = config.model_copy(update={"in_place": isinstance(read[0].raw, DatasetRows)})
    named = dict(zip(("train", "validation"), datasets, strict=False))
    functions = {ROWS: lambda: named} if config.in_place else {}
    rest = [(one.raw, one.labels) for one in read[1:]]
    known, labels = read[0].names, read[0].labels
    names = known if all(isinstance(label, int) for label in labels) else None
    return GivenData(read[0].raw, labels, rest[0] if rest else None, functions, names)


def _kept_in_its_file(x: Any, y: Any, validation: Any, in_place: bool | None) -> GivenData:
    """A large memory-mapped array is read where it lies, and so are validation rows beside it."""
    rows = mapped_rows(x, in_place)
    if rows is None:
        return GivenData(x, y, validation, {})
    arrays = list(rows.arrays)
    if isinstance(validation, list | tuple) and validation:
        held_out = np.asarray(validation[0])
        if held_out.shape[1:] != rows.row_shape or held_out.dtype.kind not in "fiub":
            raise DataError(
                "rows of validation_data are not like those of X",
                got=f"{held_out.dtype} of shape {held_out.shape}",
                expected=f"numbers of shape (n{''.join(f', {size}' for size in rows.row_shape)})",
            )
        arrays.append(held_out)
        validation = (MappedArrays([held_out], ORIGIN), *validation[1:])
    together = MappedArrays(arrays, ORIGIN)
    together = together.with_channels() if together.kind == "images" else together
    return GivenData(replace(rows, origin=ORIGIN), y, validation, {ROWS: lambda: together})


def labels_of(x: Any, y: Any, keys: Mapping[str, str]) -> Any:
    """``y``, or the labels that the items of a dataset bring, under ``data.keys``."""
    if y is not None or not is_dataset(x):
        return y
    found = datasets_of(x, "X")[0][0][0]
    config = DataConfig(name=MEMORY, in_place=True, keys=dict(keys) or None)
    return read_objects([found], config, "X").labels


def inputs_of(x: Any, keys: Mapping[str, str]) -> Any:
    """A dataset of the inputs that ``data.keys`` names; anything else as it is."""
    if "x" not in keys or not is_dataset(x):
        return x
    dataset = datasets_of(x, "X")[0][0][0]
    first = dataset[0] if len(dataset) else None
    return UnderKey(dataset, keys["x"]) if isinstance(first, Mapping) else x


class UnderKey(Dataset[tuple[Any]]):
    """What the items of a dataset have under one key."""

    def __init__(self, dataset: Any, key: str) -> None:
        self.dataset, self.key = dataset, key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any]:
        return (self.dataset[index][self.key],)


def _validation_dataset(given: Any) -> Any:
    if isinstance(given, Sequence) and len(given) == 1:
        given = given[0]
    if not is_dataset(given):
        expected, got = "a dataset, as X is one", type(given).__name__
        raise DataError("validation_data is not understood", got=got, expected=expected)
    return given
