"""What did a program hand over to be learned from: inputs of which kind, labels, weights?

Checks are scikit-learn's where it has some: shapes, finite numbers, names of features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_n_features,
    _check_sample_weight,
    _num_samples,
    assert_all_finite,
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from specialists.datasets.base import Kind, NamedTensors
from specialists.datasets.class_names import classes_of_codes, normal_form
from specialists.datasets.dataset_objects import is_dataset
from specialists.datasets.encoding import check_finite
from specialists.datasets.handed_over import in_numpy, tensors_of, texts_of
from specialists.datasets.in_memory import HeldRows
from specialists.datasets.object_rows import DatasetRows
from specialists.datasets.raw_rows import MappedArrays, RawRows
from specialists.errors import DataError, InputError, first_of, listed
from specialists.networks import given_log_probs

NOT_NUMERIC = "encode them first, for instance by a ColumnTransformer before this classifier"


def kind_of_input(x: Any) -> Kind:
    """Strings, images (three or four axes, or a list of pictures), arrays by name, else numbers."""
    if isinstance(x, DatasetRows | MappedArrays):
        return x.kind
    if hasattr(x, "toarray"):  # sparse matrices, of which some are mappings
        return "features"
    if isinstance(x, Mapping | NamedTensors):
        return "tensors"
    if isinstance(x, str):  # told later: strings are wanted
        return "text"
    if isinstance(x, np.ndarray) and x.ndim > 2:
        return "images"
    if not isinstance(x, np.ndarray) and hasattr(x, "iloc") and x.ndim == 2:
        x = x.iloc[:, 0] if x.shape[1] == 1 else ()
    values: Any = x if isinstance(x, list | tuple) else np.asarray(x) if hasattr(x, "dtype") else ()
    if isinstance(values, np.ndarray) and (values.ndim != 1 or values.dtype.kind in "fiubcmM"):
        return "features"
    if any(isinstance(value, str) for value in values):
        return "text"
    return "images" if len(values) and _is_picture(values[0]) else "features"


def _is_picture(value: object) -> bool:
    """Whether this is an array of a picture, or an image of Pillow."""
    return hasattr(value, "getbands") or (isinstance(value, np.ndarray) and value.ndim in (2, 3))


def _is_empty(x: Any) -> bool:
    return (isinstance(x, list | tuple | np.ndarray) or hasattr(x, "iloc")) and len(x) == 0


def checked_inputs(
    estimator: BaseEstimator, x: Any, kind: Kind, reset: bool, name: str = "X"
) -> Any:
    """Inputs as :class:`HeldRows` has them; a sparse matrix becomes a dense one.

    With ``reset`` the estimator learns ``n_features_in_`` and ``feature_names_in_``; without, they
    are compared. ``name`` is what messages call them.

    Raises
    ------
    ValueError
        If they are no numbers, not finite, or of another kind or width than in training.
    """
    if is_dataset(x):  # each item is checked as it is read
        return x
    found = kind if not reset and _is_empty(x) else kind_of_input(x)
    if found != kind:
        what = "these inputs are of another kind than those of the training"
        raise DataError(what, got=found, expected=kind)
    if reset and (kind != "features" or isinstance(x, RawRows)):
        vars(estimator).pop("n_features_in_", None)
        vars(estimator).pop("feature_names_in_", None)
    if isinstance(x, RawRows):
        return _checked_in_place(estimator, x, kind, reset)
    if kind == "text":
        return texts_of(x)
    if kind == "tensors":
        return tensors_of(x)
    if kind == "images":
        return check_array(_stacked(x), dtype="numeric", allow_nd=True)
    if hasattr(x, "select_dtypes"):
        others = x.select_dtypes(exclude=["number", "bool"]).columns
        if len(others):
            got = listed(map(repr, others))
            raise DataError("columns without numbers", got=got, fix=NOT_NUMERIC)
    how = {"dtype": np.float32, "accept_sparse": "csr", "ensure_all_finite": False}
    array: Any = validate_data(estimator, x, reset=reset, **how)
    array = array.toarray() if hasattr(array, "toarray") else array
    check_finite(array, name)
    return array


def _stacked(pictures: Any) -> np.ndarray:
    """An array of pictures that may come in a list."""
    if isinstance(pictures, np.ndarray):
        return pictures
    arrays = [np.asarray(picture) for picture in pictures]
    shapes = dict.fromkeys(str(array.shape) for array in arrays)
    if len(shapes) > 1:
        fix = "resize them to one size, and make all of them grey or all coloured"
        raise DataError("pictures of different shapes", got=listed(shapes), fix=fix)
    return np.stack(arrays) if arrays else np.empty((0, 1, 1, 1), dtype=np.uint8)


def _checked_in_place(estimator: BaseEstimator, x: RawRows, kind: Kind, reset: bool) -> RawRows:
    """Rows that are read as they are needed; each is checked then."""
    if kind == "features":
        _check_n_features(estimator, x, reset=reset)
    if isinstance(x, MappedArrays) and kind == "images":
        return x.with_channels()
    return x


def checked_labels(y: Any, name: str = "y") -> np.ndarray:
    """Labels of any type as an array of shape (n,); what is no label of a class is refused.

    ``name`` is what messages call them.
    """
    y = in_numpy(y)
    types = set(map(type, y)) if isinstance(y, list | tuple) else set()
    if tuple in types or (str in types and len(types) > 1):  # NumPy would make others of them
        labels = np.empty(len(y), dtype=object)
        labels[:] = y
    else:
        labels = column_or_1d(y, warn=True)
    if labels.dtype.kind != "O":
        assert_all_finite(labels, input_name=name)
        check_classification_targets(labels)
        if labels.dtype.kind not in "mM":
            return labels
    missing = [i for i, label in enumerate(labels) if _is_missing(label)]
    if missing:
        raise DataError(f"Input {name} contains NaN or None", where=first_of(missing))
    if labels.dtype.kind != "O":
        return labels
    numbers = [label for label in labels if isinstance(label, int | float)]
    if len(numbers) == len(labels):  # numbers that pandas or NumPy holds as objects
        return checked_labels(np.array(numbers), name)
    return labels


def _is_missing(label: Any) -> bool:
    """None, NaN, NaT, or NA of pandas, of which nothing can be asked."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


