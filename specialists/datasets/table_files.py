"""How are TSV, CSV, JSON lines and Parquet read without losing a row?

Every row of the file is a row of the table, in order: a blank line too, whose cells are all empty.
CSV quotes cells with quotation marks, doubled inside a cell. TSV has no quoting: a quotation mark
is a character like any other. JSON lines hold an object a line, whose numbers stay as written.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from specialists.config.toml import how_to_name_data
from specialists.datasets.cells import (
    ABSENT,
    SEPARATE,
    Table,
    WrittenNumber,
    other_separators,
    renamed,
)
from specialists.datasets.text_files import lines, read_bytes, read_text, suffix
from specialists.errors import DataError, listed

LINES = "a header, then a row in each line"
OBJECTS = "an object in each line, its keys the columns"
FILL_IT = "write rows into it, or name another file"
_QUOTED = 0.5  # share of the cells of a TSV that look quoted, from which on it is told
Records = Iterator[tuple[int, list[str]]]


def read_tsv(path: Path, columns: Sequence[str] | None) -> Table:
    """A table of strings; ``columns`` names those of a file without a header."""
    read = enumerate(lines(read_text(path)), start=1)
    table = _table(path, ((i, line.split("\t")) for i, line in read), columns)
    notes = [note for i in range(len(table.names)) if (note := _quoted(table, i))]
    return replace(table, notes=(*table.notes, *notes))


def read_csv(path: Path, columns: Sequence[str] | None) -> Table:
    """A table of strings; ``columns`` names those of a file without a header.

    Raises DataError: a quotation mark that is not closed, or closed in the middle of a cell.
    """
    limit = csv.field_size_limit(sys.maxsize)  # a cell may have more than 131,072 characters
    try:
        table = _table(path, _parsed(read_text(path), path), columns)
    finally:
        csv.field_size_limit(limit)
    several = _several_lines(table)
    if not several:
        return table
    longest = max(several, key=lambda i: len(several[i]))
    note = f"{len(several)} rows lie on several lines, the longest on {len(several[longest])}"
    return replace(table, notes=(*table.notes, f"{note} ({table.place([longest])})"))


def swallowed_rows(table: Table, label: int | None = None) -> list[int]:
    """Rows with a quoted cell that holds other rows, because a quotation mark is unbalanced.

    Lines in a cell of a .csv count as rows if they have as many cells as the header and, where
    ``label`` names that column, a label that other rows have.
    """
    n = len(table.names)
    if n < 2 or suffix(table.path) != "csv":
        return []
    known = None if label is None else set(table.cells[label]) - {""}

    def is_row(line: str) -> bool:
        cells = next(csv.reader([line]), [])
        return len(cells) == n and (known is None or label is None or cells[label] in known)

    return [i for i, inner in _several_lines(table).items() if any(map(is_row, inner))]


def _several_lines(table: Table) -> dict[int, list[str]]:
    """The lines inside the cells of each row that lies on several lines."""
    after = np.diff(table.rows, append=table.rows[-1:] + 2)
    several = {}
    for i in np.flatnonzero(after > 1).tolist():
        cells = [lines(column[i]) for column in table.cells]
        inner = [line for cell in cells if len(cell) > 1 for line in cell]
        several |= {i: inner} if inner else {}
    return several


def _parsed(text: str, path: Path) -> Records:
    """The records of a CSV, each with the line at which it starts."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        for record in reader:
            yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        where = f"{path}, the row that starts in line {start}"
        got = f"{error}, up to line {reader.line_num}"
        fix = 'double the quotation marks inside a quoted cell (""), or save the table as TSV'
        raise DataError("a quotation mark is unbalanced", where=where, got=got, fix=fix) from error


def _table(path: Path, records: Records, columns: Sequence[str] | None) -> Table:
    """The table of some records. Their cells lie in one list, which is fast to take apart."""
    names, first, notes = _header(path, records, columns)
    n = len(names)
    flat: list[str] = []
    starts: list[int] = []
    ragged: list[tuple[int, list[str]]] = []
    for start, record in itertools.chain(first, records):
        if len(record) == n:
            flat += record
        elif len(record) < n and _is_blank(record):
            flat += [""] * n
        else:
            ragged.append((start, record))
        starts.append(start)
    if ragged:
        raise _ragged(path, ragged, names)
    cells, rows = [flat[i::n] for i in range(n)], np.array(starts, dtype=np.int64)
    return Table(path, names, cells, rows, notes=notes)


