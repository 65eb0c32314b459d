"""Which classes does a model predict together? Streaming covariance of its probabilities.

For rows of probabilities p the covariance is ``sum_n (p_n - m)(p_n - m)^T / (n - 1)`` with m the
mean row (METHOD.md (22)). Batches are merged by the pairwise update of Chan, Golub and LeVeque
(1983): each batch is centred by its own mean, so nothing cancels however small the probabilities
are. Everything is accumulated in float64 and no row is kept. Hinton, Vinyals and Dean (2015),
section 5.3, cluster the columns of this matrix; no true label is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from specialists.errors import InputError

if TYPE_CHECKING:
    import torch

    from specialists.covariance.sketched import PredictionSketch

CHUNK_VALUES = 4_000_000
SUM_TOLERANCE = 0.01


class PredictionCovariance:
    """Covariance of predicted probabilities, exact and streaming.

    Parameters
    ----------
    n_classes : int
        Number of classes C, at least 2.

    Examples
    --------
    >>> covariance = PredictionCovariance(2)
    >>> _ = covariance.update(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> covariance.covariance()
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """

    def __init__(self, n_classes: int) -> None:
        if n_classes < 2:
            raise InputError("a covariance needs at least two classes", got=n_classes, expected=2)
        self.n_classes = int(n_classes)
        self.n_samples: float = 0
        self._mean = np.zeros(self.n_classes)
        self._scatter = np.zeros((self.n_classes, self.n_classes))

    def update(
        self, probs: np.ndarray | torch.Tensor, counts: np.ndarray | torch.Tensor | None = None
    ) -> PredictionCovariance:
        """Add rows of probabilities.

        Parameters
        ----------
        probs : array or tensor of shape (n, C)
            Probabilities in [0, 1], rows summing to 1 (within 0.01); any float type, any device.
        counts : array or tensor of shape (n,), optional
            How many rows each one counts as; None: one.

        Returns
        -------
        PredictionCovariance
            This object, changed in place.

        Raises
        ------
        InputError
            Wrong width, not finite, or not probabilities. Nothing of a wrong chunk is added.
        """
        if counts is not None:
            return self._update_counted(probs, host_array(counts).astype(np.float64))
        for rows in probability_chunks(probs, self.n_classes):
            mean = rows.mean(axis=0)
            centred = rows - mean
            self._add(len(rows), mean, centred.T @ centred)
        return self

    def _update_counted(
        self, probs: np.ndarray | torch.Tensor, counts: np.ndarray
    ) -> PredictionCovariance:
        start = 0
        for rows in probability_chunks(probs, self.n_classes):
            weights = counts[start : start + len(rows)]
            start += len(rows)
            mean = weights @ rows / weights.sum()
            centred = rows - mean
            self._add(float(weights.sum()), mean, centred.T @ (weights[:, None] * centred))
        return self

    def merge(self, other: PredictionCovariance) -> PredictionCovariance:
        """Add all rows that ``other`` has seen, as if they had been updated here.

        Raises
        ------
        InputError
            ``other`` has another number of classes.
        """
        if other.n_classes != self.n_classes:
            raise InputError(
                "covariances of different numbers of classes cannot be merged",
                got=f"{other.n_classes} classes",
                expected=f"{self.n_classes} classes",
            )
        self._add(other.n_samples, other._mean, other._scatter)
        return self

    def _add(self, count: float, mean: np.ndarray, scatter: np.ndarray) -> None:
        if count == 0:
            return
        total = self.n_samples + count
        difference = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(difference, difference * (self.n_samples * count / total))
        self._mean = self._mean + difference * (count / total)
        self.n_samples = total

    @property
    def mean(self) -> np.ndarray:
        """Mean probability of each class, shape (C,)."""
        require_rows(self, 1)
        return self._mean.copy()

    def covariance(self) -> np.ndarray:
        """Unbiased covariance (divided by n - 1), float64 of shape (C, C), symmetric.

        Raises
        ------
        InputError
            Fewer than two rows were seen.
        """
        require_rows(self, 2)
        return (self._scatter + self._scatter.T) / (2 * (self.n_samples - 1))

    def correlation(self) -> np.ndarray:
        """Correlation in [-1, 1], shape (C, C); 0 with a class whose prediction never changes.

        Raises :class:`InputError` where fewer than two rows were seen.
        """
        return normalised(self.covariance())

    def confusion(self) -> np.ndarray:
        """Expected confusions of the rows seen: :func:`confusion_mass`, from the same sums.

        Pairs below 1e-12 of what independent predictions would give are rounding, and set to 0.
        """
        require_rows(self, 1)
        independent = np.outer(self._mean, self._mean)
        mass = (self._scatter + self._scatter.T) / (2 * self.n_samples) + independent
        mass = np.where(mass > 1e-12 * independent, mass, 0.0)
        np.fill_diagonal(mass, 0.0)
        return mass


def require_rows(predictions: PredictionCovariance | PredictionSketch, n_rows: int) -> float:
    """The number of rows seen; an :class:`InputError` where it is below ``n_rows``."""
    if predictions.n_samples < n_rows:
        raise InputError(
            "too few rows of predictions",
            where=type(predictions).__name__,
            got=predictions.n_samples,
            expected=f"at least {n_rows}",
            fix="call update(probs) with the predictions of a validation set first",
        )
    return predictions.n_samples


def confusion_mass(probs: np.ndarray | torch.Tensor) -> np.ndarray:
    """Expected confusions of a model by its own account: mean over rows of p p^T, diagonal 0.

    If the true class were drawn from the model's own probabilities and a rival from them too, entry
    (i, j) is how often i would be taken for j. Its sum is ``1 - mean(sum_j p_j^2)``. No true label
    is used.

    Parameters
    ----------
    probs : array or tensor of shape (n, C)
        Probabilities, rows summing to 1.

    Returns
    -------
    ndarray of shape (C, C)
        Float64, symmetric, not negative.

    Raises
    ------
    InputError
        Not probabilities, not finite, or no row.
    """
    n_classes = int(predictions_shape(probs)[1])
    total = np.zeros((n_classes, n_classes))
    for rows in probability_chunks(probs, n_classes):
        total += rows.T @ rows
    if not len(probs):
        raise InputError("too few rows of predictions", got=0, expected="at least 1")
    np.fill_diagonal(total, 0.0)
    return (total + total.T) / (2 * len(probs))


def normalised(covariance: np.ndarray) -> np.ndarray:
    """Correlation matrix of a covariance matrix, unit diagonal; 0 where a variance is 0."""
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    correlation = np.clip(covariance * scale[:, None] * scale, -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def probability_chunks(
    probs: np.ndarray | torch.Tensor, n_classes: int | None = None
) -> Iterator[np.ndarray]:
    """Float64 chunks of rows, checked to be finite, not negative and to sum to 1."""
    n_rows, width = predictions_shape(probs)
    if n_classes is not None and width != n_classes:
        raise InputError(
            "predictions have the wrong number of columns",
            got=f"{width} columns",
            expected=f"{n_classes}, one for each class",
        )
    step = max(1, CHUNK_VALUES // max(1, width))
    for start in range(0, n_rows, step):
        rows = host_array(probs[start : start + step]).astype(np.float64)
        _check_probabilities(rows, start)
        yield rows


def predictions_shape(probs: object) -> tuple[int, int]:
    """Shape (n, C) of predictions; an :class:`InputError` if they are no matrix."""
    shape = tuple(getattr(probs, "shape", ()))
    if len(shape) != 2:
        raise InputError(
            "predictions must be a matrix, a row for each example and a column for each class",
            got=f"shape {shape}" if shape else type(probs).__name__,
            expected="an array or tensor of shape (n, C)",
        )
    return shape


def host_array(values: Any) -> np.ndarray:
    """An array of any array or tensor, on the CPU; bfloat16 as float32."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    return np.asarray(values)


def _check_probabilities(rows: np.ndarray, start: int) -> None:
    sums = rows.sum(axis=1)
    wrong = ~(np.abs(sums - 1) <= SUM_TOLERANCE) | (rows.min(axis=1) < -1e-6)
    if not wrong.any():
        return
    row = int(np.argmax(wrong))
    finite = bool(np.isfinite(rows[row]).all())
    raise InputError(
        "predictions are not probabilities" if finite else "predictions are not finite",
        where=f"row {start + row}",
        got=f"smallest {rows[row].min():.6g}, largest {rows[row].max():.6g}, sum {sums[row]:.6g}",
        expected="values in [0, 1] that sum to 1 in every row",
        fix="apply softmax to logits, exp to log-probabilities" if finite else None,
    )
