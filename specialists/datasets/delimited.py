"""How are TSV and CSV read without losing a row?

Every row of the file is a row of the table, in order: a blank line too, whose cells are all empty.
CSV quotes cells with quotation marks, doubled inside a cell. TSV has no quoting: a quotation mark
is a character like any other.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specialists.datasets.cells import Table, renamed
from specialists.datasets.splits import listed
from specialists.datasets.text_files import lines, read_text
from specialists.errors import DataError

_QUOTED = 0.5  # share of the cells of a TSV that look quoted, from which on it is told
Records = list[list[str]]


def read_tsv(path: Path, columns: Sequence[str] | None) -> Table:
    """A table of strings; ``columns`` names those of a file without a header."""
    records = [line.split("\t") for line in lines(read_text(path))]
    table = _table(path, records, np.arange(1, len(records) + 1), columns)
    notes = [note for i in range(len(table.names)) if (note := _quoted(table, i))]
    return Table(path, table.names, table.cells, table.rows, notes=(*table.notes, *notes))


def read_csv(path: Path, columns: Sequence[str] | None) -> Table:
    """A table of strings; ``columns`` names those of a file without a header.

    Raises
    ------
    DataError
        A quotation mark that is not closed, or closed in the middle of a cell.
    """
    records, starts = _parsed(read_text(path), path)
    table = _table(path, records, np.array(starts[:-1], dtype=np.int64), columns)
    spans = np.diff(starts[len(records) - len(table) :])
    several = int((spans > 1).sum())
    if not several:
        return table
    longest = int(spans.argmax())
    note = (
        f"{several} rows lie on several lines, the longest on {spans[longest]} "
        f"({table.place([longest])})"
    )
    return Table(path, table.names, table.cells, table.rows, notes=(*table.notes, note))


def swallowed_rows(table: Table, label: int | None = None) -> list[int]:
    """Rows with a quoted cell that holds other rows, because a quotation mark is unbalanced.

    Lines in a cell count as rows if they have as many cells as the header and, where ``label``
    names that column, a label that other rows have.
    """
    after = np.diff(table.rows, append=table.rows[-1:] + 2)
    several = {
        i: [line for cell in record for line in _several(cell)]
        for i, record in (
            (i, [column[i] for column in table.cells]) for i in np.flatnonzero(after > 1).tolist()
        )
    }
    if len(table.names) < 2 or not any(several.values()):
        return []
    known = None
    if label is not None:
        known = {cell for i, cell in enumerate(table.cells[label]) if i not in several} - {""}
    return [
        i
        for i, inner in several.items()
        if any(_is_row(line, len(table.names), label, known) for line in inner)
    ]


def _several(cell: str) -> list[str]:
    """The lines of a cell that has several."""
    inner = lines(cell)
    return inner if len(inner) > 1 else []


def _is_row(line: str, n: int, label: int | None, known: set[str] | None) -> bool:
    cells = next(csv.reader([line]), [])
    return len(cells) == n and (known is None or label is None or cells[label] in known)


def _parsed(text: str, path: Path) -> tuple[Records, list[int]]:
    """The records of a CSV, the line at which each starts, and the line after the last."""
    limit = csv.field_size_limit(sys.maxsize)  # a cell may have more than 131,072 characters
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: Records = []
    starts = [1]
    try:
        for record in reader:
            records.append(record)
            starts.append(reader.line_num + 1)
    except csv.Error as error:
        raise DataError(
            "a quotation mark is unbalanced",
            where=f"{path}, the row that starts in line {starts[-1]}",
            got=f"{error}, up to line {reader.line_num}",
            fix='double the quotation marks inside a quoted cell (""), or save the table as TSV',
        ) from error
    finally:
        csv.field_size_limit(limit)
    return records, starts


def _table(
    path: Path, records: Records, starts: np.ndarray, columns: Sequence[str] | None
) -> Table:
    notes: tuple[str, ...] = ()
    blank = next((i for i, record in enumerate(records) if any(map(str.strip, record))), None)
    if blank is None:
        raise DataError("the file is empty", where=path)
    if columns is None:
        names, first = tuple(records[blank]), blank + 1
    else:
        names, first = renamed(path, columns, len(records[blank])), 0
        if tuple(cell.strip().casefold() for cell in records[blank]) == tuple(
            name.strip().casefold() for name in names
        ):
            first = blank + 1
            notes = ("the first line repeats data.columns: a header, not a row",)
    records, starts = records[first:], starts[first:]
    _fill_blank(records, len(names))
    _refuse_ragged(path, records, starts, len(names))
    cells = tuple(zip(*records, strict=True)) or tuple(() for _ in names)
    return Table(path, names, cells, starts, notes=notes)


def _fill_blank(records: Records, n: int) -> None:
    """Give blank lines, in place, as many empty cells as the other rows have."""
    for i, record in enumerate(records):
        if not record or (len(record) < n and not any(map(str.strip, record))):
            records[i] = [""] * n


def _refuse_ragged(path: Path, records: Records, starts: np.ndarray, n: int) -> None:
    lengths = np.fromiter(map(len, records), np.int64, len(records))
    bad = np.flatnonzero(lengths != n)
    if len(bad):
        first = records[int(bad[0])]
        raise DataError(
            f"{len(bad)} row{'s have' if len(bad) > 1 else ' has'} more or fewer cells than "
            f"there are columns",
            where=f"{path}, line{'s' * (len(bad) > 1)} {listed(starts[bad].tolist())}",
            got=f"{len(first)} cells in line {starts[bad[0]]}: {str(first)[:80]}",
            expected=f"{n}",
            fix="put a cell that holds the separator into quotation marks (CSV), "
            "or mend these lines",
        )


def _quoted(table: Table, column: int) -> str | None:
    cells = [cell for cell in table.cells[column] if cell]
    quoted = sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
    if quoted <= _QUOTED * len(cells):
        return None
    return (
        f"{quoted} cells of the column {table.names[column]!r} stand in quotation marks, which are "
        "read as characters: TSV has no quoting here, CSV has"
    )
