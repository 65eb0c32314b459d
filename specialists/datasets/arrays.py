"""How does an .npz file become a data set?

It holds features (numbers [n, d]) or images (uint8 [n, h, w] or [n, channels, h, w]) and labels
(integers or strings [n]): ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test`` and
perhaps ``x_validation``, ``y_validation``; ``keys`` gives other names. An array of strings called
``classes`` names integer labels. ``split_by`` sends rows to the test by the value of an array.
Arrays of Python objects are refused: reading them would mean executing them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.assembly import Rows, assemble, numbered, same_input
from specialists.datasets.base import Dataset
from specialists.datasets.encoding import check_finite, numeric
from specialists.datasets.files import existing, nearest
from specialists.datasets.pixels import with_channels
from specialists.datasets.splits import TEST, TRAIN, VALIDATION, listed
from specialists.errors import DataError

_PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
_ALIASES = {"x_validation": ("x_val", "x_valid"), "y_validation": ("y_val", "y_valid")}
ROLES = ("x", "y", "classes", *(f"{role}_{part}" for part in _PARTS for role in "xy"))


def load_arrays(config: Any, seed: int) -> Dataset:
    """The data set of ``config.arrays``.

    Raises
    ------
    DataError
        No such file or array, wrong shapes or types, NaN or infinite features, or splits that
        cannot be made.
    """
    path = existing(config.arrays)
    arrays = read_npz(path)
    keys = _keys(arrays, config.keys or {}, path)
    x, y, given = _stacked(arrays, keys, path)
    if config.split_by is not None:
        given = _split_by(arrays, config.split_by, given, path)
    y, names, excluded = _named(arrays, keys, y, config.exclude_labels, path)
    given = np.where(excluded, -1, given)
    preprocessing, x = array_preprocessing(x, config, path)
    preprocessing["key"] = keys.get("x", keys.get("x_train"))
    kind = preprocessing["kind"]
    told = ", ".join(config.exclude_labels)
    notes = (f"{int(excluded.sum())} rows with the labels {told} left out",) if told else ()
    rows = Rows(x, y, names, same_input(x), given, None, notes)
    return assemble(
        rows,
        config,
        seed,
        name=path.stem,
        kind=kind,
        preprocessing=preprocessing,
        source={"arrays": path.name},
    )


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file; an .npy file is one array called ``x``.

    Raises
    ------
    DataError
        No such format, or an array of Python objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: _plain_array(loaded, name, path) for name in loaded.files}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            "the file holds no plain NumPy arrays",
            where=path,
            got=f"a file that gives {type(error).__name__}",
            expected=".npz or .npy",
        ) from error


def _plain_array(loaded: Any, name: str, path: Path) -> np.ndarray:
    try:
        return loaded[name]
    except ValueError as error:
        raise DataError(
            f"array {name!r} is ragged or holds Python objects",
            where=path,
            got="dtype object, which cannot be read without executing it",
            expected="numbers or strings of one shape",
            fix="store rows of equal length, and strings as dtype U",
        ) from error


def array_preprocessing(
    x: np.ndarray, config: Any, where: object = None
) -> tuple[dict[str, Any], np.ndarray]:
    """Kind of input that an array holds, and the array in the form that ``encode`` takes."""
    if x.ndim == 2:
        features = numeric(x, where)
        check_finite(features, where)
        return {
            "kind": "features",
            "n_features": features.shape[1],
            "mean": None,
            "std": None,
        }, features.astype(np.float32)
    images = with_channels(x, where)
    height, width = images.shape[2:]
    size = config.image_size
    return {
        "kind": "images",
        "channels": images.shape[1],
        "height": size or height,
        "width": size or width,
    }, images


def _keys(arrays: Mapping[str, np.ndarray], named: Mapping[str, str], path: Path) -> dict[str, str]:
    for role, name in named.items():
        if role not in ROLES:
            raise DataError(f"data.keys knows no {role!r}", got=role, expected=", ".join(ROLES))
        _array(arrays, name, path)
    keys = dict(named)
    for role in ROLES:
        names = (role, *_ALIASES.get(role, ()))
        found = next((name for name in names if name in arrays), None)
        if role not in keys and found is not None and _fits(role, named):
            keys[role] = found
    whole, parted = {"x", "y"} & set(keys), {"x_train", "y_train"} & set(keys)
    if len(whole) < 2 and len(parted) < 2:
        raise DataError(
            "no inputs and labels found",
            where=path,
            got=f"the arrays {', '.join(arrays)}",
            expected="x and y, or x_train, y_train, x_test, y_test",
            fix='name them: data.keys = {x = "...", y = "..."}',
        )
    return {r: n for r, n in keys.items() if r == "classes" or ("_" in r) == (len(whole) < 2)}


def _fits(role: str, named: Mapping[str, str]) -> bool:
    """Where some arrays are named, others are only guessed in the same form (x, or x_train ..)."""
    forms = {"_" in other for other in named if other != "classes"}
    return role == "classes" or not forms or ("_" in role) in forms


def _array(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if name not in arrays:
        near = nearest(name, arrays)
        raise DataError(
            f"no array {name!r}",
            where=path,
            got=f"the arrays {', '.join(arrays)}",
            fix=f"did you mean {near!r}?" if near else None,
        )
    return arrays[name]


def _stacked(
    arrays: Mapping[str, np.ndarray], keys: Mapping[str, str], path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, labels and given parts of all rows."""
    if "x" in keys:
        pieces = [("x", "y", TRAIN)]
    else:
        pieces = [(f"x_{part}", f"y_{part}", i) for part, i in _PARTS.items()]
        pieces = [piece for piece in pieces if piece[0] in keys or piece[1] in keys]
    xs, ys, given = [], [], []
    for x_role, y_role, part in pieces:
        x, y = (_array(arrays, keys.get(role, role), path) for role in (x_role, y_role))
        if y.ndim != 1 or len(x) != len(y):
            raise DataError(
                "inputs and labels do not fit together",
                where=path,
                got=f"{keys[x_role]} of shape {x.shape}, {keys[y_role]} of shape {y.shape}",
                expected="[n, ...] and [n]",
            )
        xs.append(x)
        ys.append(y)
        given.append(np.full(len(y), part))
    if len({x.shape[1:] for x in xs}) > 1 or len({y.dtype.kind for y in ys}) > 1:
        raise DataError(
            "the splits differ in shape or type",
            where=path,
            got=", ".join(f"{x.shape} with labels {y.dtype}" for x, y in zip(xs, ys, strict=True)),
        )
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(given)


