"""Predictions of training rows by classifiers that never saw them, to find clusters by.

The validation rows of many classes are few. Training rows are many, but the generalist that was
trained on them knows them by heart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from specialists.classifier import TrainedClassifier
from specialists.datasets.base import Split
from specialists.datasets.fetched_rows import only_rows
from specialists.predictions import Predictions, concatenated
from specialists.training import TrainingCost


class CrossFitted(NamedTuple):
    """Predictions of training rows by classifiers that never saw them.

    Attributes
    ----------
    predictions : Predictions of n_train rows, calibrated
    rows : int64 Tensor of shape (n_train,)
        Which row each prediction is of.
    cost : TrainingCost
        Of all these classifiers, and of their predictions.
    """

    predictions: Predictions
    rows: Tensor
    cost: TrainingCost


def cross_fitted_predictions(
    train: Split, fit: Callable[[int, Split], TrainedClassifier], n_folds: int = 2
) -> CrossFitted:
    """Predict each fold of the training rows by a classifier that was trained without it.

    ``fit`` maps the number of a fold and the split without its rows to a classifier trained on it.
    """
    parts, folds, cost = [], [], TrainingCost()
    for fold in range(n_folds):
        classifier = fit(fold, without_fold(train, fold, n_folds))
        rows = torch.arange(fold, len(train), n_folds)
        parts.append(classifier.predictions(only_rows(train.inputs, rows)))
        folds.append(rows)
        cost += classifier.cost + TrainingCost(flops=len(rows) * classifier.inference_flops)
    return CrossFitted(concatenated(parts), torch.cat(folds), cost)


def without_fold(train: Split, fold: int, n_folds: int) -> Split:
    """All rows but those of the fold: every ``n_folds``-th, from row ``fold`` on."""
    rows = torch.arange(len(train))
    rows = rows[rows % n_folds != fold]
    weights = None if train.weights is None else train.weights[rows]
    return Split(only_rows(train.inputs, rows), train.labels[rows], weights=weights)