def _header(
    path: Path, records: Records, columns: Sequence[str] | None
) -> tuple[tuple[str, ...], list[tuple[int, list[str]]], tuple[str, ...]]:
    """Names of the columns, the records before the next of ``records``, and notes."""
    blank = []
    for start, record in records:
        if _is_blank(record):
            blank.append((start, record))
            continue
        if columns is None:
            return tuple(record), [], ()
        names = renamed(path, columns, len(record))
        if [cell.strip().casefold() for cell in record] == [name.casefold() for name in names]:
            return names, [], ("the first line repeats data.columns: a header, not a row",)
        return names, [*blank, (start, record)], ()
    raise DataError("the file is empty", where=path, expected=LINES, fix=FILL_IT)


def _is_blank(record: Sequence[str]) -> bool:
    return not any(map(str.strip, record))


def _ragged(path: Path, ragged: Sequence[tuple[int, list[str]]], names: Sequence[str]) -> DataError:
    start, record = ragged[0]
    n, many, others = len(record), len(ragged) > 1, other_separators(names)
    header = f", the header {names[0]!r} holds {others}" if others else ""
    fix = "put a cell that holds the separator into quotation marks (CSV), or mend these lines"
    return DataError(
        f"{len(ragged)} row{'s have' if many else ' has'} more or fewer cells than the header",
        where=f"{path}, line{'s' * many} {listed(start for start, _ in ragged)}",
        got=f"{n} cell{'s' * (n != 1)} in line {start}: {str(record)[:80]}{header}",
        expected=len(names),
        fix=SEPARATE if others else fix,
    )


def _quoted(table: Table, column: int) -> str | None:
    cells = [cell for cell in table.cells[column] if cell]
    quoted = sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
    what = f"{quoted} cells of the column {table.names[column]!r} stand in quotation marks"
    why = "which are read as characters: TSV has no quoting here, CSV has"
    return f"{what}, {why}" if quoted > _QUOTED * len(cells) else None


def read_json_lines(path: Path, columns: Sequence[str] | None) -> Table:
    """A table with a column for each key of any object.

    Raises DataError: a line that is no object, with its number.
    """
    if columns:
        fix = "remove data.columns; data.text and data.label choose keys"
        what = "data.columns is for files without names of their own"
        raise DataError(what, where=path, fix=fix)
    records = [_record(line, path, i) for i, line in enumerate(lines(read_text(path)), start=1)]
    names = tuple(dict.fromkeys(key for record in records for key in record))
    if not names:
        raise DataError("the file is empty", where=path, expected=OBJECTS, fix=FILL_IT)
    cells = [[record.get(name, ABSENT if record else None) for record in records] for name in names]
    damaged = sum(map(_replace_surrogates, cells))
    note = f"{damaged} strings held half a character (a lone surrogate), now "
    note += "\N{REPLACEMENT CHARACTER}"
    rows = np.arange(1, len(records) + 1)
    return Table(path, names, cells, rows, notes=(note,) if damaged else ())


def read_parquet(path: Path, columns: Sequence[str] | None) -> Table:
    """A table of a Parquet file; a row's place is its number from 0."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        fix = "pip install 'specialist-distillation[parquet]'"
        raise DataError("Parquet needs pyarrow", fix=fix) from error
    content = read_bytes(path)
    try:
        table = parquet.read_table(io.BytesIO(content))
        cells = [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the file cannot be read", where=path, got=reason[:200]) from error
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
    what = "a line is not a JSON object"
    expected = 'an object a line, for instance {"text": "...", "label": "..."}'
    raise DataError(what, where=f"{path}, line {number}", got=got, expected=expected)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key occurs twice")
    return record


_DECODER = json.JSONDecoder(
    parse_int=WrittenNumber,
    parse_float=WrittenNumber,
    parse_constant=lambda _: None,
    object_pairs_hook=_object,
)


def _replace_surrogates(cells: list[Any]) -> int:
    """Replace lone surrogates, which no file can hold, in place; the number of such strings."""
    fixed = 0
    for i, cell in enumerate(cells):
        if type(cell) is str and not cell.isascii():
            cells[i] = cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            fixed += cells[i] != cell
    return fixed


READERS = {
    "tsv": read_tsv,
    "csv": read_csv,
    "jsonl": read_json_lines,
    "ndjson": read_json_lines,
    "parquet": read_parquet,
}
TABLE_FORMATS = f"{', '.join(f'.{kind}' for kind in READERS)}, plain or .gz"


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Every row of a .tsv, .csv, .jsonl, .ndjson or .parquet file, plain or .gz, in order.

    ``columns`` names the columns of a file without a header.

    Raises DataError: the file cannot be read, a row has more or fewer cells than there are columns,
    or the columns are not as many as ``columns``.
    """
    if path.is_dir():
        fix = how_to_name_data(path) or "name a file in it"
        what = "this is a folder, not a table"
        raise DataError(what, where=path, expected=TABLE_FORMATS, fix=fix)
    reader = READERS.get(suffix(path))
    if reader is None:
        raise DataError("unknown kind of table", where=path, expected=TABLE_FORMATS)
    return reader(path, columns)
