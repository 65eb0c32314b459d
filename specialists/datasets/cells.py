"""What is a table once it is read? Columns of cells, each row with its place in the file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from specialists.datasets.class_names import normal_form
from specialists.datasets.naming import nearest_name
from specialists.errors import DataError, listed

_LARGEST = float(np.finfo(np.float32).max)


class WrittenNumber(str):
    """A number of a JSON file as it is written there."""

    __slots__ = ()


SEPARATE = "a .csv has commas between its cells, a .tsv has tabs: rename the file, or save it so"
ABSENT = object()  # the cell of a JSON object without that key


@dataclass(frozen=True)
class Table:
    """A table with every row of its file, in order.

    ``cells`` holds columns of n cells each: strings; from JSON and Parquet whatever they hold, and
    None where a value is missing. ``rows``, int64 (n,), is the place of each row in the file:
    lines from 1 (a header is line 1), or rows from 0, as ``unit`` says.
    """

    path: Path
    names: tuple[str, ...]  # of the columns
    cells: Sequence[Sequence[Any]]
    rows: np.ndarray
    unit: Literal["line", "row"] = "line"
    notes: tuple[str, ...] = ()  # on what is odd about the file

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, name: str) -> int | None:
        """The column of that name: exactly, or else with case and outer white space ignored.

        Raises DataError: several columns have it.
        """
        for folded in (str, lambda name: normal_form(name).casefold()):
            columns = [i for i, other in enumerate(self.names) if folded(other) == folded(name)]
            if len(columns) > 1:
                what, header = f"{len(columns)} columns are called {name!r}", map(repr, self.names)
                got, fix = f"the header {', '.join(header)}", "give each its own name"
                raise DataError(what, where=self.path, got=got, fix=fix)
            if columns:
                return columns[0]
        return None

    def column(self, name: str, option: str | None = None) -> int:
        """As :meth:`find`, for a column that must be there.

        ``data.<option>`` may name another column; without an option it has to be this one.

        Raises DataError: no such column; it names the nearest one.
        """
        column = self.find(name)
        if column is not None:
            return column
        near, header = nearest_name(name, self.names), listed(map(repr, self.names))
        fix = "give the file the columns of the training data, with their header"
        if option is not None:
            value = f"data.{option} = {near!r}" if near else f"data.{option}"
            if near and option == "groups":
                value = f"{near!r} in data.groups"
            fix = f"set {value}, or data.columns = [...] if the file has no header"
        if others := other_separators(self.names):
            header, fix = f"{header}, one column that holds {others}", SEPARATE
        raise DataError(f"no column {name!r}", where=self.path, got=f"the header {header}", fix=fix)

    def strings(self, column: int) -> list[str]:
        """A column as strings, "" where a value is missing.

        Raises DataError: a cell that is neither text nor a number, or an object without this key.
        """
        cells = self.cells[column]
        if all(type(cell) is str for cell in cells):
            return list(cells)
        absent = [i for i, cell in enumerate(cells) if cell is ABSENT]
        if absent:
            what = f"{len(absent)} rows have no {self.names[column]!r}"
            fix = "add it, as null where it is not known, or remove these rows"
            raise DataError(what, where=self.place(absent), fix=fix)
        return [self._string(cell, column, i) for i, cell in enumerate(cells)]

    def numbers(self, column: int) -> np.ndarray:
        """A column as finite numbers, float64 (n,).

        Raises DataError: a cell that is none, with its place.
        """
        values = np.fromiter(map(_number, self.cells[column]), np.float64, len(self))
        bad = np.flatnonzero(np.isnan(values))
        if len(bad):
            where = f"{self.place(bad)}, column {self.names[column]!r}"
            what, cell = f"{len(bad)} cells are no numbers", self.cells[column][int(bad[0])]
            expected = "finite numbers with a decimal point"
            fix = "fill them in, leave these rows out, or name other columns in data.features"
            raise DataError(what, where=where, got=repr(cell)[:60], expected=expected, fix=fix)
        return values

    def take(self, index: np.ndarray) -> Table:
        """The rows named by ``index``, in its order."""
        cells = [[column[i] for i in index.tolist()] for column in self.cells]
        return replace(self, cells=cells, rows=self.rows[index])

    def is_numeric(self, column: int) -> bool:
        """Whether every cell that is filled in holds a number."""
        cells = self._filled(column).values()
        return bool(len(self)) and not any(math.isnan(_number(cell)) for cell in cells)

    def odd_cell(self, column: int) -> int | None:
        """The first row whose cell is no number, where most cells are, with a comma or a point."""
        filled = self._filled(column)
        odd = [i for i, cell in filled.items() if math.isnan(_number(str(cell)))]
        alike = sum(not math.isnan(_number(str(c).replace(",", "."))) for c in filled.values())
        return odd[0] if odd and 2 * alike > len(filled) else None

    def place(self, index: Iterable[int]) -> str:
        """Where rows lie, for people: the file and the first few lines."""
        rows = [str(int(self.rows[i])) for i in index]
        return f"{self.path}, {self.unit}{'s' * (len(rows) > 1)} {listed(rows)}"

    def _filled(self, column: int) -> dict[int, Any]:
        """Cells by row, without those where a value is missing."""
        cells = enumerate(self.cells[column])
        return {i: c for i, c in cells if c is not None and c == c and str(c).strip()}

    def _string(self, cell: Any, column: int, i: int) -> str:
        if cell is None or cell != cell:
            return ""
        if isinstance(cell, float) and cell.is_integer():
            return str(int(cell))
        if isinstance(cell, bytes):
            try:
                return cell.decode("utf-8")
            except UnicodeDecodeError:
                cell = list(cell)
        if isinstance(cell, list | tuple | dict | set):
            what = "a cell holds more than one value, or bytes that are not UTF-8"
            where = f"{self.place([i])}, column {self.names[column]!r}"
            expected = "text, or a whole number for a label; a row for each of several labels"
            raise DataError(what, where=where, got=repr(cell)[:60], expected=expected)
        return str(cell)


def other_separators(names: Sequence[str]) -> str | None:
    """What seems to separate the cells of a table that was read as one column."""
    signs = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
    return next((signs[s] for s in signs if len(names) == 1 and s in names[0]), None)


def renamed(path: Path, columns: Sequence[str], n: int) -> tuple[str, ...]:
    """``columns`` as the names of ``n`` columns.

    Raises DataError: they are not as many.
    """
    if len(columns) != n:
        got, expected = f"{len(columns)} names ({', '.join(columns)})", f"{n}, one for each column"
        what = "data.columns does not fit the file"
        raise DataError(what, where=path, got=got, expected=expected)
    return tuple(columns)


def _number(cell: Any) -> float:
    """The finite number in a cell, or NaN."""
    if isinstance(cell, str) and "_" in cell:
        return math.nan  # Python reads 1_000
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return value if abs(value) <= _LARGEST else math.nan
