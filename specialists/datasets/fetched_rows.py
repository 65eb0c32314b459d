"""Inputs that are larger than memory: read where they lie, a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

Described = Mapping[str, Any]  # JSON
Origin = Described  # where rows lie
BLOCK_BYTES = 1 << 24  # of rows that are held at a time


@dataclass(frozen=True)
class FetchedRows:
    """n encoded rows that are read each time they are asked for.

    ``rows[index]`` reads some of them; :meth:`only` names some and reads nothing.

    Parameters
    ----------
    fetch : callable
        Maps numbers of rows, int64 (k,), to these rows, of shape (k, *row_shape).
    index : int64 Tensor of shape (n,)
        The number of each row where they lie.
    row_shape : tuple of int
    dtype : torch.dtype
    origin : mapping, optional
        Where another process finds them. None: a data set that is saved holds a copy.
    """

    fetch: Callable[[np.ndarray], Tensor]
    index: Tensor
    row_shape: tuple[int, ...]
    dtype: torch.dtype
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        return self.fetch(self.index[rows].numpy())

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self.row_shape))

    @property
    def row_bytes(self) -> int:
        return max(1, math.prod(self.row_shape) * self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """What a data set that is saved holds of them."""
        return len(self) * self.row_bytes if self.origin is None else self.index.nbytes

    def only(self, rows: Tensor) -> FetchedRows:
        """The rows named by ``rows``, in its order; nothing is read."""
        return replace(self, index=self.index[rows])

    @staticmethod
    def concatenated(parts: Sequence[Any]) -> FetchedRows:
        """The rows of all parts; those after the first may be in memory."""
        first, ends = parts[0], np.cumsum([len(part) for part in parts])

        def fetch(numbers: np.ndarray) -> Tensor:
            rows = torch.empty((len(numbers), *first.row_shape), dtype=first.dtype)
            which = np.searchsorted(ends, numbers, side="right")
            for i in np.unique(which).tolist():
                here = torch.from_numpy(np.flatnonzero(which == i))
                rows[here] = parts[i][torch.from_numpy(numbers)[here] - (ends[i] - len(parts[i]))]
            return rows

        return replace(first, fetch=fetch, index=torch.arange(ends[-1]), origin=None)

    def split(self, sizes: list[int]) -> list[FetchedRows]:
        """As ``Tensor.split``: so many rows in each part."""
        return [replace(self, index=index) for index in self.index.split(sizes)]

    def clone(self) -> FetchedRows:
        """The same: what is read is new each time."""
        return self

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Tensor:
        """All of them: for a few."""
        return self[:].to(device, non_blocking=non_blocking)

    def pin_memory(self) -> Tensor:
        return self[:].pin_memory()


def only_rows(inputs: Any, rows: Tensor) -> Any:
    """Some rows of any inputs; of fetched ones none is read."""
    return inputs.only(rows) if isinstance(inputs, FetchedRows) else inputs[rows]


def block_rows(inputs: Any, most: int) -> int:
    """How many rows are read at a time: ``most``, or as many fetched ones as 16 MiB hold."""
    if not isinstance(inputs, FetchedRows):
        return most
    return max(1, min(most, BLOCK_BYTES // inputs.row_bytes))
