"""What did a caller hand over as new inputs: texts, features or pictures?

Everything that programs pass around as a list of inputs is taken: lists, Series, arrays, tensors,
iterators, the columns of a DataFrame that training used. What a loop would silently turn into other
inputs is refused by name: a string into its letters, a DataFrame or a dict into its keys, one
picture into its rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.named_tensors import NamedTensors
from specialists.errors import DataError, first_of, listed


def texts_of(given: Any, column: str = "text") -> list[str]:
    """Strings, one an input; those of the named column of a DataFrame, or of its only one.

    Raises DataError: another kind of thing, or a row that is no string; it names the first.
    """
    if _is_table(given):
        _check_pandas(given)
        names = list(given.columns)
        if column not in names and len(names) != 1:
            got = f"the columns {listed(map(repr, names))}"
            fix = "pass the column itself: table['...']"
            raise DataError(f"no column {column!r}", where="a DataFrame of texts", got=got, fix=fix)
        given = given[column if column in names else names[0]]
        if _is_table(given):
            raise DataError(f"several columns {column!r}", where="a DataFrame of texts")
    texts = _listed(given, "texts", "strings")
    wrong = [i for i, text in enumerate(texts) if not isinstance(text, str)]
    if wrong:
        where, got = first_of(wrong, "input"), _described(texts[wrong[0]])
        what, expected = "a text is not a string", "str, one an input"
        fix = "fill missing texts with '', decode bytes, or leave these rows out"
        raise DataError(what, where=where, got=got, expected=expected, fix=fix)
    return texts


def features_of(given: Any, n_features: int, names: Sequence[str] | None = None) -> Any:
    """Something that NumPy makes a matrix of, a row an input.

    Raises DataError: another kind of thing, or a column that is missing or holds no numbers.

    ``given`` is array-like of shape (n, n_features), or a DataFrame; ``names`` are its columns, as
    training had them (None: all columns, in their order).
    """
    if _is_table(given):
        return _numeric_columns(given, names)
    if hasattr(given, "toarray") or (isinstance(given, Tensor) and given.layout != torch.strided):
        cure = "pass x.to_dense()" if isinstance(given, Tensor) else "pass x.toarray()"
        raise DataError("a sparse matrix of features", got=_described(given), fix=cure)
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise DataError("masked features", fix="fill them in: x.filled(...)")
    if not isinstance(given, np.ndarray | Tensor):
        given = [in_numpy(row) for row in _listed(given, "features", "rows of numbers")]
        _check_order(given, names)
        if not given:
            return np.zeros((0, n_features))
    numbers = isinstance(given, list) and isinstance(given[0], int | float | np.number)
    if numbers or (isinstance(given, np.ndarray | Tensor) and given.ndim == 1):
        what = "features in one dimension"
        expected = f"a row of {n_features} features for each input, [n, {n_features}]"
        fix = "pass [x] if these are the features of one input"
        raise DataError(what, got=f"{len(given)} values", expected=expected, fix=fix)
    return given


def pictures_of(given: Any, shape: tuple[int, int]) -> np.ndarray | list[Any]:
    """An array of pictures, or a list of single ones: paths, arrays, or images of Pillow.

    Raises DataError: a single picture, or another kind of thing.

    An array is uint8 of shape (n, h, w), (n, channels, h, w) or (n, h, w, channels); ``shape`` is
    the height and width of the training's pictures.
    """
    if isinstance(given, (str, os.PathLike)) or _is_image(given):
        fix = "pass a list: [picture]; of a folder: sorted(Path(folder).glob('*.png'))"
        raise DataError("one picture where several are wanted", got=_described(given), fix=fix)
    given = in_numpy(given)
    if isinstance(given, np.ndarray) and given.dtype.kind not in "UO":
        # Three axes may be those of one picture, [h, w, channels], rather than of n grey ones.
        is_one = given.ndim == 3 and given.shape[2] in (1, 3, 4) and given.shape[1:] != shape
        if given.ndim == 2 or is_one:
            what = "one picture where several are wanted"
            got = f"an array of shape {given.shape}"
            expected = "[n, h, w], [n, channels, h, w] or [n, h, w, channels]"
            raise DataError(what, got=got, expected=expected, fix="pass x[None]")
        return given
    singles = _listed(given, "pictures", "arrays, paths, or images of Pillow")
    pictures = [in_numpy(picture) for picture in singles]
    wrong = [i for i, picture in enumerate(pictures) if not _is_picture(picture)]
    if wrong:
        where, got = first_of(wrong, "input"), _described(pictures[wrong[0]])
        expected = "a uint8 array [h, w], [channels, h, w] or [h, w, channels], a path, or an "
        expected += "image of Pillow"
        raise DataError("this is no picture", where=where, got=got, expected=expected)
    alike = {p.shape if isinstance(p, np.ndarray) else None for p in pictures}
    return np.stack(pictures) if len(alike) == 1 and None not in alike else pictures


def tensors_of(given: Any, where: object = None) -> NamedTensors:
    """Tensors by name; a single one is called ``inputs``.

    Raises DataError: no mapping of names to arrays of numbers with equally many rows, or numbers
    that are not finite.
    """
    if isinstance(given, NamedTensors):
        given = given.tensors
    elif isinstance(given, np.ndarray | Tensor):
        given = {"inputs": given}
    if not isinstance(given, Mapping) or _is_table(given):
        expected = 'arrays by name, for instance {"input_ids": ids, "attention_mask": mask}'
        raise DataError(
            "these are no tensors", where=where, got=_described(given), expected=expected
        )
    return NamedTensors({str(name): _tensor(value, name, where) for name, value in given.items()})


def _tensor(value: Any, name: object, where: object) -> Tensor:
    """A tensor of real numbers on the CPU; whole ones of types that PyTorch lacks are int64."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.empty(0, dtype=object)
        if array.dtype.kind not in "fiub":
            ragged = "; rows of different lengths?" if array.dtype.kind == "O" else ""
            got = f"{array.dtype}{ragged}"
            fix = "pad rows to one length, and leave texts out"
            raise DataError(f"the tensor {name!r} holds no numbers", where=where, got=got, fix=fix)
        small = array.dtype.kind != "u" or array.dtype.itemsize == 1
        value = torch.from_numpy(np.ascontiguousarray(array if small else array.astype(np.int64)))
    tensor = value.detach().cpu()
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise DataError(f"the tensor {name!r} holds NaN or infinite numbers", where=where)
    return tensor


