"""Which arrays of a file hold inputs and labels of which split, and which row goes where?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from specialists.datasets.array_files import ArrayFile
from specialists.datasets.splits import LEFT_OUT, PARTS, TRAIN
from specialists.errors import DataError, listed

ROLES = ("x", "y", "classes", *(f"{role}_{part}" for part in PARTS for role in "xy"))


def array_roles(arrays: ArrayFile, named: Mapping[str, str]) -> dict[str, str]:
    """The array in each role: as ``data.keys`` names it, or called like the role, case ignored.

    Raises DataError: ``named`` holds an unknown role or array, or there are no inputs or no labels.
    """
    for role, name in named.items():
        if role not in ROLES:
            raise DataError(f"data.keys knows no {role!r}", got=role, expected=", ".join(ROLES))
        arrays.check(name)
    roles = dict(named)
    for role in ROLES:
        name = _called(role, arrays)
        if role not in roles and name is not None and _fits(role, named):
            roles[role] = name
    whole, parted = {"x", "y"} & set(roles), {"x_train", "y_train"} & set(roles)
    if len(whole) < 2 and len(parted) < 2:
        expected = "x and y, or x_train, y_train, x_test, y_test"
        fix = 'name them: data.keys = {x = "...", y = "..."}'
        what, where = "no inputs and labels found", arrays.path
        got = f"the arrays {', '.join(arrays)}"
        raise DataError(what, where=where, got=got, expected=expected, fix=fix)
    return {r: n for r, n in roles.items() if r == "classes" or ("_" in r) == (len(whole) < 2)}


def tensor_keys(arrays: ArrayFile, tensors: Sequence[str]) -> dict[str, str]:
    """The first of some tensors in the place of x, or of x_train, x_test; the others go with it."""
    if not tensors or (first := tensors[0]) in arrays:
        return {"x": tensors[0]} if tensors else {}
    parts = {f"x_{part}": f"{first}_{part}" for part in PARTS if f"{first}_{part}" in arrays}
    if not parts:
        arrays.check(first)
    return parts


def pieces(roles: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Names of inputs and labels that belong together, and their part."""
    if "x" in roles:
        return [(roles["x"], roles["y"], TRAIN)]
    both = [(f"x_{part}", f"y_{part}", i) for part, i in PARTS.items()]
    return [(roles.get(x, x), roles.get(y, y), i) for x, y, i in both if {x, y} & set(roles)]


def split_by(
    arrays: ArrayFile, wanted: Mapping[str, object], given: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The part of every row by the values of an array, and a note on rows that are in none.

    Raises DataError: ``data.split_by`` is not understood, or no row has one of its values.
    """
    name = wanted.get("array")
    if not isinstance(name, str) or set(wanted) - {"array", *PARTS}:
        expected = '{array = "name", test = [values], validation = [values] (optional)}'
        raise DataError("data.split_by is not understood", got=dict(wanted), expected=expected)
    if (given != TRAIN).any():
        what = "data.split_by on arrays that are split already"
        raise DataError(what, where=arrays.path, fix="remove split_by")
    values = arrays[name]
    if values.shape != given.shape:
        what, got = "data.split_by needs one value a row", values.shape
        raise DataError(what, where=arrays.where(name), got=got, expected=given.shape)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "backslashreplace")
    given = np.full(len(given), LEFT_OUT if "train" in wanted else TRAIN)
    for part in set(PARTS) & set(wanted):
        given[_rows_with(values, wanted[part], part, arrays.where(name))] = PARTS[part]
    n = int((given == LEFT_OUT).sum())
    note = f"rows left out ({n}), since data.split_by names no split for their value of {name!r}"
    return given, (note,) if n else ()


def group_values(
    arrays: ArrayFile, wanted: Sequence[str], roles: Mapping[str, str], given: np.ndarray
) -> tuple[list[list[Any]], list[str]]:
    """The values of each array that ``data.groups`` names, one a row, and the arrays they are in.

    Where inputs lie in ``x_train``, ``x_test``, the values lie in ``NAME_train``, ``NAME_test``.

    Raises DataError: there is no such array, or it does not hold one value a row.
    """
    values, names = [[] for _ in wanted], []
    for i, (_, _, part) in itertools.product(range(len(wanted)), pieces(roles)):
        named = wanted[i] if "x" in roles else f"{wanted[i]}_{list(PARTS)[part]}"
        name, n = _called(named, arrays) or named, int((given == part).sum())
        arrays.check(name)
        array = arrays[name]
        if array.shape != (n,):
            what, got = "data.groups needs one value a row", f"shape {array.shape}"
            raise DataError(what, where=arrays.where(name), got=got, expected=f"({n},)")
        values[i] += array.tolist()
        names.append(name)
    return values, names


def _rows_with(values: np.ndarray, wanted: Any, part: str, where: str) -> np.ndarray:
    wanted = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    same = np.array([np.broadcast_to(values == value, len(values)) for value in wanted], dtype=bool)
    missing = [value for value, rows in zip(wanted, same, strict=True) if not rows.any()]
    if missing:
        what = f"data.split_by: no row has the values for {part}"
        got = listed(missing)
        raise DataError(what, where=where, got=got, expected=listed(np.unique(values).tolist()))
    return np.flatnonzero(same.reshape(len(wanted), len(values)).any(axis=0))


def _called(name: str, arrays: ArrayFile) -> str | None:
    """The array of this name or an alias, exactly or but for the case of letters."""
    names = [name]
    if name.endswith("_validation"):
        names += [name.removesuffix("idation"), name.removesuffix("ation")]
    if name == "classes":
        names += ["class_names", "target_names"]
    folded = {array.casefold(): array for array in arrays}
    exact = (name for name in names if name in arrays)
    return next(itertools.chain(exact, (folded[name] for name in names if name in folded)), None)


def _fits(role: str, named: Mapping[str, str]) -> bool:
    """Where some arrays are named, others are only guessed in the same form (x, or x_train ..)."""
    forms = {"_" in other for other in named if other != "classes"}
    return role == "classes" or not forms or ("_" in role) in forms
