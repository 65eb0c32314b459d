"""Any model's probabilities as the generalist: a fitted estimator's, a function's, a matrix.

Columns are known by the classes of the model, or by the names of a DataFrame's columns; else they
stand in the order of ``classes_``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.utils.validation import check_is_fitted, has_fit_parameter
from torch import Tensor

from specialists.clustering import ClassClusters
from specialists.datasets.raw_rows import RawRows, mapped_rows
from specialists.errors import DataWarning, InputError, listed
from specialists.networks import column_of_each

from .given_datasets import GivenData
from .held_run import HeldRun

FOLDS = 5
BY_HEART = 0.005  # errors on the rows of ``fit``


class AsksGeneralist:
    """What a classifier asks the generalist that it was given, in training and afterwards."""

    generalist: Any
    model: str
    classes_: np.ndarray
    clusters_: ClassClusters
    _held: HeldRun

    def _given(
        self,
        data: GivenData,
        weights: Any,
        probs: Any,
        classes: np.ndarray,
        names: Sequence[str],
        seed: int,
    ) -> tuple[Any, Any] | None:
        """Probabilities of the rows and of the validation rows, if a generalist is given."""
        validation = data.validation
        vars(self).pop("_cross_fitted", None)
        if probs is not None:
            first, second = of_both(probs, validation is not None)
            return in_order(first, classes, names=names), in_order(second, classes, names=names)
        if self.generalist is None:
            return None
        if is_unfitted(self.generalist):
            rows = (data.x, data.y, weights)
            self._cross_fitted, asked = fitted_in_folds(self.generalist, *rows, seed, classes)
        else:
            asked = asked_probabilities(self.generalist, data.x, classes, names)
        if validation is None:
            return asked, asked
        return asked, asked_probabilities(self._asks, validation[0], classes, names)

    @property
    def _asks(self) -> Any:
        """The generalist that is asked about new rows, or None."""
        return vars(self).get("_cross_fitted", self.generalist)

    def _asked(self, x: Any, probs: Any) -> Any:
        if probs is not None:
            return in_order(probs, self.classes_, names=self.clusters_.class_names)
        if not self._held.model(self.model).asks:
            return None
        if self._asks is None:
            raise InputError(
                f"the {self.model} asks a generalist, which is not here",
                got="neither generalist_probs nor generalist",
                expected="generalist_probs=, its probabilities of these rows",
                fix="set_params(generalist=...) where it is an estimator or a function, which "
                "no saved folder holds; the student needs none",
            )
        return asked_probabilities(self._asks, x, self.classes_, self.clusters_.class_names)


def warn_if_by_heart(log_probs: Tensor, numbers: np.ndarray) -> None:
    """Tell it where a given model hardly errs on the rows by which specialists are made."""
    wrong = float((log_probs.argmax(dim=1).numpy() != numbers).mean())
    if wrong < BY_HEART:
        warnings.warn(
            f"the given predictions are right on {1 - wrong:.1%} of these rows. If the model was "
            "fitted on them, its errors on new rows are not seen: give predictions of rows that "
            "it has not seen (cross_val_predict), or the estimator unfitted",
            DataWarning,
            3,
        )


def is_unfitted(generalist: Any) -> bool:
    """Whether this is an estimator that is still to be fitted, as a clone of a fitted one is."""
    if not isinstance(generalist, BaseEstimator) or not hasattr(generalist, "predict_proba"):
        return False
    try:
        check_is_fitted(generalist)
    except NotFittedError:
        return True
    return False


def fitted_in_folds(
    generalist: BaseEstimator, x: Any, y: Any, weights: Any, seed: int, classes: np.ndarray
) -> tuple[Any, np.ndarray]:
    """A copy fitted to all rows, and for each row what one that has not seen it predicts.

    Columns as ``classes``.

    Raises
    ------
    InputError
        If the rows are a dataset that is read in place, or no class has two.
    """
    most = int(np.unique(y, return_counts=True)[1].max())
    if isinstance(x, RawRows) or most == 1:
        what = "this generalist cannot be fitted here"
        got = "no class with two rows" if most == 1 else "rows that are read in place"
        raise InputError(what, got=got, fix="pass a fitted one, or generalist_probs")
    weighted = weights is not None and has_fit_parameter(generalist, "sample_weight")
    given = {"sample_weight": weights} if weighted else {}
    folds = StratifiedKFold(min(FOLDS, most), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that a fold has no row of
        probs = cross_val_predict(generalist, x, y, cv=folds, method="predict_proba", params=given)
    fitted: Any = clone(generalist)
    fitted.fit(x, y, **given)
    return fitted, in_order(probs, classes, getattr(fitted, "classes_", None))


def asked_probabilities(
    generalist: Any, x: Any, classes: np.ndarray, names: Sequence[str] | None = None
) -> np.ndarray:
    """What a fitted estimator or a function predicts for raw inputs, columns as ``classes``.

    Raises
    ------
    InputError
        If it is neither, or knows other classes.
    """
    ask = getattr(generalist, "predict_proba", generalist)
    if not callable(ask) or isinstance(generalist, type):
        raise InputError(
            "this is no generalist",
            got=repr(generalist) if isinstance(generalist, type) else type(generalist).__name__,
            expected="a fitted estimator with predict_proba, or a function from X to probabilities",
        )
    known = getattr(generalist, "classes_", None)
    rows = x if isinstance(x, RawRows) else mapped_rows(x)
    if rows is not None:
        found = [in_order(ask(some), classes, known, names) for _, some in rows.blocks()]
        return np.concatenate(found)
    return in_order(ask(x), classes, known, names)


def of_both(probs: Any, validates: bool) -> tuple[Any, Any]:
    """Probabilities of the rows of ``X`` and of the validation rows, as ``fit`` is given them.

    ``validates`` says whether there is ``validation_data``: they are a pair then, else one matrix.

    Raises
    ------
    InputError
        If they are the other of these.
    """
    pair = isinstance(probs, list | tuple) and len(probs) == 2 and all(map(_is_matrix, probs))
    if pair != validates:
        several = "generalist_probs=(those of X, those of the rows of validation_data)"
        raise InputError(
            "probabilities of X alone, beside validation_data whose rows need some, too"
            if validates
            else "probabilities of validation rows, but no validation_data",
            where="generalist_probs",
            got="a pair of matrices" if pair else f"one {type(probs).__name__}",
            expected=several if validates else "one matrix, a row for each of X",
        )
    return (probs[0], probs[1]) if pair else (probs, probs)


def _is_matrix(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 2 or (
        isinstance(value, list) and len(value) > 0 and isinstance(value[0], Sequence)
    )


def in_order(
    probs: Any, classes: np.ndarray, known: Any = None, names: Sequence[str] | None = None
) -> np.ndarray:
    """Probabilities with a column for each of ``classes``; ``known`` are the classes as they are.

    Columns of a DataFrame may be ``names`` of the classes (None: the labels as text).

    Raises
    ------
    InputError
        If the columns are of other classes.

    Warns
    -----
    DataWarning
        If there are more classes: the others' probability is shared among those that are wanted.
    """
    if hasattr(probs, "columns"):
        known, probs = list(probs.columns), probs.to_numpy()
    probs = np.asarray(probs)
    if known is None:
        return probs
    wanted, known = classes.tolist(), np.asarray(known, dtype=object).tolist()
    if not set(known) & set(wanted):  # a DataFrame may hold names where labels are numbers
        wanted = list(map(str, wanted) if names is None else names)
    column, ours = {name: i for i, name in enumerate(known)}, set(wanted)
    if ours < column.keys() and len(known) == len(column):
        more = [name for name in known if name not in ours]
        told = (
            f"the generalist knows classes that y does not hold, which are left out: {listed(more)}"
        )
        warnings.warn(told, DataWarning, 3)
        return _shares(probs[:, [column[name] for name in wanted]])
    return probs[:, column_of_each(known, wanted)]


def _shares(masses: np.ndarray) -> np.ndarray:
    """Probabilities in proportion to masses, equal ones where there is none."""
    total = masses.sum(axis=1, keepdims=True)
    equal = np.full_like(masses, 1 / masses.shape[1])
    return np.divide(masses, total, out=equal, where=total > 0)
