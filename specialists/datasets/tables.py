"""How does a table of labelled texts become a data set?

TSV, CSV or Parquet, plain or .gz. TSV has no quoting: a quotation mark is a character like any
other. ``[data]`` names the columns: ``text``, ``label`` and, where the file says which row trains
and which tests, ``split``; ``columns`` names all of them where the file has no header. A text with
several labels is a row for each, and all of them count as valid.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specialists.datasets.assembly import Rows, assemble, numbered, same_input
from specialists.datasets.base import Dataset
from specialists.datasets.files import existing, nearest
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, listed
from specialists.datasets.text import clean
from specialists.errors import DataError

if TYPE_CHECKING:
    import pandas

SUFFIXES = (".tsv", ".csv", ".parquet")
SPLIT_VALUES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
_PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def load_table(config: Any, seed: int) -> Dataset:
    """The data set of ``config.table``.

    Raises
    ------
    DataError
        No such file or column, empty texts or labels, or splits that cannot be made.
    """
    path = existing(config.table)
    table = read_table(path, config.columns)
    preprocessing = text_preprocessing(config)
    table, left_out = _without_excluded(table, config, path)
    texts = text_column(table, preprocessing["column"], path).tolist()
    labels = text_column(table, config.label or "label", path, "label").tolist()
    _refuse_empty(texts, path, "text")
    _refuse_empty(labels, path, "label")
    codes, names = numbered(labels)
    given, unnamed = _given_splits(table, config, path)
    rows = Rows(
        raw=texts,
        labels=codes,
        names=names,
        groups=same_input(clean(texts, preprocessing["lowercase"])),
        given=given,
        texts=texts,
        notes=(*left_out, *unnamed),
    )
    return assemble(
        rows,
        config,
        seed,
        name=path.name.removesuffix(".gz").rpartition(".")[0],
        kind="text",
        preprocessing=preprocessing,
        source={"table": path.name},
    )


def text_preprocessing(config: Any) -> dict[str, Any]:
    """How the texts of a table are hashed: characters 2 to 5 and words 1 to 2, in lower case."""
    return {
        "kind": "text",
        "char_ngrams": list(config.char_ngrams or (2, 5)),
        "word_ngrams": list(config.word_ngrams or (1, 2)),
        "lowercase": True if config.lowercase is None else config.lowercase,
        "column": config.text or "text",
        "columns": list(config.columns) if config.columns else None,
    }


def read_table(path: Path, columns: Sequence[str] | None = None) -> pandas.DataFrame:
    """A table of strings.

    Parameters
    ----------
    path : Path
        .tsv, .csv or .parquet, plain or .gz.
    columns : sequence of str, optional
        Names of the columns of a file without a header.

    Raises
    ------
    DataError
        The file cannot be read, or its columns are not as many as ``columns``.
    """
    suffix = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    readers = {"tsv": _delimited("\t"), "csv": _delimited(","), "parquet": _parquet}
    if suffix not in readers:
        raise DataError("unknown kind of table", where=path, expected=", ".join(SUFFIXES))
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        table = readers[suffix](content, columns)
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("the table cannot be read", where=path, got=error) from error
    if columns and len(columns) != table.shape[1]:
        raise DataError(
            "data.columns does not fit the file",
            where=path,
            got=f"{len(columns)} names ({', '.join(columns)})",
            expected=f"{table.shape[1]}, one for each column",
        )
    if columns:
        table.columns = list(columns)
    return table


def _delimited(separator: str):
    def read(content: bytes, columns: Sequence[str] | None) -> pandas.DataFrame:
        import pandas

        if not content.strip():
            raise ValueError("the file is empty")
        return pandas.read_csv(
            io.BytesIO(content),
            sep=separator,
            header=None if columns else 0,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            index_col=False,
            encoding="utf-8-sig",
            quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
        )

    return read


def _parquet(content: bytes, columns: Sequence[str] | None) -> pandas.DataFrame:
    import pandas

    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise DataError(
            "Parquet needs pyarrow", fix="pip install 'specialist-distillation[parquet]'"
        ) from error
    return pandas.read_parquet(io.BytesIO(content))


def text_column(
    table: pandas.DataFrame, name: str, path: Path, option: str = "text"
) -> pandas.Series:
    """A column as strings, with "" where a value is missing.

    Raises
    ------
    DataError
        No such column; it names the nearest one, and ``data.<option>`` to set.
    """
    found = [str(column) for column in table.columns]
    if name not in found:
        near = nearest(name, found)
        raise DataError(
            f"no column {name!r}",
            where=path,
            got=f"the header {', '.join(map(repr, found))}",
            fix=f"set data.{option}{f' = {near!r}' if near else ''}, "
            "or data.columns = [...] if the file has no header",
        )
    column = table.iloc[:, found.index(name)]
    missing = column.isna()
    return column.astype(object).where(~missing, "").map(str)


def _refuse_empty(values: Sequence[str], path: Path, option: str) -> None:
    empty = [i for i, value in enumerate(values) if not value.strip()]
    if empty:
        raise DataError(
            f"{len(empty)} rows have an empty {option}",
            where=f"{path}, rows {listed([str(i + 1) for i in empty])} of those that are kept",
            fix="fill them in or leave them out",
        )


def _without_excluded(
    table: pandas.DataFrame, config: Any, path: Path
) -> tuple[pandas.DataFrame, list[str]]:
    if not config.exclude_labels:
        return table, []
    labels = text_column(table, config.label or "label", path, "label")
    for excluded in config.exclude_labels:
        if not (labels == excluded).any():
            near = nearest(excluded, labels.unique().tolist())
            raise DataError(
                f"data.exclude_labels names {excluded!r}, which is no label",
                where=path,
                fix=f"did you mean {near!r}?" if near else None,
            )
    out = labels.isin(list(config.exclude_labels))
    told = ", ".join(config.exclude_labels)
    note = f"{int(out.sum())} rows with the labels {told} left out (data.exclude_labels)"
    return table.loc[~out], [note]


def _given_splits(table: pandas.DataFrame, config: Any, path: Path) -> tuple[np.ndarray, list[str]]:
    if config.split is None and config.splits is None:
        return np.full(len(table), TRAIN), []
    column = text_column(table, config.split or "split", path, "split")
    values = config.splits or SPLIT_VALUES
    part_of = {value: _PARTS[part] for part, named in values.items() for value in named}
    unknown = sorted(set(column) - set(part_of))
    if (unknown and config.splits is None) or not set(column) & set(part_of):
        raise DataError(
            "the split column has values of unknown meaning",
            where=f"{path}, column {config.split or 'split'!r}",
            got=listed(unknown),
            expected=listed(sorted(part_of)),
            fix='set data.splits = {train = ["..."], validation = ["..."], test = ["..."]}',
        )
    given = column.map(lambda value: part_of.get(value, LEFT_OUT)).to_numpy(dtype=np.int64)
    left_out = int((given == LEFT_OUT).sum())
    if not left_out:
        return given, []
    return given, [f"{left_out} rows in the splits {', '.join(unknown)} left out (data.splits)"]
