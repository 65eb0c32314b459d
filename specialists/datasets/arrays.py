"""How do arrays become a data set?

An .npz file holds features (numbers [n, d]) or images (uint8 [n, h, w] or [n, channels, h, w]) and
labels (whole numbers or strings [n]): ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``,
``y_test`` and perhaps ``x_validation``, ``y_validation``; ``keys`` gives other names. Or
``data.arrays`` names an .npy file for each: ``{x = "x.npy", y = "y.npy"}``; large ones are
memory-mapped and never read whole. An array of strings called ``classes``, ``class_names`` or
``target_names`` names whole-number labels. ``tensors`` names arrays in place of ``x``, or
``NAME_train`` and so on, that are taken as they are. ``split_by``
sends rows to the test by the value of an array; ``groups`` names the array whose equal values are
one observation.

Forms of labels that mean the same are taken, and told: a column [n, 1], one-hot rows [n, C], floats
that are whole numbers, bytes for strings. Anything else is refused with its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from specialists.config import DataConfig
from specialists.datasets.array_files import APART, ArrayFile, open_apart, open_arrays
from specialists.datasets.array_splits import (
    array_roles,
    group_values,
    pieces,
    split_by,
    tensor_keys,
)
from specialists.datasets.assembly import LabelledRows, assemble
from specialists.datasets.base import Dataset, NamedTensors, Preprocessing
from specialists.datasets.class_names import Classes, classes_of, classes_of_codes, labels_left_out
from specialists.datasets.encoding import check_finite, described_tensors, numeric
from specialists.datasets.handed_over import tensors_of
from specialists.datasets.naming import existing
from specialists.datasets.observations import declared_groups, shared_values
from specialists.datasets.pictures import layout_note, with_channels
from specialists.datasets.raw_rows import (
    IN_PLACE_BYTES,
    PART_OF_MEMORY,
    MappedArrays,
    digests_of,
)
from specialists.datasets.splits import LEFT_OUT, PARTS
from specialists.errors import DataError, listed
from specialists.runtime import memory

_EXACT = 2.0**53  # floats above it are whole for want of digits


def load_arrays(config: DataConfig, seed: int) -> Dataset:
    """The data set of ``config.arrays``.

    Raises DataError: no such file or array, wrong shapes or types, NaN or infinite features, or
    splits that cannot be made.
    """
    paths = {"": config.arrays} if isinstance(config.arrays, str) else dict(config.arrays or {})
    arrays = open_arrays(existing(paths[""])) if "" in paths else open_apart(paths)
    keys = {**tensor_keys(arrays, config.tensors or ()), **(config.keys or {})}
    roles = array_roles(arrays, keys)
    in_place = _is_read_in_place(arrays, roles, config)
    x, y, given, row_numbers, notes = _stacked(arrays, roles, config.tensors or (), in_place)
    if isinstance(x, MappedArrays):
        origin = None if config.in_place is False else x.origin
        x = replace(x, origin=origin)
    elif not config.tensors and x.nbytes > memory() // PART_OF_MEMORY:
        notes += (f"inputs of {x.nbytes / 2**30:,.1f} GiB are read whole; {APART}",)
    values, grouping = group_values(arrays, config.groups or (), roles, given)
    declared, alone = declared_groups(values, config.groups) if config.groups else (None, [])
    sizes = {name: int((given == part).sum()) for name, part in PARTS.items()}
    if config.split_by is not None:
        given, left = split_by(arrays, config.split_by, given)
        notes += left
    if isinstance(y, list):
        roles.pop("classes", None)
    classes = _classes(arrays, roles, y)
    excluded, left = labels_left_out(classes, config.exclude_labels, arrays.path)
    used = {*roles.values(), *grouping, (config.split_by or {}).get("array")}
    used |= {name for name in arrays if _belongs_to(name, config.tensors or ())}
    notes += (*classes.notes, *left, *alone, *_not_used(arrays, used))
    rows = LabelledRows(
        raw=x,
        labels=classes.labels,
        names=classes.names,
        given=np.where(excluded, LEFT_OUT, given),
        notes=notes,
        rows=row_numbers,
        declared=declared,
        declared_as=shared_values(config.groups),
        parts={} if "x" in roles else {name: n for name, n in sizes.items() if n},
        where=", ".join(arrays.where(name) for role, name in roles.items() if role[0] == "y"),
    )
    key = roles.get("x", roles.get("x_train")) if "" in paths else None
    files = ", ".join(dict.fromkeys(path.name for path, _ in arrays.members.values()))
    preprocessing, source = _preprocessing(x, config, key), {"arrays": files, "rows": "row"}
    return assemble(rows, config, seed, arrays.path.stem, preprocessing, source)


def _is_read_in_place(arrays: ArrayFile, roles: Mapping[str, str], config: DataConfig) -> bool:
    """Whether inputs stay in their files, which are memory-mapped; a copy of them may be kept."""
    if config.tensors:
        return False
    names = [x for x, _, _ in pieces(roles) if x in arrays]
    packed = [arrays.where(name) for name in names if arrays.members[name][1] is not None]
    if packed and config.in_place:
        what, fix = "an archive cannot be read in place", APART
        raise DataError(what, where=packed[0], expected="an .npy file of inputs", fix=fix)
    if packed:
        return False
    return config.in_place or sum(arrays.mapped(x).nbytes for x in names) > IN_PLACE_BYTES


def _stacked(
    arrays: ArrayFile, roles: Mapping[str, str], tensors: Sequence[str], in_place: bool
) -> tuple[np.ndarray | NamedTensors | MappedArrays, Any, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Inputs, labels, given parts and numbers of all rows, and notes."""
    xs, ys, given, notes, files = [], [], [], [], []
    for x_name, y_name, part in pieces(roles):
        x, y = arrays.mapped(x_name) if in_place else arrays[x_name], arrays[y_name]
        if not x.ndim or not y.ndim or len(x) != len(y):
            what = "inputs and labels do not fit together"
            got = f"{x_name} of shape {x.shape}, {y_name} of shape {y.shape}"
            raise DataError(what, where=arrays.path, got=got, expected="[n, ...] and [n]")
        if not len(x):
            notes.append(f"{arrays.where(x_name)}: no rows")
            continue
        labels, meant = _plain_labels(y, arrays.where(y_name))
        if tensors:
            part_of = x_name.removeprefix(tensors[0])
            named = {name: arrays[name + part_of] for name in tensors}
            xs.append(tensors_of(named, arrays.path))
        else:
            notes += layout_note(x, arrays.where(x_name))
            xs.append(_inputs(x, arrays.where(x_name), in_place))
        files.append(str(arrays.members[x_name][0].resolve()))
        notes += meant
        ys.append(labels)
        given.append(np.full(len(x), part))
    if not xs:
        raise DataError("no rows", where=arrays.path, got="; ".join(notes), expected="at least one")
    x = _in_one(xs, arrays.path, files if in_place else None)
    rows = np.concatenate([np.arange(len(part)) for part in given])
    return x, _concatenated(ys, arrays.path), np.concatenate(given), rows, tuple(notes)


