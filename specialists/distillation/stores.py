"""What is kept of a teacher's predictions of the training inputs?

    dense    every class, in half precision: :class:`specialists.predictions.StoredPredictions`
    top      the k most probable classes and the mass of all others, 4 k + 2 bytes an example
    sampled  m drawn classes and their counts, which on average say the same, 3 m bytes an example

(with more than 65,536 classes 2 more a class). So 40 bytes hold 13 drawn classes, or 8 of more than
65,536. The sparse ones are of a temperature, since no other can be made of them, and take these
bytes for each. Files are memory-mapped, and rows are read in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from specialists.distillation.drawn_classes import drawn_classes
from specialists.distillation.sparse_losses import (
    CellDistillationLoss,
    DrawnDistillationLoss,
    cell_divergences,
    draw_divergences,
)
from specialists.errors import InputError, listed
from specialists.files import read_array, write_array
from specialists.predictions import Predictions
from specialists.probability import check_log_probs, tempered_log_softmax

MOST_IN_TWO_BYTES = 1 << 16
NUMBERS_AT_A_TIME = 1 << 22  # of float64, of which classes are drawn
TOP = ("classes.npy", "cells-{}.npy")
DRAWN = ("drawn-{}.npy", "counts-{}.npy")


@dataclass(frozen=True)
class StoredRows:
    """Some rows of an array on disk, gathered as tensors: integers as int64, others as they are.

    Parameters
    ----------
    array : array of shape (N, ...)
    index : int64 Tensor of shape (n,), optional
        Which rows these are; None: all.
    """

    array: np.ndarray
    index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.array if self.index is None else self.index)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        rows = rows if self.index is None else self.index[rows]
        values = np.asarray(self.array)[rows.numpy()]
        whole = np.issubdtype(values.dtype, np.integer)
        return torch.from_numpy(values.astype(np.int64) if whole else values)

    def select(self, rows: Tensor) -> StoredRows:
        """Some of them, by int64 of shape (m,)."""
        return StoredRows(self.array, rows if self.index is None else self.index[rows])


@dataclass(frozen=True)
class SparseTargets:
    """A teacher's predictions of n rows, of which little is kept, and the loss that learns them.

    Parameters
    ----------
    parts : tuple of StoredRows
        What the loss takes after the logits and before the labels.
    temperature : float
        T, at which they were made.
    loss : callable
        From temperature, alpha and label smoothing to a module.
    divergences : callable
        From logits divided by T and the parts to the divergence of each row, (n,).
    """

    parts: tuple[StoredRows, ...]
    temperature: float
    loss: Callable[[float, float, float], nn.Module]
    divergences: Callable[..., Tensor]

    def __len__(self) -> int:
        return len(self.parts[0])

    def select(self, index: Tensor) -> SparseTargets:
        """Those of some rows, int64 of shape (n,)."""
        return replace(self, parts=tuple(part.select(index) for part in self.parts))

    @property
    def bytes_per_example(self) -> int:
        """On disk."""
        return sum(part.array.nbytes for part in self.parts) // max(1, len(self.parts[0].array))


def bytes_of_sparse(store: Literal["top", "sampled"], k: int, n_classes: int) -> int:
    """What an example takes of which k classes are stored at one temperature."""
    of_class = 2 if n_classes <= MOST_IN_TWO_BYTES else 4
    return (of_class + 2) * k + 2 if store == "top" else (of_class + 1) * k


def write_top(
    folder: Path, blocks: Iterable[Predictions], temperatures: Sequence[float], k: int
) -> None:
    """Write the k most probable classes of each row, and cells of softmax(t / T) for each T.

    Raises an InputError for a row that is no distribution, and where there is nothing to store.
    """
    _check_wanted(temperatures, k)
    classes, cells = [], {t: [] for t in temperatures}
    for log_probs in map(Tensor.float, _checked(blocks)):
        top = log_probs.topk(min(k, log_probs.shape[1]), dim=1).indices
        classes.append(_as_integers(top, log_probs.shape[1]))
        for t, found in cells.items():
            tempered = tempered_log_softmax(log_probs, t)
            rest = tempered.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
            found.append(torch.cat([tempered.gather(1, top), rest], 1).half().numpy())
    write_array(folder / TOP[0], np.concatenate(classes))
    for t, found in cells.items():
        write_array(folder / TOP[1].format(_in_digits(t)), np.concatenate(found))


def read_top(folder: Path, temperature: float) -> SparseTargets:
    """What :func:`write_top` wrote, of one of its temperatures; an InputError if it did not."""
    parts = _stored(folder, TOP, temperature)
    return SparseTargets(parts, temperature, CellDistillationLoss, cell_divergences)


def write_draws(
    folder: Path, blocks: Iterable[Predictions], temperatures: Sequence[float], m: int, seed: int
) -> None:
    """Write m drawn classes of each row and their counts, of softmax(t / T) for each T.

    The seed decides all of them, however the rows are cut into blocks. Raises an InputError for a
    row that is no distribution, and where there is nothing to store.
    """
    _check_wanted(temperatures, m)
    generator = torch.Generator().manual_seed(seed)
    drawn = {t: ([], []) for t in temperatures}
    for log_probs in _checked(blocks):
        for rows in log_probs.split(max(1, NUMBERS_AT_A_TIME // log_probs.shape[1])):
            uniform = torch.rand(len(rows), 2, generator=generator)
            for t, (classes, counts) in drawn.items():
                probs = tempered_log_softmax(rows.float(), t).exp()
                found, parts = drawn_classes(probs, m, uniform)
                classes.append(_as_integers(found, log_probs.shape[1]))
                counts.append(parts.numpy().astype(np.uint8))
    for t, arrays in drawn.items():
        for name, parts in zip(DRAWN, arrays, strict=True):
            write_array(folder / name.format(_in_digits(t)), np.concatenate(parts))


def read_draws(folder: Path, temperature: float) -> SparseTargets:
    """What :func:`write_draws` wrote, of one of its temperatures; an InputError if it did not."""
    parts = _stored(folder, DRAWN, temperature)
    return SparseTargets(parts, temperature, DrawnDistillationLoss, draw_divergences)


def _checked(blocks: Iterable[Predictions]) -> Iterator[Tensor]:
    """The log-probabilities of each block, which are finite or -inf, and whose sum is right."""
    n_rows = 0
    for block in blocks:
        log_probs = block.dense()
        check_log_probs(log_probs, n_rows)
        n_rows += len(log_probs)
        yield log_probs
    if not n_rows:
        raise InputError("there are no predictions to store", expected="blocks of at least one row")


def _check_wanted(temperatures: Sequence[float], k: int) -> None:
    if not temperatures or k < 1:
        got = f"{len(temperatures)} temperatures, {k} classes"
        raise InputError(
            "nothing of soft targets would be stored", got=got, expected="some of both"
        )


def _stored(folder: Path, names: Sequence[str], temperature: float) -> tuple[StoredRows, ...]:
    files = [Path(folder, name.format(_in_digits(temperature))) for name in names]
    if missing := [file.name for file in files if not file.is_file()]:
        raise InputError(
            f"soft targets of the temperature {temperature!r} are not stored here",
            where=folder,
            got=listed(sorted(file.name for file in Path(folder).glob("*.npy"))) or "no such files",
            expected=f"also {listed(missing)}",
        )
    return tuple(StoredRows(read_array(file)) for file in files)


def _in_digits(temperature: float) -> str:
    """All that tell it from another, such as 2 and 2.5."""
    return repr(float(temperature)).removesuffix(".0")


def _as_integers(classes: Tensor, n_classes: int) -> np.ndarray:
    return classes.numpy().astype(np.uint16 if n_classes <= MOST_IN_TWO_BYTES else np.int32)
