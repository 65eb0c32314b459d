"""Any model's probabilities as the generalist: a fitted estimator's, a function's, a matrix.

Columns are known by the classes of the model, or by the names of a DataFrame's columns; else they
stand in the order of ``classes_``.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from specialists.datasets import Dataset
from specialists.datasets.base import Split
from specialists.datasets.raw_rows import RawRows
from specialists.errors import DataWarning, InputError, listed
from specialists.probability import mean_over_rows

FLATTERED = 0.5  # a training NLL below this part of the validation NLL


def asked_probabilities(generalist: Any, x: Any, classes: np.ndarray) -> np.ndarray:
    """What a fitted estimator or a function predicts for raw inputs, columns as ``classes``.

    Raises
    ------
    InputError
        If it is neither, or knows other classes.
    """
    ask = getattr(generalist, "predict_proba", generalist)
    if not callable(ask):
        raise InputError(
            "this is no generalist",
            got=type(generalist).__name__,
            expected="a fitted estimator with predict_proba, or a function from X to probabilities",
        )
    known = getattr(generalist, "classes_", None)
    if isinstance(x, RawRows):
        return np.concatenate([in_order(ask(rows), classes, known) for _, rows in x.blocks()])
    return in_order(ask(x), classes, known)


def in_order(probs: Any, classes: np.ndarray, known: Any = None) -> np.ndarray:
    """Probabilities with a column for each of ``classes``; ``known`` are the classes as they are.

    Raises
    ------
    InputError
        If the columns are of other classes.
    """
    if hasattr(probs, "columns"):
        known, probs = list(probs.columns), probs.to_numpy()
    probs = np.asarray(probs)
    if known is None:
        return probs
    wanted, known = classes.tolist(), np.asarray(known, dtype=object).tolist()
    if known != wanted and all(isinstance(name, str) for name in known):
        wanted = list(map(str, wanted))  # a DataFrame may hold names where labels are numbers
    differing = set(known) ^ set(wanted)
    if differing or len(known) != len(wanted):
        raise InputError(
            "the generalist knows other classes than y holds",
            got=listed(map(repr, known)),
            expected=listed(map(repr, wanted)),
        )
    place = {label: i for i, label in enumerate(known)}
    return probs[:, [place[label] for label in wanted]]


def warn_if_flattered(dataset: Dataset) -> None:
    """Give a DataWarning where a given generalist seems to know its training rows by heart."""
    train, validation = (_nll(split) for split in (dataset.train, dataset.validation))
    if train < FLATTERED * validation:
        warnings.warn(
            f"the given predictions have an NLL of {train:.3f} nats on training rows and "
            f"{validation:.3f} on validation rows: was the model fitted on the former? "
            "Cross-fitted ones tell specialists and student more: "
            "cross_val_predict(model, X, y, method='predict_proba')",
            DataWarning,
            stacklevel=4,
        )


def _nll(split: Split) -> float:
    assert split.predictions is not None
    of_labels = split.predictions.gather(1, split.labels[:, None]).squeeze(1)
    return -float(mean_over_rows(of_labels.double(), split.weights))