def checked_weights(weights: Any, x: Any) -> np.ndarray | None:
    """One weight for each row, not negative and not all zero, float64 of shape (n,)."""
    if weights is None:
        return None
    checked = _check_sample_weight(weights, x, dtype=np.float64, ensure_non_negative=True)
    if not checked.any():
        raise DataError("sample_weight is zero for every row", fix="give some row a weight")
    return checked


def numbered_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, sorted where they can be, and the number of each row's class."""
    try:
        return np.unique(labels, return_inverse=True)
    except TypeError:  # of several types: in the order of their names
        numbers = {label: i for i, label in enumerate(sorted(set(labels), key=_sorting_name))}
        classes = np.empty(len(numbers), dtype=object)
        classes[:] = list(numbers)
        return classes, np.array([numbers[label] for label in labels], dtype=np.int64)


def names_of(classes: np.ndarray, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """A name for each class, from ``known`` where classes are numbers of these.

    Those that would read alike get their number behind them.
    """
    if known is not None:
        return classes_of_codes(classes, known, "X").names
    written = [normal_form(str(label)) or repr(label) for label in classes.tolist()]
    counts = Counter(written)
    return tuple(f"{n} [{i}]" if counts[n] > 1 else n for i, n in enumerate(written))


def known_numbers(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The number of each label, and -1 of one that is none of the classes."""
    numbers = {label: i for i, label in enumerate(classes.tolist())}
    return np.array([numbers.get(label, -1) for label in labels.tolist()], dtype=np.int64)


def numbers_of(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The number of each label; an InputError where one is none of the classes."""
    numbers = known_numbers(labels, classes)
    if (numbers < 0).any():
        raise InputError(
            "labels of validation_data that y does not hold",
            got=listed(sorted({str(label) for label in labels[numbers < 0].tolist()})),
            expected=f"labels among the {len(classes)} classes of y",
        )
    return numbers


def checked_rows(
    estimator: BaseEstimator, x: Any, y: Any, weights: Any, kind: Kind, held_out: bool = False
) -> tuple[HeldRows, np.ndarray]:
    """Inputs and weights, without the rows of weight 0, and the labels of those that are left.

    Those that are ``held_out`` are told from the others in messages.
    """
    of = " of validation_data" if held_out else ""
    raw = checked_inputs(estimator, x, kind, not held_out, f"X{of}")
    labels = checked_labels(y, f"y{of}")
    check_consistent_length(raw, labels)
    rows = HeldRows(raw, np.arange(len(labels)), checked_weights(weights, raw)).counted()
    return rows, labels[rows.labels]


def validation_rows(
    estimator: BaseEstimator, given: Any, classes: np.ndarray, kind: Kind, probs: Any = None
) -> HeldRows | None:
    """The rows of ``validation_data``, their labels numbered as ``classes`` are.

    ``probs`` (n, n_classes) are a given generalist's.
    """
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        raise InputError(
            "validation_data is not understood",
            got=type(given).__name__,
            expected="(X, y) or (X, y, sample_weight)",
        )
    x, y, weights = map(in_numpy, (*given, None)[:3])
    rows, labels = checked_rows(estimator, x, y, weights, kind, held_out=True)
    rows = with_predictions(rows, x, probs, len(classes))
    return rows.with_labels(numbers_of(labels, classes))


def with_predictions(rows: HeldRows, x: Any, probs: Any, n_classes: int) -> HeldRows:
    """Rows beside a generalist's probabilities of ``x``, of which they are those of a weight.

    Their labels are still their places in ``x``, as :func:`checked_rows` gives them.
    """
    if probs is None:
        return rows
    n = len(tensors_of(x)) if kind_of_input(x) == "tensors" else _num_samples(x)
    log_probs = given_log_probs(probs, n, n_classes, "generalist_probs")
    return replace(rows, predictions=log_probs[torch.from_numpy(rows.labels)])


def _sorting_name(label: Any) -> tuple[str, str]:
    return type(label).__name__, str(label)
