"""Which row of a file of predictions is of which row of the data?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from specialists.datasets.base import Dataset, Split
from specialists.errors import InputError, listed
from specialists.networks.given import LEAST, given_log_probs
from specialists.networks.prediction_files import PredictionFile, read_prediction_file
from specialists.probability import mean_over_rows

FLATTERED = 0.5  # a training NLL below this part of the validation NLL
KEY = "generalist.predictions"


def attach_predictions(
    dataset: Dataset, path: str | Path, classes: str | Sequence[str | int] | None = None
) -> Dataset:
    """The data set with a file's log-probabilities beside every row.

    Parameters
    ----------
    dataset : Dataset
        Just loaded: a stored one no longer knows the order of its source.
    path : path
        As :mod:`specialists.networks.prediction_files` describes it.
    classes : path or sequence of names, optional
        Of the columns, in their order.

    Raises
    ------
    InputError
        If the file lacks rows, its columns are other classes, or it holds no probabilities.
    """
    file = read_prediction_file(path, dataset.class_names, classes)
    splits, notes = {}, tuple(f"{KEY}: {note}" for note in file.notes)
    for name, (matrix, rows) in _places(dataset, file).items():
        log_probs = _of_rows(file, matrix, rows, dataset.n_classes)
        splits[name] = replace(dataset.splits[name], predictions=log_probs)
    return replace(dataset, **splits, notes=(*dataset.notes, *notes))


def predictions_of_new(path: str | Path, class_names: Sequence[str], n_rows: int) -> Tensor:
    """A file's log-probabilities (n_rows, C) of new inputs, in their order or by ``row``.

    Raises
    ------
    InputError
        As :func:`attach_predictions` does.
    """
    file = read_prediction_file(path, class_names)
    rows = np.arange(n_rows)
    if file.ids is None:
        matrix = _whole(file, n_rows, f"{n_rows:,}, one for each input")
    elif file.ids[0] == "row":
        matrix, rows = _by_number(file, rows.tolist())
    else:
        raise _no_such_numbers(file, file.ids[0], "new inputs")
    return _of_rows(file, matrix, rows, len(class_names))


def flattery(dataset: Dataset) -> str | None:
    """What to say where a given generalist seems to know its training rows by heart."""
    train, validation = (_nll(split) for split in (dataset.train, dataset.validation))
    if train >= FLATTERED * validation:
        return None
    return (
        f"the given predictions have an NLL of {train:.3f} nats on training rows and "
        f"{validation:.3f} on validation rows: was the model fitted on the former? "
        "Cross-fitted ones tell specialists and student more: "
        "cross_val_predict(model, X, y, method='predict_proba')"
    )


def hardness(dataset: Dataset) -> str | None:
    """What to say where a given generalist's probabilities are all 0 or 1."""
    given = dataset.validation.predictions
    assert given is not None
    if bool((given.amax(dim=1).exp() < 1 - 2 * LEAST * dataset.n_classes).any()):
        return None
    return (
        "all probabilities of the given predictions are 0 or 1: they do not say which classes the "
        "generalist confuses, so that clusters are arbitrary and soft targets teach no more than "
        "labels do; give probabilities (predict_proba), not decisions"
    )


def _nll(split: Split) -> float:
    assert split.predictions is not None
    of_labels = split.predictions.gather(1, split.labels[:, None]).squeeze(1)
    return -float(mean_over_rows(of_labels.double(), split.weights))


def _of_rows(file: PredictionFile, matrix: np.ndarray, rows: np.ndarray, n_classes: int) -> Tensor:
    place = {"rows": rows, "columns": file.columns}
    return given_log_probs(matrix, len(matrix), n_classes, str(file.path), **place)


def _places(dataset: Dataset, file: PredictionFile) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each split a matrix of the file, and which of its rows are those of the split."""
    splits = dataset.splits
    if file.ids is not None:
        kind = file.ids[0]
        return {n: _by_number(file, _numbers(dataset, s, file, kind)) for n, s in splits.items()}
    sizes = {name: len(array) for name, array in file.parts.items()}
    run = {name: len(split) for name, split in splits.items()}
    if sizes == run:
        return {name: (file.parts[name], np.arange(n)) for name, n in run.items()}
    if "" in sizes:
        n = sum(dataset.parts.values())
        matrix = _whole(file, n, f"{n:,}, one for each row of the data, those left out too")
    elif sizes == dataset.parts:
        matrix = np.concatenate([file.parts[name] for name in dataset.parts])
    else:
        expected = f"{_counted(run)}, as in prepare-data/ of the run"
        whole = "" if "" in dataset.parts else f", or {_counted(dataset.parts)}, as in the data"
        raise _other_sizes(file, expected + whole)
    return {name: (matrix, np.asarray(split.positions)) for name, split in splits.items()}


def _whole(file: PredictionFile, n_rows: int, expected: str) -> np.ndarray:
    """The one matrix of a file, which has so many rows."""
    if {name: len(array) for name, array in file.parts.items()} != {"": n_rows}:
        raise _other_sizes(file, expected)
    return file.parts[""]


def _other_sizes(file: PredictionFile, expected: str) -> InputError:
    return InputError(
        "the predictions are of another number of rows",
        where=file.path,
        got=_counted({name: len(array) for name, array in file.parts.items()}),
        expected=expected,
        fix="where they are in another order, an array or column `row` says which row of the data "
        "(from 0) each is of",
    )


def _counted(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {name or 'rows'}" for name, n in sizes.items())


def _numbers(dataset: Dataset, split: Split, file: PredictionFile, kind: str) -> Sequence[object]:
    """What a file of predictions calls the rows of a split."""
    if kind == "row" and split.positions is not None:
        return split.positions.tolist()
    if kind == "line" and split.rows is not None and dataset.source.get("rows") == "line":
        return split.rows.tolist()
    if kind == "path" and split.texts is not None and dataset.kind == "images":
        return split.texts
    raise _no_such_numbers(file, kind, "these data")


def _by_number(file: PredictionFile, wanted: Sequence[object]) -> tuple[np.ndarray, np.ndarray]:
    """The one matrix of a file, and the place there of each number."""
    assert file.ids is not None
    kind, values = file.ids
    matrix = _whole(file, len(values), f"{len(values):,}, one for each {kind}")
    place = {value: i for i, value in enumerate(values.tolist())}
    if len(place) < len(values):
        got = next(value for i, value in enumerate(values.tolist()) if place[value] != i)
        raise InputError(f"predictions of one {kind} stand twice", where=file.path, got=got)
    if missing := [value for value in wanted if value not in place]:
        raise InputError(
            f"{len(missing)} rows of the data have no predictions",
            where=file.path,
            got=f"{kind} {values[0]!r} and {len(values) - 1} others" if len(values) else "no row",
            expected=f"also {kind} {listed(map(repr, missing), 5)}",
        )
    return matrix, np.array([place[value] for value in wanted], dtype=np.int64)


def _no_such_numbers(file: PredictionFile, kind: str, what: str) -> InputError:
    return InputError(
        f"{what} have no {kind} to be known by",
        where=file.path,
        got=f"a column or array {kind!r}",
        expected="'row', from 0; 'line' of a text file, from 1; 'path' in a folder of images",
    )