def in_numpy(value: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value


def _is_picture(picture: Any) -> bool:
    if isinstance(picture, np.ndarray):
        return picture.ndim in (2, 3) and picture.dtype.kind in "uifb"
    return isinstance(picture, (str, os.PathLike)) or _is_image(picture)


def _is_image(value: Any) -> bool:
    return hasattr(value, "getbands") and hasattr(value, "convert")  # Pillow is not yet imported


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "dtypes")


def _check_pandas(table: Any) -> None:
    if not hasattr(table, "iloc"):
        got, fix = type(table).__name__, "pass x.to_pandas()"
        raise DataError("a table that is none of pandas", got=got, fix=fix)


def _listed(given: Any, what: str, wanted: str) -> list[Any]:
    """The inputs of anything that goes through them one by one, in an order."""
    single = isinstance(given, (str, bytes, bytearray, os.PathLike))
    keyed = isinstance(given, (Mapping, Set)) or _is_table(given)
    flat = not isinstance(given, (np.ndarray, Tensor)) or given.ndim == 1
    if single or keyed or not flat or not isinstance(given, Iterable):
        got = _described(given)
        expected = f"a list of {wanted}"
        fix = f"pass [{'text' if what == 'texts' else 'x'}]" if single else None
        raise DataError(f"these are no {what} in a list", got=got, expected=expected, fix=fix)
    return list(given)


def _numeric_columns(table: Any, names: Sequence[str] | None) -> np.ndarray:
    _check_pandas(table)
    where, columns = "a DataFrame of features", list(map(str, table.columns))
    missing = [name for name in names or () if name not in columns]
    if missing:
        what = f"{len(missing)} of the columns that training used are missing"
        got = f"no {listed(map(repr, missing))}; there are {listed(map(repr, columns))}"
        raise DataError(what, where=where, got=got)
    repeated = [name for name in names or () if columns.count(name) > 1]
    if repeated:
        what = "columns that training used are there more than once"
        got, fix = listed(map(repr, repeated)), "leave all but one of each out"
        raise DataError(what, where=where, got=got, fix=fix)
    if names is not None:
        table = table.iloc[:, [columns.index(name) for name in names]]
    kinds = zip(table.columns, table.dtypes, strict=True)
    wrong = [str(name) for name, dtype in kinds if getattr(dtype, "kind", "O") not in "fiub"]
    if wrong:
        got, fix = listed(map(repr, wrong)), "leave them out or turn them into numbers"
        raise DataError("columns without numbers", where=where, got=got, fix=fix)
    return table.to_numpy(dtype=np.float64, na_value=np.nan)


def _check_order(rows: Sequence[Any], names: Sequence[str] | None) -> None:
    """Refuse a Series, a row of a DataFrame, whose columns are not those of training."""
    if names is None:
        return
    for i, row in enumerate(rows):
        columns = list(row.index) if hasattr(row, "iloc") else list(names)
        if list(map(str, columns)) != list(names) and columns != list(range(len(columns))):
            what = "a row has other columns than training had, or in another order"
            got, expected = listed(map(repr, columns)), listed(map(repr, names))
            fix = "pass the rows as one DataFrame, whose columns are found by name"
            raise DataError(what, where=f"input {i}", got=got, expected=expected, fix=fix)


def _described(value: Any) -> str:
    """Type and value, in a line."""
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{type(value).__name__}, {value.dtype} of shape {tuple(value.shape)}"
    shown = " ".join(repr(value).split())
    return f"{type(value).__name__} {shown[:60]}{'...' * (len(shown) > 60)}"
