"""Any model's probabilities as the generalist: a fitted estimator's, a function's, a matrix.

Columns are known by the classes of the model, or by the names of a DataFrame's columns; else they
stand in the order of ``classes_``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from specialists.datasets.raw_rows import RawRows
from specialists.errors import InputError
from specialists.networks import column_of_each


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
    return probs[:, column_of_each(known, wanted)]
