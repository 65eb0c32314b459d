"""How is a file of new inputs without labels read, in the form of the training data?

text      .txt (one string a line), or a table with the text column; plain or .gz
features  .npy, or .npz with the array that training used (or the only one), or a table with the
          columns that training used
images    an image file, a folder of them, or .npy/.npz of uint8 images
tensors   .npz with the arrays that training used (NAME or NAME_test), or .npy of the only one

One row in, one row out, in order: a blank line or cell is an empty text. Suffixes may be in
capitals.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.array_files import ARRAY_SUFFIXES, open_arrays
from specialists.datasets.base import Inputs, Preprocessing
from specialists.datasets.cells import Table
from specialists.datasets.encoding import check_complete, encode
from specialists.datasets.handed_over import tensors_of
from specialists.datasets.image_folders import list_images
from specialists.datasets.labelled_tables import feature_matrix
from specialists.datasets.naming import existing
from specialists.datasets.pictures import IMAGE_SUFFIXES, READ
from specialists.datasets.table_files import READERS, TABLE_FORMATS, read_table, swallowed_rows
from specialists.datasets.text_files import lines, read_text, suffix
from specialists.errors import DataError, DataWarning


def read_unlabelled(
    path: str | Path, preprocessing: Preprocessing
) -> tuple[Inputs, tuple[str, ...]]:
    """Read and encode the inputs of a file or folder.

    Returns
    -------
    inputs : Tensor, Ragged or NamedTensors of n rows
    names : tuple of str, length n
        For people: the text, the image's path, or the row's number.

    Raises
    ------
    DataError
        No such file, another kind of input than training's, or nothing in it.
    """
    path = existing(path)
    check_complete(preprocessing)
    readers = {"text": _texts, "features": _features, "images": _images, "tensors": _tensors}
    raw, names = readers[preprocessing["kind"]](path, preprocessing)
    if not len(names):
        raise DataError("no inputs", where=path, expected="at least one")
    try:
        return encode(preprocessing, raw), tuple(names)
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{error}\n  in: {path}") from None


def _texts(path: Path, preprocessing: Preprocessing) -> tuple[list[str], list[str]]:
    if suffix(path) == "txt":
        texts = lines(read_text(path))
    elif suffix(path) in READERS:
        column = preprocessing.get("column", "text")
        table = _new_table(path, preprocessing, [column])
        texts = table.strings(table.column(column))
    else:
        raise DataError("not a file of texts", where=path, expected=f".txt, {TABLE_FORMATS}")
    return texts, texts


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


def _features(path: Path, preprocessing: Preprocessing) -> tuple[np.ndarray, list[str]]:
    names = preprocessing.get("features")
    if names is None or suffix(path) not in READERS:
        return _array(path, preprocessing)
    table = _new_table(path, preprocessing, names)
    features = feature_matrix(table, [table.column(name) for name in names])
    return features, list(map(str, range(len(features))))


def _array(path: Path, preprocessing: Preprocessing) -> tuple[np.ndarray, list[str]]:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError("not a file of arrays", where=path, expected=".npz or .npy")
    arrays = open_arrays(path)
    wanted = preprocessing.get("key") or "x"
    usual = (name for name in (wanted, "x", "x_test") if name in arrays)
    name = next(usual, next(iter(arrays)) if len(arrays) == 1 else wanted)
    array = arrays[name]
    if not array.ndim:
        raise DataError("a single value", where=arrays.where(name), expected="one input a row")
    return array, list(map(str, range(len(array))))


def _tensors(path: Path, preprocessing: Preprocessing) -> tuple[Any, list[str]]:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError("not a file of arrays", where=path, expected=".npz or .npy")
    arrays, wanted = open_arrays(path), list(preprocessing["tensors"])
    if len(arrays) == len(wanted) == 1:
        named = {wanted[0]: arrays[next(iter(arrays))]}
    else:
        named = {n: arrays[n if n in arrays else f"{n}_test"] for n in wanted}
    tensors = tensors_of(named, path)
    return tensors, list(map(str, range(len(tensors))))


def _images(path: Path, preprocessing: Preprocessing) -> tuple[Any, list[str]]:
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _array(path, preprocessing)
    if path.is_dir():
        files, notes = list_images(path)
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=3)
        return files, [file.relative_to(path).as_posix() for file in files]
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return [path], [path.name]
    raise DataError("not an image", where=path, expected=f"{READ}, a folder of them, .npz or .npy")
