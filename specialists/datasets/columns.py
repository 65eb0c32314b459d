"""Which column of a table is what, and which split does each row name?

``text``, ``label`` and ``split`` are found by name, case ignored, unless ``[data]`` says otherwise;
``groups`` is used only where it is named. A table of numbers has features in place of a text. What
is not used is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from specialists.config import DataConfig
from specialists.datasets.cells import Table
from specialists.datasets.splits import LEFT_OUT, PARTS, SPLIT_NAMES, TRAIN
from specialists.errors import DataError, listed


@dataclass(frozen=True)
class Roles:
    """Which column is what. A table has a text or ``features``; ``groups`` names units of chance.

    The notes say which columns were taken, and which are not used.
    """

    label: int
    text: int | None
    features: tuple[int, ...]
    split: int | None
    groups: tuple[int, ...]
    notes: tuple[str, ...]


def find_roles(table: Table, config: DataConfig) -> Roles:
    """The columns that ``config`` (DataConfig) names, or those with the usual names.

    Raises DataError: no such column, or columns that exclude one another.
    """
    label = table.column(config.label or "label", "label")
    split, notes = _split_column(table, config)
    groups = tuple(table.column(name, "groups") for name in config.groups or ())
    text, features = _inputs(table, config, {label, split, *groups})
    chosen = [i for i in (text, *features, label, split) if i is not None]
    chosen += groups if len(groups) == 1 else set(groups) - {label}
    if len(set(chosen)) < len(chosen):
        what = "one column cannot be two of text, features, label, split and groups"
        got = listed(repr(table.names[i]) for i in sorted(chosen))
        fix = "name another column, or none; groups may name the label's beside others"
        raise DataError(what, where=table.path, got=got, fix=fix)
    for role, name, i in (("text", config.text, text), ("label", config.label, label)):
        if i is not None and table.names[i] != (name or role):
            notes.append(f"the column {table.names[i]!r} is taken for {name or role!r}")
    if features and not config.features:
        named = listed(repr(table.names[i]) for i in features)
        notes.append(f"no column 'text': {len(features)} columns of numbers are features: {named}")
    notes += _unused(table, set(chosen), split)
    return Roles(label, text, features, split, groups, tuple(notes))


def given_splits(table: Table, roles: Roles, config: DataConfig) -> tuple[np.ndarray, list[str]]:
    """The part of every row, int (n,), TRAIN where there is no split column; notes.

    Raises DataError: a value that is no split.
    """
    if roles.split is None:
        return np.full(len(table), TRAIN), []
    values = _folded(table.strings(roles.split))
    part_of = SPLIT_NAMES
    if config.splits is not None:
        part_of = {v: PARTS[part] for part, named in config.splits.items() for v in _folded(named)}
    unknown = sorted(set(values) - part_of.keys())
    if (unknown and config.splits is None) or part_of.keys().isdisjoint(values):
        what, got = "the split column has values of unknown meaning", listed(map(repr, unknown))
        where = f"{table.path}, column {table.names[roles.split]!r}"
        fix = 'set data.splits = {train = ["..."], validation = ["..."], test = ["..."]}, '
        fix += 'or data.split = "" to use no split column'
        raise DataError(what, where=where, got=got, expected=listed(part_of), fix=fix)
    given = np.array([part_of.get(value, LEFT_OUT) for value in values], dtype=np.int64)
    left_out = int((given == LEFT_OUT).sum())
    note = f"{left_out} rows in the splits {listed(map(repr, unknown))} left out (data.splits)"
    notes = [note] if left_out else []
    if config.split is None and config.splits is None:
        counts = ", ".join(f"{int((given == part).sum())} {name}" for name, part in PARTS.items())
        notes.append(f"splits as the column {table.names[roles.split]!r} says: {counts}")
    return given, notes


def _split_column(table: Table, config: DataConfig) -> tuple[int | None, list[str]]:
    """The split column, and a note where one of that name holds no splits."""
    if config.split == "":
        return None, []
    if config.split is not None or config.splits is not None:
        return table.column(config.split or "split", "split"), []
    column = table.find("split")
    values = set() if column is None else set(_folded(table.strings(column)))
    if column is None or not values.isdisjoint(SPLIT_NAMES):
        return column, []
    shown = listed(map(repr, sorted(values)))
    return None, [f"the column {table.names[column]!r} holds no splits and is not used: {shown}"]


def _folded(values: Iterable[object]) -> list[str]:
    return [str(value).strip().casefold() for value in values]


def _inputs(
    table: Table, config: DataConfig, taken: set[int | None]
) -> tuple[int | None, tuple[int, ...]]:
    """The text column, or the columns of the features."""
    if config.features and config.text:
        raise DataError("data.text and data.features exclude one another", where=table.path)
    if config.features and config.features != "numeric":
        return None, tuple(table.column(name, "features") for name in config.features)
    text = None if config.features else table.find(config.text or "text")
    if text is not None:
        return text, ()
    others = [i for i in range(len(table.names)) if i not in taken and not _counts_rows(table, i)]
    numeric = [i for i in others if table.is_numeric(i)]
    if numeric and (config.features or (numeric == others and not config.text)):
        for i in numeric:
            table.find(table.names[i])  # new inputs are found by these names
        return None, tuple(numeric)
    if config.features:
        raise DataError("no column holds numbers alone", where=table.path)
    if not config.text:
        _check_numbers(table, others)
    return table.column(config.text or "text", "text"), ()


def _check_numbers(table: Table, columns: Iterable[int]) -> None:
    """Refuse a table without a text by the first cell that keeps a column from being a feature."""
    for i in columns:
        if (row := table.odd_cell(i)) is not None:
            what = "no column 'text', and a column of numbers holds something else"
            where, cell = f"{table.place([row])}, column {table.names[i]!r}", table.cells[i][row]
            expected = "finite numbers with a decimal point"
            fix = "mend such cells or leave these rows out; or set data.text, or data.features = "
            fix += '[...] ("numeric": every column of nothing but numbers)'
            raise DataError(what, where=where, got=repr(cell)[:60], expected=expected, fix=fix)


def _counts_rows(table: Table, column: int) -> bool:
    """Whether a column is an index: without a name, or the numbers of the rows."""
    name = table.names[column].strip()
    if not name or name.startswith(("Unnamed:", "__index_level_")):
        return True
    cells = list(map(str, table.cells[column]))
    return any(cells == [str(i) for i in range(k, k + len(cells))] for k in (0, 1))


def _unused(table: Table, used: set[int], split: int | None) -> list[str]:
    others = [i for i in range(len(table.names)) if i not in used]
    notes = [f"columns not used: {listed(repr(table.names[i]) for i in others)}"] if others else []
    for i in others if split is None else ():
        name, values = table.names[i], set(_folded(set(map(str, table.cells[i]))))
        if len(values) > 1 and values <= SPLIT_NAMES.keys():
            looks = f"the column {name!r} looks like a split ({listed(sorted(values))})"
            notes.append(f"{looks}: data.split = {name!r} uses it")
    return notes
