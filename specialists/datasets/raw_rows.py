"""Rows as their user has them, on a disk or in an object: what reads some of them?

Encoded by :func:`fetched_rows`, they are the inputs of a data set that is larger than memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.base import Kind, Preprocessing
from specialists.datasets.encoding import check_finite, encode
from specialists.datasets.fetched_rows import BLOCK_BYTES, FetchedRows, Origin
from specialists.datasets.observations import digests
from specialists.datasets.pictures import read_pictures, with_channels
from specialists.errors import DataError

IN_PLACE_BYTES = 1 << 28  # larger arrays are read where they lie, unless told otherwise
PART_OF_MEMORY = 4  # where other inputs take a larger part of it, they are, too


class RawRows(ABC):
    """n rows that are read when they are asked for, by their numbers from 0.

    ``row_shape`` is that of a row as :func:`~specialists.datasets.encode` takes it, ``origin``
    says, JSON-able, where another process finds the rows, and ``digests``, uint64 (n, 2), are equal
    where rows are.
    """

    row_shape: tuple[int, ...]
    origin: Origin | None = None
    digests: np.ndarray | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, numbers: np.ndarray) -> Any:
        """The rows of these numbers, int64 (k,)."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.row_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def numbered_blocks(
        self, numbers: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The numbers of all rows, or these, a few megabytes at a time; the place of the first."""
        numbers = np.arange(len(self)) if numbers is None else numbers
        size = max(1, BLOCK_BYTES // (8 * max(1, int(np.prod(self.row_shape)))))  # in float64
        for start in range(0, len(numbers), size):
            yield start, numbers[start : start + size]

    def blocks(self, numbers: np.ndarray | None = None) -> Iterator[tuple[int, Any]]:
        """All rows, or these, a few megabytes at a time; the place of the first of them."""
        for start, some in self.numbered_blocks(numbers):
            yield start, self.read(some)


@dataclass(frozen=True)
class MappedArrays(RawRows):
    """The rows of memory-mapped arrays, those of each array after those of the one before.

    Parameters
    ----------
    arrays : sequence of arrays (n_i, ...)
        Numbers of shape (n_i, d), or images of shape (n_i, channels, height, width).
    """

    arrays: Sequence[np.ndarray]
    origin: Origin | None = None
    digests: np.ndarray | None = None

    @cached_property
    def row_shape(self) -> tuple[int, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.arrays[0].shape[1:]

    @property
    def kind(self) -> Kind:
        return "features" if self.ndim == 2 else "images"

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(array) for array in self.arrays])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def with_channels(self) -> MappedArrays:
        """Images whose channels stand first; a DataError where they are none."""
        return replace(self, arrays=[with_channels(array) for array in self.arrays])

    def read(self, numbers: np.ndarray) -> np.ndarray:
        if len(self.arrays) == 1:
            return self.arrays[0][numbers]
        rows = np.empty((len(numbers), *self.row_shape), dtype=np.result_type(*self.arrays))
        which = np.searchsorted(self._ends, numbers, side="right")
        for i in np.unique(which).tolist():
            here = which == i
            first = self._ends[i] - len(self.arrays[i])
            rows[here] = self.arrays[i][numbers[here] - first]
        return rows


@dataclass(frozen=True)
class ImageFiles(RawRows):
    """Image files, decoded each time: uint8 (channels, height, width).

    Parameters
    ----------
    folder : Path
    names : sequence of str
        Of the files, below the folder.
    row_shape : tuple of int
        Channels, height and width in pixels.
    """

    folder: Path
    names: Sequence[str]
    row_shape: tuple[int, int, int]  # pyright: ignore[reportIncompatibleVariableOverride]
    origin: Origin | None = None
    digests: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def read(self, numbers: np.ndarray) -> np.ndarray:
        channels, height, width = self.row_shape
        numbered: list[int] = numbers.tolist()
        paths = [self.folder / self.names[i] for i in numbered]
        return read_pictures(paths, (height, width), channels)[0]


def mapped_rows(x: Any, in_place: bool | None = None) -> MappedArrays | None:
    """The rows of a memory-mapped array of inputs, if they are to stay in its file.

    They do from 256 MiB on, or whenever ``in_place`` says so. What is no such array gives None.
    """
    is_mapped = isinstance(x, np.memmap) and x.filename is not None  # else it is a copy of one
    if not is_mapped or x.dtype.kind not in "fiub" or x.ndim < 2 or not x.size:
        return None
    wanted = x.nbytes > IN_PLACE_BYTES if in_place is None else in_place
    return MappedArrays([np.asarray(x)]) if wanted else None


def digests_of(raw: RawRows, where: object = None) -> np.ndarray:
    """Of all rows, which are read a few at a time; numbers must be finite."""
    found = []
    for start, rows in raw.blocks():
        if raw.ndim == 2:
            rows = rows.astype(np.float32, copy=False)
            check_finite(rows, where, start)
        found.append(digests(rows))
    return np.concatenate(found)


def fetched_rows(
    raw: RawRows, preprocessing: Preprocessing, index: np.ndarray | Tensor | None = None
) -> FetchedRows:
    """Some rows, or all, encoded whenever they are read."""
    if preprocessing["kind"] == "features":
        shape, dtype = (preprocessing["n_features"],), torch.float32
    else:
        shape = tuple(preprocessing[key] for key in ("channels", "height", "width"))
        dtype = torch.uint8
    numbers = torch.as_tensor(np.arange(len(raw)) if index is None else index)
    return FetchedRows(_Encoder(raw, preprocessing), numbers, shape, dtype, raw.origin)


class _Encoder:
    """As ``encode``; the lists of means and deviations are read once."""

    def __init__(self, raw: RawRows, preprocessing: Preprocessing) -> None:
        self.raw, self.mean, self.std = raw, None, None
        self.plain = preprocessing
        if preprocessing.get("mean") is not None:
            self.plain = {**preprocessing, "mean": None, "std": None}
            self.mean = torch.tensor(preprocessing["mean"], dtype=torch.float32)
            self.std = torch.tensor(preprocessing["std"], dtype=torch.float32)

    def __call__(self, numbers: np.ndarray) -> Any:
        raw = self.raw.read(numbers)
        try:
            rows: Any = encode(self.plain, raw)
        except DataError:
            if self.plain["kind"] == "features" and len(numbers):
                check_finite(np.asarray(raw), first_row=int(numbers[0]))  # names the row itself
            raise
        if self.mean is None or self.std is None:
            return rows
        return rows.sub_(self.mean).div_(self.std)
