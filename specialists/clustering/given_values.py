"""Predictions, labels and examples as a caller holds them: what do they say, row by row?

Tables of pandas are read by position, never by their index. Labels may be class numbers or names.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from specialists.covariance.streaming import host_array, predictions_shape
from specialists.errors import DataWarning, InputError, listed

NO_CLASS = -1
SHOWN_COLUMNS = 8  # of an example that is a row of a table


def predictions_and_names(probs: Any, names: Iterable[Any] | None) -> tuple[Any, list[Any] | None]:
    """Predictions as an array or tensor of shape (n, C), and names of its classes if there are any.

    A DataFrame brings the names of its columns where none are given; its columns are put in the
    order of ``names`` where these name them. Lists become an array.
    """
    order = None if names is None else column_order(probs, names := list(names))
    is_table = hasattr(probs, "columns")
    if names is None and is_table:
        names = probs.columns
    if is_table or isinstance(probs, list | tuple):
        try:
            values = np.asarray(probs)
            probs = values.astype(float) if values.dtype.kind not in "fiub" else values
            probs = probs if order is None else probs[:, order]
        except (TypeError, ValueError) as error:
            what = "predictions are no matrix of numbers"
            expected = "as many numbers in every row, one for each class"
            raise InputError(what, where="probs", got=error, expected=expected) from error
    predictions_shape(probs)
    return probs, None if names is None else list(names)


def column_order(table: Any, names: Sequence[Any]) -> list[int] | None:
    """The column of a DataFrame for each name; None where they are in this order already.

    Columns without names of their own, or with none of these, are taken as they stand.

    Raises
    ------
    InputError
        If some of them have names of classes, and others have not.
    """
    if not hasattr(table, "columns") or type(table.columns).__name__ == "RangeIndex":
        return None
    columns = [str(_plain(name)) for name in table.columns]
    wanted = [str(_plain(name)) for name in names]
    found, known = set(columns), set(wanted)
    if columns == wanted or not found & known:
        return None
    if sorted(columns) != sorted(wanted):
        missing = [name for name in wanted if name not in found]
        other = [name for name in columns if name not in known]
        raise InputError(
            "the columns of the table are other classes than class_names",
            where="class_names",
            got=f"no columns {listed(missing) or 'more'}; columns of no class: {listed(other)}",
            expected=f"the {len(columns)} names of the columns, in any order",
            fix="leave class_names out: the columns name the classes",
        )
    place = {name: i for i, name in enumerate(columns)}
    return [place[name] for name in wanted]


def refuse_same_names(names: Sequence[Any]) -> None:
    """No two classes may have one name, also as text."""
    twice = [name for name, count in Counter(map(str, names)).items() if count > 1]
    if twice:
        raise InputError(
            "two classes have the same name",
            where="class_names",
            got=f"more than once: {listed(twice)}",
            expected="another name for each class",
        )


def count_rows(values: Any, where: str) -> int:
    """How many rows there are; an error where they have no length or no order."""
    if hasattr(values, "__len__") and hasattr(values, "__getitem__"):
        return len(values)
    expected = "a list, an array or a table, with a value for each row"
    fix = "list(...) makes one of a generator"
    what = "this has no rows that can be looked up"
    raise InputError(what, where=where, got=type(values).__name__, expected=expected, fix=fix)


def class_numbers(labels: Any, class_names: Sequence[Any]) -> np.ndarray:
    """Each label's class, 0 to C - 1: the label itself, or the place of the name that it is."""
    import pandas as pd

    values = host_array(labels)
    if values.ndim != 1:
        expected = "one class for each row, shape (n,)"
        what = "labels are no single column"
        raise InputError(what, where="labels", got=f"shape {values.shape}", expected=expected)
    try:
        places, distinct = pd.factorize(pd.Series(values).astype(object), use_na_sentinel=False)
    except TypeError as error:
        expected = "class numbers or class names"
        what = "labels are no classes"
        raise InputError(what, where="labels", got=error, expected=expected) from error
    return _classes_of([_plain(value) for value in distinct], class_names)[places]


def _classes_of(values: list[Any], class_names: Sequence[Any]) -> np.ndarray:
    """Classes of distinct labels, which must all be numbers or all be names; numbers come first."""
    n_classes = len(class_names)
    place = {str(_plain(name)): i for i, name in enumerate(class_names)}
    place |= {str(name): i for i, name in enumerate(class_names)}
    by_name = np.array([place.get(str(value), NO_CLASS) for value in values], dtype=int)
    is_number = [isinstance(value, int) and 0 <= value < n_classes for value in values]
    numbers = [int(v) if known else NO_CLASS for v, known in zip(values, is_number, strict=True)]
    by_number = np.array(numbers, dtype=int)
    all_names, all_numbers = (bool((found != NO_CLASS).all()) for found in (by_name, by_number))
    if all_names and all_numbers and (by_name != by_number).any():
        told = (
            f"labels {listed(map(repr, values))} are read as class numbers, but are names of "
            "other classes, too; if names are meant, give text: [str(label) for label in labels]"
        )
        warnings.warn(told, DataWarning, stacklevel=4)  # where confused_pairs is called
    if not all_names and not all_numbers:
        neither = (by_name == NO_CLASS) & (by_number == NO_CLASS)
        wrong = neither if neither.any() else by_number == NO_CLASS
        raise InputError(
            "some labels are no classes",
            where="labels",
            got=listed(repr(values[i]) for i in np.flatnonzero(wrong)),
            expected=f"class numbers from 0 to {n_classes - 1}, or names: {listed(class_names)}",
        )
    return by_number if all_numbers else by_name


def _plain(value: Any) -> Any:
    """A value of Python; whole numbers as int."""
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def pick_rows(examples: Any, rows: Sequence[int]) -> list[Any]:
    """These examples, by position; a row of a DataFrame as a short text."""
    by_position = getattr(examples, "iloc", examples)
    if not hasattr(examples, "iloc") or not hasattr(examples, "columns"):
        return [by_position[row] for row in rows]
    names = list(examples.columns)
    return [_row_text(names, [by_position[row, i] for i in range(len(names))]) for row in rows]


def _row_text(names: Sequence[Any], values: Sequence[Any]) -> str:
    pairs = (f"{name}: {value}" for name, value in zip(names, values, strict=True))
    return listed(pairs, SHOWN_COLUMNS)
