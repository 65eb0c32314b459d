"""How is a file of new inputs without labels read, in the form of the training data?

text      .txt (one string a line), .tsv, .csv or .parquet with the text column; plain or .gz
features  .npy, or .npz with the array that training used (or the only one)
images    an image file, a folder of them, or .npy/.npz of uint8 images

Suffixes may be in capitals.
"""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.array_files import SUFFIXES as ARRAY_SUFFIXES
from specialists.datasets.array_files import open_arrays
from specialists.datasets.base import Inputs
from specialists.datasets.class_folders import list_images
from specialists.datasets.encoding import encode
from specialists.datasets.files import existing, readable
from specialists.datasets.pictures import READ
from specialists.datasets.pictures import SUFFIXES as IMAGE_SUFFIXES
from specialists.datasets.tables import read_table, text_column
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
    readers = {"text": _texts, "features": _array, "images": _images}
    raw, names = readers[preprocessing["kind"]](path, preprocessing)
    if not len(names):
        raise DataError("no inputs", where=path, expected="at least one")
    return encode(preprocessing, raw), tuple(names)


def _texts(path: Path, preprocessing: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    plain = path.name.removesuffix(".gz")
    if plain.endswith(".txt"):
        texts = _lines(path)
    elif plain.endswith((".tsv", ".csv", ".parquet")):
        texts = _table_texts(path, preprocessing)
    else:
        raise DataError(
            "not a file of texts", where=path, expected=".txt, .tsv, .csv or .parquet, plain or .gz"
        )
    return texts, texts


def _lines(path: Path) -> list[str]:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            "the text cannot be read", where=path, got=error, expected="UTF-8"
        ) from error
    return lines if lines != [""] else []


def _table_texts(path: Path, preprocessing: Mapping[str, Any]) -> list[str]:
    """The text column; a file without header is known by having training's columns."""
    column = preprocessing.get("column", "text")
    columns = preprocessing.get("columns")
    table = read_table(path)
    if columns and column not in map(str, table.columns) and table.shape[1] == len(columns):
        table = read_table(path, columns)
    return text_column(table, column, path).tolist()


def _array(path: Path, preprocessing: Mapping[str, Any]) -> tuple[np.ndarray, list[str]]:
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise DataError("not a file of arrays", where=path, expected=".npz or .npy")
    arrays = open_arrays(path)
    wanted = preprocessing.get("key") or "x"
    named = (name for name in (wanted, "x", "x_test") if name in arrays)
    name = next(named, next(iter(arrays)) if len(arrays) == 1 else wanted)
    array = arrays[name]
    if not array.ndim:
        raise DataError("a single value", where=arrays.where(name), expected="one input a row")
    return array, [str(i) for i in range(len(array))]


def _images(path: Path, preprocessing: Mapping[str, Any]) -> tuple[Any, list[str]]:
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return _array(path, preprocessing)
    if path.is_dir():
        files, notes = list_images(path)
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=3)
        return files, [readable(file.relative_to(path)) for file in files]
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return [path], [readable(Path(path.name))]
    raise DataError("not an image", where=path, expected=f"{READ}, a folder of them, .npz or .npy")
