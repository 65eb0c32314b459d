"""How is a file of new inputs without labels read, in the form of the training data?

text      .txt (one string a line), or a table with the text column; plain or .gz
features  .npy, or .npz with the array that training used (or the only one), or a table with the
          columns that training used
images    an image file, a folder of them, or .npy/.npz of uint8 images
tensors   .npz with the arrays that training used (NAME or NAME_test), or .npy of the only one

One row in, one row out, in order: a blank line or cell is an empty text. Suffixes may be in
capitals. A large .npy may be read where it lies, as it is in training.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from specialists.config.toml import IMAGE_SUFFIXES
from specialists.datasets.array_files import ARRAY_SUFFIXES, open_arrays
from specialists.datasets.base import Inputs, Preprocessing
from specialists.datasets.cells import Table
from specialists.datasets.encoding import check_complete, encode
from specialists.datasets.handed_over import tensors_of
from specialists.datasets.image_folders import list_images
from specialists.datasets.labelled_tables import feature_matrix
from specialists.datasets.naming import existing
from specialists.datasets.pictures import READ
from specialists.datasets.raw_rows import fetched_rows, mapped_rows
from specialists.datasets.table_files import (
    FILL_IT,
    READERS,
    TABLE_FORMATS,
    read_table,
    swallowed_rows,
)
from specialists.datasets.text_files import lines, read_text, suffix
from specialists.errors import DataError, DataWarning


class RowNumbers(Sequence[str]):
    """The numbers of n rows as text, which take no memory until they are asked for."""

    def __init__(self, n_rows: int) -> None:
        self.rows = range(n_rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        found = self.rows[index]
        return str(found) if isinstance(found, int) else tuple(map(str, found))


def read_unlabelled(
    path: str | Path, preprocessing: Preprocessing, in_place: bool = False
) -> tuple[Inputs, Sequence[str]]:
    """Read and encode the inputs of a file or folder.

    Parameters
    ----------
    path : path
    preprocessing : mapping
        That of the training data.
    in_place : bool
        Whether an .npy of more than 256 MiB stays in its file; then each row is encoded, and
        checked, when it is read.

    Returns
    -------
    inputs : Tensor, Ragged, NamedTensors or FetchedRows of n rows
    names : sequence of str, length n
        For people: the text, the image's path, or the row's number.

    Raises
    ------
    DataError
        No such file, another kind of input than training's, or nothing in it.
    """
    check_complete(preprocessing)
    try:
        path = existing(path)
    except DataError:
        if preprocessing["kind"] != "text" or suffix(Path(path)) in ("txt", *READERS):
            raise
        fix = "write the texts into a file, one a line, for instance new.txt, and name that file"
        raise DataError("no such file", where=path, fix=fix) from None
    readers = {"text": _texts, "features": _features, "images": _images, "tensors": _tensors}
    raw, names = readers[preprocessing["kind"]](path, preprocessing)
    if not len(names):
        raise DataError("no inputs", where=path, expected="at least one", fix=FILL_IT)
    rows = mapped_rows(raw, None if in_place else False)
    try:
        if rows is None:
            plain = np.array(raw) if isinstance(raw, np.memmap) else raw
            return encode(preprocessing, plain), names
        encode(preprocessing, rows.read(np.arange(1)))  # whose shape is that of all
        return fetched_rows(rows, preprocessing), names
    except DataError as error:
        if str(path) not in str(error):
            error.args = (_placed(str(error), path),)
        raise


def _placed(told: str, path: Path) -> str:
    """What an error says, which knows no file, with its file."""
    what, where, rest = told.partition("\n  where: ")
    if where:
        return f"{what}{where}{path}, {rest}"
    what, end, rest = told.partition("\n")
    return f"{what}\n  where: {path}{end}{rest}"


def _texts(path: Path, preprocessing: Preprocessing) -> tuple[list[str], tuple[str, ...]]:
    if suffix(path) == "txt":
        texts = lines(read_text(path))
    elif suffix(path) in READERS:
        column = preprocessing.get("column", "text")
        table = _new_table(path, preprocessing, [column])
        texts = table.strings(table.column(column))
    else:
        raise DataError("not a file of texts", where=path, expected=f".txt, {TABLE_FORMATS}")
    return texts, tuple(texts)


def _new_table(path: Path, preprocessing: Preprocessing, wanted: Sequence[str]) -> Table:
    """A table; one without a header is known by having as many columns as training's."""
    table, columns = read_table(path), preprocessing.get("columns")
    if columns and len(table.names) == len(columns) and any(table.find(n) is None for n in wanted):
        table = read_table(path, columns)
    if swallowed := swallowed_rows(table):
        what = f"{len(swallowed)} quoted cells hold lines that look like rows"
        message = f"{what}: is a quotation mark unbalanced? {table.place(swallowed)}"
        warnings.warn(message, DataWarning, stacklevel=5)
    return table


def _features(path: Path, preprocessing: Preprocessing) -> tuple[np.ndarray, Sequence[str]]:
    names = preprocessing.get("features")
    if names is None or suffix(path) not in READERS:
        return _array(path, preprocessing)
    table = _new_table(path, preprocessing, names)
    features = feature_matrix(table, [table.column(name) for name in names])
    return features, RowNumbers(len(features))


def _array(path: Path, preprocessing: Preprocessing) -> tuple[np.ndarray, Sequence[str]]:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError("not a file of arrays", where=path, expected=".npz or .npy")
    arrays = open_arrays(path)
    wanted = preprocessing.get("key") or "x"
    usual = (name for name in (wanted, "x", "x_test") if name in arrays)
    name = next(usual, next(iter(arrays)) if len(arrays) == 1 else wanted)
    array = arrays.mapped(name)
    if not array.ndim:
        raise DataError("a single value", where=arrays.where(name), expected="one input a row")
    return array, RowNumbers(len(array))


def _tensors(path: Path, preprocessing: Preprocessing) -> tuple[Any, Sequence[str]]:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError("not a file of arrays", where=path, expected=".npz or .npy")
    arrays, wanted = open_arrays(path), list(preprocessing["tensors"])
    if len(arrays) == len(wanted) == 1:
        named = {wanted[0]: arrays[next(iter(arrays))]}
    else:
        named = {n: arrays[n if n in arrays else f"{n}_test"] for n in wanted}
    tensors = tensors_of(named, path)
    return tensors, RowNumbers(len(tensors))


def _images(path: Path, preprocessing: Preprocessing) -> tuple[Any, Sequence[str]]:
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _array(path, preprocessing)
    if path.is_dir():
        files, notes = list_images(path)
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=3)
        return files, tuple(file.relative_to(path).as_posix() for file in files)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return [path], (path.name,)
    raise DataError("not an image", where=path, expected=f"{READ}, a folder of them, .npz or .npy")
