"""How does a table of labelled texts or numbers become a data set?

TSV, CSV, JSON lines or Parquet, plain or .gz. ``[data]`` names the columns: ``text`` (or
``features``, columns of numbers), ``label`` and, where the file says so, which row trains and which
tests (``split``) and which rows are one observation (``groups``); ``columns`` names all of them
where the file has no header. A text with several labels is a row for each, and all of them count as
valid. Rows without a text or a label are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specialists.config import DataConfig
from specialists.datasets.assembly import LabelledRows, assemble
from specialists.datasets.base import Dataset, Preprocessing
from specialists.datasets.cells import Table
from specialists.datasets.class_names import classes_of, labels_left_out, normal_form
from specialists.datasets.columns import Roles, find_roles, given_splits
from specialists.datasets.naming import existing
from specialists.datasets.observations import declared_groups, shared_values
from specialists.datasets.table_files import FILL_IT, read_table, swallowed_rows
from specialists.datasets.text_files import stem
from specialists.datasets.tokens import read_tokenizer
from specialists.errors import DataError


def load_table(config: DataConfig, seed: int) -> Dataset:
    """The data set of ``config.table``.

    Raises DataError: no such file or column, a damaged file, or splits that cannot be made.
    """
    path = existing(str(config.table))
    whole = read_table(path, config.columns)
    roles = find_roles(whole, config)
    _refuse_swallowed(whole, roles.label)
    table, missing = _complete(whole, roles)
    classes = classes_of(table.strings(roles.label), path)
    excluded, left_out = labels_left_out(classes, config.exclude_labels, path)
    if excluded.any():
        table = table.take(np.flatnonzero(~excluded))
    given, unnamed = given_splits(table, roles, config)
    declared, alone = None, []
    if roles.groups:
        columns = [[normal_form(cell) for cell in table.strings(i)] for i in roles.groups]
        declared, alone = declared_groups(columns, [table.names[i] for i in roles.groups])
    texts = None if roles.text is None else table.strings(roles.text)
    notes = (*whole.notes, *roles.notes, *missing, *classes.notes, *left_out, *unnamed, *alone)
    rows = LabelledRows(
        raw=feature_matrix(table, roles.features) if texts is None else texts,
        labels=classes.labels[~excluded],
        names=classes.names,
        given=given,
        notes=notes,
        texts=texts,
        rows=table.rows,
        declared=declared,
        declared_as=shared_values(config.groups),
        positions=np.searchsorted(whole.rows, table.rows),
        parts={"": len(whole)},
        where=f"{path}, column {table.names[roles.label]!r}",
    )
    source = {"table": path.name, "rows": table.unit}
    preprocessing = _preprocessing(table, roles, config)
    return assemble(rows, config, seed, stem(path), preprocessing, source)


def feature_matrix(table: Table, columns: Sequence[int]) -> np.ndarray:
    """Columns of numbers side by side, float32 (n, d).

    Raises DataError: a cell that is no number, with its place.
    """
    return np.stack([table.numbers(i) for i in columns], axis=1).astype(np.float32)


def _preprocessing(table: Table, roles: Roles, config: DataConfig) -> Preprocessing:
    """How the texts are hashed, and where they stand. Or which features."""
    columns = list(config.columns) if config.columns else None
    if roles.text is None:
        names = [table.names[i] for i in roles.features]
        about = {"kind": "features", "n_features": len(names), "mean": None, "std": None}
        return {**about, "features": names, "columns": columns}
    return {**text_preprocessing(config), "column": table.names[roles.text], "columns": columns}


def text_preprocessing(config: DataConfig) -> Preprocessing:
    """How a user's texts are read: as tokens, or characters 2 to 5, words 1 to 2, lower case."""
    if config.tokenizer is not None:
        return {"kind": "text", "tokenizer": read_tokenizer(config.tokenizer, config.max_tokens)}
    return {
        "kind": "text",
        "char_ngrams": list(config.char_ngrams or (2, 5)),
        "word_ngrams": list(config.word_ngrams or (1, 2)),
        "lowercase": True if config.lowercase is None else config.lowercase,
    }


def _complete(table: Table, roles: Roles) -> tuple[Table, list[str]]:
    """The rows that have a label and, where there is one, a text; a note of the others."""
    labelled = _filled(table.strings(roles.label))
    filled, notes = np.ones(len(table), dtype=bool), []
    if roles.text is not None:
        filled = _filled(table.strings(roles.text))
        n = sum(type(cell) is not str for cell in table.cells[roles.text]) - int((~filled).sum())
        notes = [f"{n} texts are no strings in the file, read as such"] if n > 0 else []
    kept = labelled & filled
    if not kept.any():
        what = "no row has both an input and a label"
        fix = "fill in the cells that are empty, or choose other columns (data.text, data.label)"
        got = f"{len(table)} rows, none of them whole" if len(table) else "a header without rows"
        raise DataError(what, where=table.path, got=got, fix=fix if len(table) else FILL_IT)
    if kept.all():
        return table, notes
    counts = {"label": int((~labelled).sum()), "text": int((labelled & ~filled).sum())}
    count = " and ".join(f"{n} rows without a {what}" for what, n in counts.items() if n)
    note = f"{count} left out ({table.place(np.flatnonzero(~kept))})"
    return table.take(np.flatnonzero(kept)), [*notes, note]


def _filled(values: Sequence[str]) -> np.ndarray:
    return np.fromiter((bool(value.strip()) for value in values), bool, len(values))


def _refuse_swallowed(table: Table, label: int) -> None:
    if rows := swallowed_rows(table, label):
        what = f"{len(rows)} quoted cell{'s' * (len(rows) > 1)} swallowed other rows"
        got = "lines inside the quotation marks that look like rows of their own"
        fix = "close the quotation mark in these lines; if the lines are one text, "
        fix += "put spaces in place of its line breaks"
        raise DataError(what, where=table.place(rows), got=got, fix=fix)
