"""Predicted probabilities of any model: what does a file of them hold?

    .npy       one matrix, a row for each row of the data, a column for each class
    .npz       one such matrix, called ``probs``; or one for each split: ``train``, ``validation``,
               ``test``, and ``admission`` where a run has put such rows aside
    .parquet   a column for each class, under its name

``classes`` in an .npz, or a file beside it (:mod:`specialists.networks.output_names`), names the
columns. ``row`` (from 0), ``line`` (from 1) or ``path`` (of an image) says which row of the data
each row is of; without one they are in the order of the data. Logarithms of probabilities will do.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.array_files import ArrayFile, open_arrays
from specialists.datasets.class_names import class_name
from specialists.datasets.naming import existing
from specialists.datasets.splits import PARTS, SPLIT_NAMES
from specialists.errors import DataError, InputError, calling, listed
from specialists.networks.output_names import CLASSES_KEY, ENTRIES, names_of_outputs

IDS = ("row", "line", "path")
WHOLE = ("probs", "probabilities", "predictions", "log_probs")
INDEX = "__index_level_"  # what pandas calls an index without a name
SPLITS = {**SPLIT_NAMES, "admission": len(PARTS)}
FORMATS = ".npy, .npz or .parquet"


@dataclass(frozen=True)
class PredictionFile:
    """Probabilities in a file; a matrix is read where it is asked for.

    Parameters
    ----------
    path : Path
    parts : mapping
        An array (n, n_columns) for each split, or one called "" for all rows.
    columns : list of int, optional
        The column of each class of the data. None: as the data have them.
    ids : (str, array of shape (n,)), optional
        One of ``IDS`` and its values.
    notes : tuple of str
    """

    path: Path
    parts: Mapping[str, np.ndarray]
    columns: list[int] | None
    ids: tuple[str, np.ndarray] | None = None
    notes: tuple[str, ...] = ()


def read_prediction_file(
    path: str | Path, class_names: Sequence[str], given: str | Sequence[str | int] | None = None
) -> PredictionFile:
    """The probabilities of a file, its columns matched with the classes of the data.

    Parameters
    ----------
    class_names : sequence of str
        Of the data, in their order.
    given : path or sequence of names, optional
        ``generalist.classes``: the names of the columns, in their order.

    Raises
    ------
    InputError
        If the file cannot be read, or its columns are other classes than the data's.
    """
    file = existing(path)
    if file.suffix.lower() in (".parquet", ".pq"):
        return _from_parquet(file, class_names, given)
    with calling({"expected: .npz or .npy": f"expected: {FORMATS}"}):
        arrays = open_arrays(file)
    ids = _ids_among(arrays)
    entries = {name: arrays[name].tolist() for name in ENTRIES if name in arrays}
    parts = _matrices(arrays, {*entries, *(ids or ())})
    names, source = names_of_outputs(file, entries, given)
    columns, note = matched_columns(names, source or str(file), class_names)
    number = None if ids is None else (ids[0], arrays[ids[1]])
    return PredictionFile(file, parts, columns, number, (note,))


def matched_columns(
    names: Sequence[str] | None, source: str, class_names: Sequence[str]
) -> tuple[list[int] | None, str]:
    """The column of each class, and how it was found; None: as the data have them."""
    if names is None:
        numbers = [str(i) for i in range(len(class_names))]
        if set(numbers) == set(class_names):
            return column_of_each(numbers, class_names, source), "its columns are numbered classes"
        first = listed(map(repr, class_names), 5)
        return None, (
            f"its columns are taken in the data's (sorted) order of classes: {first}; an array "
            f"'classes' in the file, or {CLASSES_KEY}, names another order"
        )
    order = column_of_each(names, class_names, source)
    return order, f"its columns are matched with the classes by name ({source})"


def column_of_each(
    known: Sequence[Hashable], wanted: Sequence[Hashable], where: object = None
) -> list[int]:
    """The place among ``known`` of each of ``wanted``.

    Raises
    ------
    InputError
        If they are not the same classes, each once.
    """
    place = {label: i for i, label in enumerate(known)}
    missing = [repr(label) for label in wanted if label not in place]
    ours = set(wanted)
    foreign = [repr(label) for label in place if label not in ours]
    twice = [repr(label) for i, label in enumerate(known) if place[label] != i]
    told = {"missing": missing, "unknown": foreign, "more than once": twice}
    if any(told.values()):
        raise InputError(
            "the predictions are of other classes than the data",
            where=where,
            got="; ".join(f"{what}: {listed(labels)}" for what, labels in told.items() if labels),
            expected=f"a column for each of the data's {len(wanted)} classes",
            fix="classes with few rows are left out of the data (data.min_examples); "
            "leave their columns out and divide the others by their sum"
            if foreign and not missing
            else None,
        )
    return [place[label] for label in wanted]


def _ids_among(names: Sequence[str] | ArrayFile) -> tuple[str, str] | None:
    """Which kind of numbers of rows there is, and what it is called."""
    pairs = ((kind, name) for kind in IDS for name in (kind, f"{kind}s"))
    return next((pair for pair in pairs if pair[1] in names), None)


def _matrices(arrays: ArrayFile, others: set[str]) -> dict[str, np.ndarray]:
    left = [name for name in arrays if name not in others]
    named = {name: name.removeprefix("probs_").casefold() for name in left}
    if left and all(split in SPLITS for split in named.values()):
        by_number = {number: name for name, number in [*PARTS.items(), ("admission", len(PARTS))]}
        return {by_number[SPLITS[split]]: _mapped(arrays, name) for name, split in named.items()}
    whole = [name for name in left if name in WHOLE] or left
    if len(whole) != 1:
        raise DataError(
            "which array holds the probabilities?",
            where=arrays.path,
            got=f"the arrays {listed(arrays)}",
            expected="'probs', or one for each split: 'train', 'validation', 'test'",
        )
    return {"": _mapped(arrays, whole[0])}


def _mapped(arrays: ArrayFile, name: str) -> np.ndarray:
    """An array, which an .npy need not be read for."""
    path, member = arrays.members[name]
    if member is None:
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception:  # on damaged bytes it may raise anything; the line below says what is so
            pass
    return arrays[name]


def _from_parquet(
    path: Path, class_names: Sequence[str], given: str | Sequence[str | int] | None
) -> PredictionFile:
    table = _table(path)
    names = [n for n in table.column_names if not n.startswith(INDEX)]
    ids = _ids_among([name for name in names if name not in class_names])
    numeric = [n for n in names if _is_number(table, n) and n not in (ids or ())]
    unused = [n for n in names if n not in numeric and n not in (ids or ())]
    matrix = np.empty((table.num_rows, len(numeric)), dtype=np.float32)
    for i, name in enumerate(numeric):
        matrix[:, i] = table.column(name).to_numpy()
    if given is None:
        named, source = [class_name(name, path) for name in numeric], str(path)
    else:
        named, source = names_of_outputs(path, {}, given)
    columns, note = matched_columns(named, source, class_names)
    notes = [note, *([f"columns of {path.name} not used: {listed(unused)}"] if unused else [])]
    number = None if ids is None else (ids[0], np.array(table.column(ids[1]).to_pylist()))
    return PredictionFile(path, {"": matrix}, columns, number, tuple(notes))


def _table(path: Path) -> Any:
    """A pyarrow.Table."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        fix = "pip install 'specialist-distillation[parquet]'"
        raise DataError("Parquet needs pyarrow", fix=fix) from error
    try:
        return parquet.read_table(path, memory_map=True)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError("the file cannot be read", where=path, got=reason[:200]) from error


def _is_number(table: Any, name: str) -> bool:
    from pyarrow import types

    kind = table.schema.field(name).type
    return types.is_floating(kind) or types.is_integer(kind)