def _named(
    arrays: Mapping[str, np.ndarray],
    keys: Mapping[str, str],
    y: np.ndarray,
    exclude: tuple[str, ...],
    path: Path,
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Labels as indices, their names, and which rows have an excluded label."""
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.dtype.kind not in "iuUb":
        raise DataError(
            "labels are neither integers nor strings", where=path, got=f"dtype {y.dtype}"
        )
    labels, names = numbered(y)
    classes = arrays.get(keys.get("classes", ""))
    if classes is not None and y.dtype.kind in "iu" and classes.dtype.kind in "US":
        if y.min(initial=0) < 0 or y.max(initial=0) >= len(classes):
            raise DataError(
                "a label has no name",
                where=f"{path}, array {keys['classes']!r}",
                got=f"labels {y.min()} to {y.max()}, {len(classes)} names",
            )
        names = tuple(str(classes[int(value)]) for value in names)
    for label in exclude:
        if label not in names:
            near = nearest(label, names)
            raise DataError(
                f"data.exclude_labels names {label!r}, which is no label",
                where=path,
                fix=f"did you mean {near!r}?" if near else None,
            )
    return labels, names, np.isin(np.array(names), list(exclude))[labels]


def _split_by(
    arrays: Mapping[str, np.ndarray], split_by: Mapping[str, Any], given: np.ndarray, path: Path
) -> np.ndarray:
    unknown = set(split_by) - {"array", "train", "validation", "test"}
    if "array" not in split_by or unknown:
        raise DataError(
            "data.split_by is not understood",
            got=dict(split_by),
            expected='{array = "name", test = [values], validation = [values] (optional)}',
        )
    if (given != TRAIN).any():
        raise DataError(
            "data.split_by on arrays that are split already", where=path, fix="remove split_by"
        )
    values = _array(arrays, split_by["array"], path)
    if values.shape != given.shape:
        raise DataError(
            "data.split_by needs one value a row",
            where=f"{path}, array {split_by['array']!r}",
            got=values.shape,
            expected=given.shape,
        )
    given = np.full(len(given), -1 if "train" in split_by else TRAIN)
    for part, wanted in split_by.items():
        if part == "array":
            continue
        missing = [value for value in wanted if not (values == value).any()]
        if missing:
            raise DataError(
                f"data.split_by: no row has the values for {part}",
                where=f"{path}, array {split_by['array']!r}",
                got=listed([str(value) for value in missing]),
                expected=listed([str(value) for value in np.unique(values)]),
            )
        given[np.isin(values, wanted)] = _PARTS[part]
    return given
