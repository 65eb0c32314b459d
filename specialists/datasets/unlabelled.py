"""How is a file of new inputs without labels read, in the form of the training data?

text      .txt (one string a line), or a table with the text column; plain or .gz
features  .npy, or .npz with the array that training used (or the only one), or a table with the
          columns that training used
images    a PNG or JPEG, a folder of them, or .npy/.npz of uint8 images

One row in, one row out, in order: a blank line or cell is an empty text.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.arrays import read_npz
from specialists.datasets.base import Inputs
from specialists.datasets.cells import Table
from specialists.datasets.delimited import swallowed_rows
from specialists.datasets.encoding import encode
from specialists.datasets.files import existing, nearest
from specialists.datasets.images import image_files
from specialists.datasets.pixels import SUFFIXES as IMAGE_SUFFIXES
from specialists.datasets.tables import FORMATS, READERS, feature_matrix, read_table
from specialists.datasets.text_files import lines, read_text, suffix
from specialists.errors import DataError, DataWarning


def read_unlabelled(
    path: str | Path, preprocessing: Mapping[str, Any]
) -> tuple[Inputs, tuple[str, ...]]:
    """Read and encode the inputs of a file or folder.

    Returns
    -------
    inputs : Tensor or Ragged of n rows
    names : tuple of str, length n
        For people: the text, the image's path, or the row's number.

    Raises
    ------
    DataError
        No such file, another kind of input than training's, or nothing in it.
    """
    path = existing(path)
    readers = {"text": _texts, "features": _features, "images": _images}
    raw, names = readers[preprocessing["kind"]](path, preprocessing)
    if not len(names):
        raise DataError("no inputs", where=path, expected="at least one")
    return encode(preprocessing, raw), tuple(names)


def _texts(path: Path, preprocessing: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    if suffix(path) == "txt":
        texts = lines(read_text(path))
    elif suffix(path) in READERS:
        column = preprocessing.get("column", "text")
        table = _new_table(path, preprocessing, [column])
        texts = table.strings(table.column(column))
    else:
        raise DataError("not a file of texts", where=path, expected=f".txt, {FORMATS}")
    return texts, texts


def _new_table(path: Path, preprocessing: Mapping[str, Any], wanted: Sequence[str]) -> Table:
    """A table; one without a header is known by having as many columns as training's."""
    table, columns = read_table(path), preprocessing.get("columns")
    if columns and len(table.names) == len(columns) and any(table.find(n) is None for n in wanted):
        table = read_table(path, columns)
    swallowed = swallowed_rows(table) if suffix(path) == "csv" else []
    if swallowed:
        message = (
            f"{len(swallowed)} quoted cells hold lines that look like rows: is a quotation mark "
            f"unbalanced? {table.place(swallowed)}"
        )
        warnings.warn(message, DataWarning, stacklevel=5)
    return table


def _features(path: Path, preprocessing: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    names = preprocessing.get("features")
    if names is None or suffix(path) not in READERS:
        return _array(path, preprocessing)
    table = _new_table(path, preprocessing, names)
    features = feature_matrix(table, [table.column(name, "features") for name in names])
    return features, _numbers(features)


def _array(path: Path, preprocessing: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    if path.suffix.lower() not in (".npy", ".npz"):
        raise DataError("not a file of arrays", where=path, expected=".npz or .npy")
    arrays = read_npz(path)
    wanted = preprocessing.get("key")
    for name in (wanted, "x", "x_test"):
        if name in arrays:
            return arrays[name], _numbers(arrays[name])
    if len(arrays) == 1:
        (array,) = arrays.values()
        return array, _numbers(array)
    near = nearest(wanted or "x", arrays)
    raise DataError(
        f"no array {wanted or 'x'!r}",
        where=path,
        got=f"the arrays {', '.join(arrays)}",
        fix=f"did you mean {near!r}? Rename it, or save it alone" if near else None,
    )


def _numbers(array: np.ndarray) -> list[str]:
    return [str(i) for i in range(len(array) if array.ndim else 0)]


def _images(path: Path, preprocessing: Mapping[str, Any]) -> tuple[Any, list[str]]:
    if path.suffix.lower() in (".npy", ".npz"):
        return _array(path, preprocessing)
    if path.is_dir():
        files = image_files(path)
        return files, [file.relative_to(path).as_posix() for file in files]
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return [path], [path.name]
    raise DataError(
        "not an image", where=path, expected="PNG or JPEG, a folder of them, .npz or .npy"
    )
