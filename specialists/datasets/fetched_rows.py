"""Inputs that are larger than memory: read where they lie, a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

BLOCK_BYTES = 1 << 26  # of rows that are held at a time


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
        JSON-able: where another process finds them. None: a data set that is saved holds a copy.
    """

    fetch: Callable[[np.ndarray], Tensor]
    index: Tensor
    row_shape: tuple[int, ...]
    dtype: torch.dtype
    origin: Mapping[str, Any] | None = None

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
        """What they would take if they were held."""
        return len(self) * self.row_bytes

    def only(self, rows: Tensor) -> FetchedRows:
        """The rows named by ``rows``, in its order; nothing is read."""
        return replace(self, index=self.index[rows])

    def followed_by(self, more: Tensor) -> FetchedRows:
        """These rows, and rows in memory after them."""
        fetch, n = self.fetch, len(self)

        def both(numbers: np.ndarray) -> Tensor:
            numbered = torch.from_numpy(numbers)
            rows = torch.empty((len(numbers), *self.row_shape), dtype=self.dtype)
            is_more = numbered >= n
            rows[is_more] = more[numbered[is_more] - n]
            rows[~is_more] = fetch(self.index[numbered[~is_more]].numpy())
            return rows

        return replace(self, fetch=both, index=torch.arange(n + len(more)), origin=None)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Tensor:
        """All of them: for a few."""
        return self[:].to(device, non_blocking=non_blocking)

    def pin_memory(self) -> Tensor:
        return self[:].pin_memory()


def only_rows(inputs: Any, rows: Tensor) -> Any:
    """Some rows of any inputs; of fetched ones none is read."""
    return inputs.only(rows) if isinstance(inputs, FetchedRows) else inputs[rows]


def block_rows(inputs: Any, most: int) -> int:
    """How many rows are read at a time: ``most``, or as many fetched ones as 64 MiB hold."""
    if not isinstance(inputs, FetchedRows):
        return most
    return max(1, min(most, BLOCK_BYTES // inputs.row_bytes))
