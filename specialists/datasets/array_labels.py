"""What are the labels of arrays: whole numbers or strings, one a row?

Forms that mean the same are taken, and told: a column [n, 1], one-hot rows [n, C], floats that are
whole numbers, bytes for strings. Anything else is refused with its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from specialists.errors import DataError

_EXACT = 2.0**53  # floats above it are whole for want of digits


def plain_labels(y: np.ndarray, where: object) -> tuple[np.ndarray | list[Any], tuple[str, ...]]:
    """Labels of shape (n,) as booleans, int64, or a list of str or bytes; and how they were meant.

    Parameters
    ----------
    y : array of shape (n,), (n, 1) or one-hot (n, n_classes)
    where : object
        For messages.

    Raises
    ------
    DataError
        There is not one label a row, or it is neither a whole number nor a string.
    """
    y, notes = _one_a_row(y, where)
    if y.dtype.kind in "USb":
        return y if y.dtype.kind == "b" else y.tolist(), notes
    if y.dtype.kind not in "iuf":
        what = "labels are neither whole numbers nor strings"
        raise DataError(what, where=where, got=f"dtype {y.dtype}")
    if y.dtype.kind == "f":
        notes = (*notes, f"{where}: labels are floats that are whole numbers, taken as such")
        _check_whole(y, where)
    elif y.size and y.max() > np.iinfo(np.int64).max:
        return [str(label) for label in y.tolist()], notes
    return y.astype(np.int64), notes


def _check_whole(y: np.ndarray, where: object) -> None:
    with np.errstate(invalid="ignore"):
        whole = (np.rint(y) == y) & (np.abs(y.astype(np.float64)) <= _EXACT)
    if not whole.all():
        row = int(np.flatnonzero(~whole)[0])
        raise DataError(
            f"labels that are neither whole numbers nor strings ({int((~whole).sum())})",
            where=f"{where}, row {row}",
            got=y[row],
            fix="labels name classes; numbers to be predicted as such are another task",
        )


def concatenated(parts: Sequence[np.ndarray | list[Any]], where: object) -> np.ndarray | list[Any]:
    """The labels of all splits, one after another.

    Raises
    ------
    DataError
        Some are numbers and some are strings.
    """
    lists, arrays = ([part for part in parts if isinstance(part, t)] for t in (list, np.ndarray))
    if lists and arrays:
        what = "labels are numbers in one split and strings in another"
        raise DataError(what, where=where, expected="one way to name a class in all of them")
    return list(chain.from_iterable(lists)) if lists else np.concatenate(arrays)


def _one_a_row(y: np.ndarray, where: object) -> tuple[np.ndarray, tuple[str, ...]]:
    if y.ndim == 1:
        return y, ()
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0], (f"{where}: labels of shape {y.shape} taken as one a row",)
    got = f"shape {y.shape}"
    if y.ndim == 2 and y.shape[1] and y.dtype.kind in "biuf":
        one_hot = ((y != 0).sum(axis=1) == 1) & (y.max(axis=1) == 1)
        if one_hot.all():
            return y.argmax(axis=1), (f"{where}: one-hot labels of {y.shape[1]} classes",)
        got += f"; row {int(np.flatnonzero(~one_hot)[0])} of {where} is not one-hot"
    expected = "[n], or one-hot rows [n, n_classes]"
    raise DataError("labels need one value a row", where=where, got=got, expected=expected)
