"""How did each model answer each example, and what do the answers come to?

One pass over the log-probabilities, in blocks of rows (they may be memory-mapped and too large for
memory), keeps a few numbers per example; every metric is then a mean of those. Where classes tie,
the one with the smaller index ranks first.

ECE: Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3, with 15 bins of
equal width of the confidence. A label of probability zero costs -log of float32's smallest normal
number, 87.3 nats, so that the mean stays finite; every larger probability is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from specialists.datasets.base import Ragged
from specialists.errors import SpecialistsError
from specialists.json_record import JsonRecord
from specialists.predictions import ModelOutputs
from specialists.probability import MAX_NLL

N_BINS = 15
VALUES_PER_BLOCK = 2**24


@dataclass(frozen=True)
class Scores:
    """One model's answers to n examples.

    Parameters
    ----------
    prediction : int64 array of shape (n,)
        The most probable class.
    correct, in_top5 : bool arrays of shape (n,)
        Whether the label is the first, or one of the first five classes.
    correct_any : bool array of shape (n,), optional
        Whether the prediction is any of the valid labels; None without label sets.
    nll : float64 array of shape (n,)
        -log p(label) in nats, at most ``MAX_NLL``.
    confidence : float64 array of shape (n,)
        Probability of the prediction.
    """

    prediction: NDArray[np.int64]
    correct: NDArray[np.bool_]
    in_top5: NDArray[np.bool_]
    correct_any: NDArray[np.bool_] | None
    nll: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @property
    def acceptable(self) -> NDArray[np.bool_]:
        """Right by any valid label where there are label sets, else by the label."""
        return self.correct if self.correct_any is None else self.correct_any

    def values(self, metric: str) -> NDArray[np.float64]:
        """Each example's "top1" (0 or 1) or "nll"."""
        return self.correct.astype(np.float64) if metric == "top1" else self.nll


def blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of consecutive rows that hold about 2^24 values each."""
    step = max(1, VALUES_PER_BLOCK // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def score_model(outputs: ModelOutputs, labels: NDArray[np.int64], valid: Ragged | None) -> Scores:
    """What ``outputs`` say about each example.

    Parameters
    ----------
    outputs : ModelOutputs
        Its predictions are of n rows.
    labels : int64 array of shape (n,)
    valid : Ragged of n rows of class indices, optional

    Raises
    ------
    SpecialistsError
        When the rows are not those of ``labels`` or hold NaN.
    """
    n, n_classes = len(outputs.predictions), outputs.predictions.n_classes
    if n != len(labels) or (n and not 0 <= labels.min() <= labels.max() < n_classes):
        raise SpecialistsError(
            f"Predictions of {outputs.name} have shape {(n, n_classes)} and do not fit "
            f"{len(labels)} labels"
        )
    prediction, rank = np.empty((2, n), np.int64)
    label_log_prob, confidence = np.empty((2, n))
    for rows in blocks(n, n_classes):
        block, truth = outputs.predictions[rows], torch.from_numpy(labels[rows])
        confidence[rows] = block.confidence()
        if np.isnan(confidence[rows]).any():
            raise SpecialistsError(
                f"Predictions of {outputs.name} hold NaN in rows {rows.start} to {rows.stop - 1}"
            )
        prediction[rows] = block.predicted()
        label_log_prob[rows] = block.of_labels(truth)
        rank[rows] = block.rank_of(truth)
    return Scores(
        prediction=prediction,
        correct=prediction == labels,
        in_top5=rank < 5,
        correct_any=None if valid is None else _is_valid(prediction, valid),
        nll=np.clip(-label_log_prob, 0.0, MAX_NLL),
        confidence=np.minimum(confidence, 1.0),
    )


def _is_valid(prediction: NDArray[np.int64], valid: Ragged) -> NDArray[np.bool_]:
    rows = np.repeat(np.arange(len(valid)), valid.lengths.numpy())
    return np.isin(np.arange(len(valid)), rows[valid.values.numpy() == prediction[rows]])


def macro_accuracy(correct: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Mean over the classes that occur in ``labels`` of the accuracy within each class."""
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=correct, minlength=len(counts))
    present = counts > 0
    return float((right[present] / counts[present]).mean())


@dataclass(frozen=True)
class Bin(JsonRecord):
    """Mean confidence and accuracy of the ``n`` examples with confidence in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


def _bin_sums(confidence: NDArray[np.float64], values: NDArray | None = None) -> NDArray:
    """Sum of ``values`` (None: the number) of the examples in each bin of confidence."""
    index = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    return np.bincount(index, weights=values, minlength=N_BINS)


def reliability_bins(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> tuple[Bin, ...]:
    """Mean confidence and accuracy in 15 bins (low, high] of equal width; None in empty ones."""
    counts = _bin_sums(confidence).tolist()
    sums = [_bin_sums(confidence, values).tolist() for values in (confidence, correct)]
    return tuple(
        Bin(b / N_BINS, (b + 1) / N_BINS, n, *(total[b] / n if n else None for total in sums))
        for b, n in enumerate(counts)
    )


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_]
) -> float:
    """Mean over the examples of |accuracy - confidence| of their bin."""
    return float(np.abs(_bin_sums(confidence, confidence - correct)).sum() / len(confidence))