def _in_one(
    xs: Sequence[Any], where: Path, files: Sequence[str] | None
) -> np.ndarray | NamedTensors | MappedArrays:
    """The inputs of all splits, one after another; in ``files`` if they stay there."""
    shapes = [described_tensors(x) if isinstance(x, NamedTensors) else x.shape[1:] for x in xs]
    if any(shape != shapes[0] for shape in shapes):
        raise DataError("the splits differ in shape", where=where, got=listed(map(str, shapes)))
    if files is not None:
        found = [digests_of(MappedArrays([x]), file) for x, file in zip(xs, files, strict=True)]
        return MappedArrays(xs, {"arrays": files}, np.concatenate(found))
    if len(xs) == 1:
        return xs[0]
    if isinstance(xs[0], NamedTensors):
        return NamedTensors.concatenated(xs)
    return np.concatenate(xs)


def _belongs_to(name: str, tensors: Sequence[str]) -> bool:
    return any(name in (tensor, *(f"{tensor}_{part}" for part in PARTS)) for tensor in tensors)


def _inputs(x: np.ndarray, where: str, in_place: bool) -> np.ndarray:
    """Finite float32 features [n, d], or uint8 images [n, channels, h, w].

    What is read ``in_place`` is only looked at: features may be any numbers.
    """
    if x.ndim == 1:
        what = "inputs of one dimension"
        got = f"shape {x.shape}"
        fix = "store a single feature as [n, 1]"
        raise DataError(what, where=where, got=got, expected="features [n, d] or images", fix=fix)
    if x.ndim > 2:
        images = with_channels(np.asarray(x), where)
        return images if in_place else np.ascontiguousarray(images)
    features = numeric(x, where)
    if not features.shape[1]:
        raise DataError("inputs without features", where=where, got=f"shape {x.shape}")
    if in_place:
        return features
    check_finite(features, where)
    return np.ascontiguousarray(features, dtype=np.float32)


def _preprocessing(
    x: np.ndarray | NamedTensors | MappedArrays, config: DataConfig, key: str | None
) -> Preprocessing:
    """How inputs like those of an array are encoded."""
    if isinstance(x, NamedTensors):
        return described_tensors(x)
    if x.ndim == 2:
        about = {"kind": "features", "n_features": x.shape[1], "mean": None, "std": None}
        return {**about, "key": key}
    channels, height, width = x.shape[1:]
    size = {"height": config.image_size or height, "width": config.image_size or width}
    return {"kind": "images", "channels": channels, **size, "key": key}


def _classes(arrays: ArrayFile, roles: Mapping[str, str], y: Any) -> Classes:
    """The classes of the labels, which ``classes`` names where they are numbers."""
    labels_in = arrays.where(roles.get("y", roles.get("y_train", "")))
    if "classes" not in roles:
        return classes_of(y, labels_in)
    where = arrays.where(roles["classes"])
    names = arrays[roles["classes"]]
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        what = "names of classes are neither strings nor whole numbers"
        got = f"{names.dtype} of shape {names.shape}"
        expected = "[n_classes], a name for each label from 0"
        raise DataError(what, where=where, got=got, expected=expected)
    return classes_of_codes(y, names.tolist(), where)


def _not_used(arrays: ArrayFile, used: Set[str | None]) -> tuple[str, ...]:
    left = [*(name for name in arrays if name not in used), *arrays.others]
    notes = [f"arrays not used: {listed(left)}"] if left else []
    notes += [
        f"the array {name!r} may say which row is of which split: "
        f'data.split_by = {{array = "{name}", test = [...]}} uses it'
        for name in left
        if name.casefold() in ("split", "splits", "subset", "partition")
    ]
    return tuple(notes)


def _plain_labels(y: np.ndarray, where: str) -> tuple[np.ndarray | list[Any], tuple[str, ...]]:
    """Labels of shape (n,), booleans, int64, or a list of str or bytes; notes on their form."""
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
        what = f"labels that are neither whole numbers nor strings ({int((~whole).sum())})"
        fix = "labels name classes; numbers to be predicted as such are another task"
        raise DataError(what, where=f"{where}, row {row}", got=y[row], fix=fix)


def _concatenated(parts: Sequence[np.ndarray | list[Any]], where: Path) -> np.ndarray | list[Any]:
    """The labels of all splits, one after another."""
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
