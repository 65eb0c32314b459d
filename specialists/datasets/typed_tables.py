"""How are JSON lines and Parquet read: files whose values have types?

JSON lines: an object a line; a blank line is a row without values. Numbers stay as written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.cells import ABSENT, Number, Table, renamed
from specialists.datasets.text_files import lines, read_bytes, read_text
from specialists.errors import DataError

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def read_json_lines(path: Path, columns: Sequence[str] | None) -> Table:
    """A table with a column for each key of any object.

    Raises
    ------
    DataError
        A line that is no object, with its number.
    """
    if columns:
        fix = "remove data.columns; data.text and data.label choose keys"
        what = "data.columns is for files without names of their own"
        raise DataError(what, where=path, fix=fix)
    records = [_record(line, path, i) for i, line in enumerate(lines(read_text(path)), start=1)]
    names = tuple(dict.fromkeys(key for record in records for key in record))
    if not names:
        raise DataError("the file is empty", where=path)
    cells = [[record.get(name, ABSENT if record else None) for record in records] for name in names]
    damaged = sum(map(_replace_surrogates, cells))
    note = f"{damaged} strings held half a character (a lone surrogate), now {_REPLACEMENT}"
    rows = np.arange(1, len(records) + 1)
    return Table(path, names, cells, rows, notes=(note,) if damaged else ())


def read_parquet(path: Path, columns: Sequence[str] | None) -> Table:
    """A table of a Parquet file; a row's place is its number from 0."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            "Parquet needs pyarrow", fix="pip install 'specialist-distillation[parquet]'"
        ) from error
    content = read_bytes(path)
    try:
        table = parquet.read_table(io.BytesIO(content))
        cells = [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the file cannot be read", where=path, got=told[:200]) from error
    names = renamed(path, columns or table.column_names, len(cells))
    return Table(path, names, cells, np.arange(table.num_rows), "row")


def _record(line: str, path: Path, number: int) -> dict[str, object]:
    if not line.strip():
        return {}
    try:
        record = _DECODER.decode(line)
        if isinstance(record, dict):
            return record
        got: object = f"a {type(record).__name__}: {line[:60]}"
    except (ValueError, RecursionError) as error:
        got = error
    raise DataError(
        "a line is not a JSON object",
        where=f"{path}, line {number}",
        got=got,
        expected='an object a line, for instance {"text": "...", "label": "..."}',
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice")
    return record


_DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=lambda _: None, object_pairs_hook=_object
)


def _replace_surrogates(cells: list[Any]) -> int:
    """Replace lone surrogates, which no file can hold, in place; the number of such strings."""
    fixed = 0
    for i, cell in enumerate(cells):
        if type(cell) is str and not cell.isascii():
            cells[i] = cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            fixed += cells[i] != cell
    return fixed
