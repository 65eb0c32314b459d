"""Are these matrices, names and options ones that classes can be clustered by?

Everything that a caller hands to ``cluster_classes`` is checked here, before any work. A function
returns the checked value, or raises an :class:`InputError` that names it and what was expected.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from specialists.clustering.given_values import refuse_same_names
from specialists.covariance.streaming import host_array
from specialists.errors import InputError


def square_matrix(matrix: object, name: str) -> np.ndarray:
    """Float64 copy of a matrix that must be square (2 x 2 at least), finite and symmetric."""
    values = np.array(host_array(matrix), dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise InputError(
            f"the {name} is not a square matrix",
            got=f"shape {values.shape}",
            expected="(C, C), a row and a column for each of at least two classes",
        )
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"the {name} is not finite", where=f"entry ({row}, {column})", got=values[row, column]
        )
    if np.abs(values - values.T).max() > 1e-4 * np.abs(values).max():
        raise InputError(
            f"the {name} is not symmetric", expected=f"{name}[i, j] equal to {name}[j, i]"
        )
    return values


def confusion_matrix(confusion: object, covariance: np.ndarray) -> np.ndarray:
    """The confusion mass with a zero diagonal; without one, the positive covariances.

    It must be square, finite, not negative and of the covariance's size.
    """
    if confusion is None:
        values = np.maximum(covariance, 0.0)
    else:
        values = square_matrix(confusion, "confusion")
    if values.shape != covariance.shape:
        raise InputError(
            "confusion and covariance are of different numbers of classes",
            got=len(values),
            expected=len(covariance),
        )
    np.fill_diagonal(values, 0.0)
    if values.min() < 0:
        raise InputError("the confusion has negative entries", got=values.min(), expected=">= 0")
    return (values + values.T) / 2


def named(names: Sequence[str] | None, n_classes: int) -> tuple[str, ...]:
    """One name for each class; their indices where there are none."""
    if names is None:
        return tuple(str(i) for i in range(n_classes))
    names = list(names)
    if len(names) != n_classes:
        raise InputError(
            "there are not as many class names as classes",
            where="class_names",
            got=f"{len(names)} names",
            expected=f"{n_classes}, one for each class",
        )
    refuse_same_names(names)
    return tuple(str(name) for name in names)


def one_of(value: str, known: Iterable[str], option: str) -> str:
    """``value`` if it is known; the error names the nearest known one."""
    known = sorted(known)
    if value in known:
        return value
    nearest = difflib.get_close_matches(str(value), known, n=1, cutoff=0.0)
    raise InputError(
        f"unknown {option} {value!r}",
        where=option,
        expected=", ".join(known),
        fix=f"did you mean {nearest[0]!r}?" if nearest else None,
    )


def whole_number(value: Any, option: str, smallest: int, largest: int | None = None) -> int:
    """``value`` as an int from ``smallest`` to ``largest``, which None leaves open."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < smallest or (largest is not None and value > largest):
        bounds = f"of at least {smallest}" if largest is None else f"from {smallest} to {largest}"
        raise InputError(
            f"{option} is not possible here",
            where=option,
            got=value,
            expected=f"a whole number {bounds}",
        )
    return int(value)


def suits_correlation(method: str, n_clusters: object, matrix: str) -> None:
    """Let ``correlation`` find its number itself, from a matrix with entries of both signs."""
    if method != "correlation":
        return
    if n_clusters not in (None, "auto"):
        raise InputError(
            "correlation clustering finds the number of clusters itself",
            where="n_clusters",
            got=n_clusters,
            expected='None or "auto"',
            fix="choose another method, or leave n_clusters out",
        )
    if matrix == "confusion":
        raise InputError(
            "confusions are never negative: correlation clustering would join all classes",
            where="matrix",
            got=matrix,
            expected="covariance or correlation",
        )


def suits_coverage(method: str, coverage: int) -> None:
    """Let only clusters of bounded size hold a class several times."""
    if coverage > 1 and method != "balanced":
        raise InputError(
            f"{method} keeps no bound on sizes: a class cannot lie in several of its clusters",
            where="coverage",
            got=coverage,
            expected=1,
            fix="choose the method balanced, or leave coverage out",
        )


def size_ratio(value: float) -> float:
    """``max_ratio`` as a float; below 1 no clusters could keep it."""
    if not isinstance(value, int | float | np.number) or not value >= 1:
        raise InputError(
            "max_ratio is not possible", where="max_ratio", got=value, expected="a number >= 1"
        )
    return float(value)
