"""What a data set is: splits of inputs and labels, class names, and how inputs were made.

Inputs are one of four kinds. ``text``: a :class:`Ragged` of n-gram hashes, one row a string.
``features``: a float32 tensor [n, d]. ``images``: a uint8 tensor [n, channels, height, width].
``tensors``: whatever a network of the user's own takes, one tensor or several by name
(:class:`NamedTensors`). All have rows, ``len``, ``to``, ``clone``, ``split`` and ``nbytes``; a
batch is ``inputs[index]``, gathered without a Python loop over its rows. Features and images that
are larger than memory are :class:`FetchedRows` instead, which read a batch when it is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.fetched_rows import Described, FetchedRows
from specialists.datasets.named_tensors import NamedTensors

Kind = Literal["text", "features", "images", "tensors"]
# JSON that travels with data sets and models; `specialists.datasets.encoding` lists its keys.
Preprocessing = Described


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one flat tensor: row i is ``values[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    values : Tensor of shape (n_values,)
    offsets : int64 Tensor of shape (n_rows + 1,)
        Non-decreasing, from 0 to ``n_values``.
    """

    values: Tensor
    offsets: Tensor

    @classmethod
    def from_lengths(cls, values: np.ndarray, lengths: np.ndarray) -> Ragged:
        """Rows of these lengths, whose values lie one after another."""
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(torch.from_numpy(values), torch.from_numpy(offsets))

    def __len__(self) -> int:
        return self.offsets.numel() - 1

    @property
    def lengths(self) -> Tensor:
        """Length of each row, shape (n_rows,)."""
        return self.offsets[1:] - self.offsets[:-1]

    def __getitem__(self, index: Tensor) -> Ragged:
        """The rows named by ``index`` (int64 tensor), in its order."""
        starts = self.offsets[index]
        lengths = self.offsets[index + 1] - starts
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64, device=index.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        n_values = int(offsets[-1])
        shift = torch.repeat_interleave(starts - offsets[:-1], lengths, output_size=n_values)
        positions = torch.arange(n_values, device=index.device).add_(shift)
        return Ragged(self.values.index_select(0, positions), offsets)

    def between(self, start: int, stop: int) -> Ragged:
        """Rows ``start`` to ``stop - 1``, whose values are not copied."""
        offsets = self.offsets[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        return Ragged(self.values[first:last], offsets - first if first else offsets)

    def split(self, sizes: list[int]) -> list[Ragged]:
        """As ``Tensor.split``: so many rows in each part, whose values are not copied."""
        stops = list(itertools.accumulate(sizes))
        ends = self.offsets[torch.tensor([0, *stops])].tolist()
        return [
            Ragged(self.values[first:last], self.offsets[stop - n : stop + 1] - first)
            for n, stop, (first, last) in zip(sizes, stops, itertools.pairwise(ends), strict=True)
        ]

    def row(self, i: int) -> Tensor:
        """Row ``i``, shape (length,)."""
        return self.values[int(self.offsets[i]) : int(self.offsets[i + 1])]

    def float(self) -> Ragged:
        """Vectors in single precision; hashes and tokens stay whole numbers."""
        values = self.values.float() if self.values.is_floating_point() else self.values
        return Ragged(values, self.offsets)

    def clone(self) -> Ragged:
        """The same: nobody changes it."""
        return self

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.offsets.nbytes

    @staticmethod
    def concatenated(parts: Sequence[Ragged]) -> Ragged:
        """The rows of all parts."""
        offsets = [parts[0].offsets]
        for part in parts[1:]:
            offsets.append(part.offsets[1:] + offsets[-1][-1])
        return Ragged(torch.cat([part.values for part in parts]), torch.cat(offsets))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Ragged:
        both = (self.values, self.offsets)
        return Ragged(*(tensor.to(device, non_blocking=non_blocking) for tensor in both))

    def pin_memory(self) -> Ragged:
        return Ragged(self.values.pin_memory(), self.offsets.pin_memory())


Inputs = Tensor | Ragged | NamedTensors | FetchedRows


def rows_between(inputs: Inputs, start: int, stop: int) -> Inputs:
    """Rows ``start`` to ``stop - 1`` for a network, which may change a tensor that it is given."""
    if isinstance(inputs, Ragged):
        return inputs.between(start, stop)
    rows = inputs[start:stop]
    return rows if isinstance(inputs, FetchedRows) else rows.clone()


def joined_inputs(parts: Sequence[Inputs]) -> Inputs:
    """The rows of all parts, which are of one kind."""
    if isinstance(first := parts[0], Tensor):
        return torch.cat(cast(list[Tensor], list(parts)))
    return first.concatenated(parts)  # pyright: ignore[reportArgumentType]


def row_shape(inputs: Inputs) -> tuple[int, ...]:
    """The shape of a row; () for text and for several tensors."""
    return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor | FetchedRows) else ()


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Parameters
    ----------
    inputs : Tensor, Ragged, NamedTensors or FetchedRows of n rows
    labels : int64 Tensor of shape (n,)
    valid : Ragged of class indices, optional
        Every class that would be right for each example; each row holds the label.
    texts : sequence of str, optional
        The original strings, for people to read.
    rows : int64 Tensor of shape (n,), optional
        Where each example lies in the user's own file: its line (from 1) or its row (from 0);
        ``Dataset.source["rows"]`` says which.
    groups : int64 Tensor of shape (n,), optional
        Rows that are one observation (they share an input, a concept, a writer) share a number,
        which is unique over all splits.
    weights : float32 Tensor of shape (n,), optional
        How many rows each one counts as; None: one.
    predictions : float32 Tensor of shape (n, C), optional
        Log-probabilities of a generalist that the user brings as its predictions.
    """

    inputs: Inputs
    labels: Tensor
    valid: Ragged | None = None
    texts: tuple[str, ...] | None = None
    rows: Tensor | None = None
    groups: Tensor | None = None
    weights: Tensor | None = None
    predictions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def units(self) -> Tensor:
        """The unit of chance of each row, int64 (n,): its group, or the row itself."""
        return torch.arange(len(self)) if self.groups is None else self.groups

    @property
    def n_groups(self) -> int:
        """How many units of chance the rows are."""
        return len(self.units.unique())


@dataclass(frozen=True)
class Dataset:
    """Train, validation, admission and test split with what is needed to encode new inputs alike.

    Parameters
    ----------
    name : str
    kind : {"text", "features", "images", "tensors"}
    class_names : tuple of str, length n_classes
    train, validation, test : Split
    preprocessing : mapping
        JSON-able; what ``specialists.datasets.encode`` needs to encode new inputs in the same way.
    notes : tuple of str
        One line each on what was left out, merged or cut, with counts.
    source : mapping
        JSON-able; where the data came from and under which licence.
    admission : Split, optional
        Held-out rows that serve nothing but the test whether specialists help.
    """

    name: str
    kind: Kind
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()
    source: Mapping[str, object] = field(default_factory=dict)
    admission: Split | None = None

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that there are, by name: train, validation, admission, test."""
        named = {"train": self.train, "validation": self.validation, "admission": self.admission}
        return {name: s for name, s in (named | {"test": self.test}).items() if s is not None}
