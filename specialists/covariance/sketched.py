"""What of the covariance can be kept when there are too many classes for a C x C matrix?

Two things, each linear in C. **Columns**: the covariance times a random C x d matrix of signs, four
in a row (Kane and Nelson, 2014), which keeps inner products of columns up to about 1/sqrt(d) of
their lengths. **Co-prediction**: ``sum p_i p_j`` over the pairs among each row's k most probable
classes, a sparse matrix, exact for those pairs. Both are sums over rows in float64 and can be
merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse

from specialists.covariance.streaming import host_array, probability_chunks
from specialists.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SIGNS_PER_CLASS = 4


class PredictionSketch:
    """Covariance of predicted probabilities in memory linear in the number of classes.

    Parameters
    ----------
    n_classes : int
        Number of classes C.
    n_dimensions : int
        Width d of the projected columns; 0 keeps co-prediction alone.
    top_k : int
        Most probable classes of a dense row whose pairs are kept.
    seed : int
        Of the projection. Only sketches of one seed and width can be merged.
    """

    def __init__(
        self, n_classes: int, n_dimensions: int = 128, top_k: int = 16, seed: int = 0
    ) -> None:
        if n_classes < 2 or n_dimensions < 0 or top_k < 2:
            raise InputError(
                "a sketch of these sizes is not possible",
                got=f"n_classes {n_classes}, n_dimensions {n_dimensions}, top_k {top_k}",
                expected="n_classes >= 2, n_dimensions >= 0, top_k >= 2",
            )
        self.n_classes = int(n_classes)
        self.n_dimensions = int(n_dimensions)
        self.top_k = min(int(top_k), self.n_classes)
        self.seed = seed
        self.n_samples = 0
        self._projection = _signs(self.n_classes, self.n_dimensions, seed)
        self._sum = np.zeros(self.n_classes)
        self._columns = np.zeros((self.n_classes, self.n_dimensions))
        self._pairs: list[sparse.csr_matrix] = []

    def update(self, probs: np.ndarray | Tensor) -> PredictionSketch:
        """Add dense rows of probabilities, shape (n, C); columns from all of a row's classes.

        Raises
        ------
        InputError
            Wrong width, not finite, or not probabilities.
        """
        for rows in probability_chunks(probs, self.n_classes):
            if self.n_dimensions:
                self._columns += rows.T @ (self._projection.T @ rows.T).T
            self._sum += rows.sum(axis=0)
            top = np.argpartition(-rows, self.top_k - 1, axis=1)[:, : self.top_k]
            self._add_pairs(*_touched(top, np.take_along_axis(rows, top, axis=1)))
            self.n_samples += len(rows)
        return self

    def update_sparse(
        self, classes: np.ndarray | Tensor, probs: np.ndarray | Tensor
    ) -> PredictionSketch:
        """Add rows given as their most probable classes; the mass of the others is left out.

        Parameters
        ----------
        classes : int array or tensor of shape (n, k)
            Distinct within a row.
        probs : array or tensor of shape (n, k)
            Their probabilities; rows sum to at most 1.

        Raises
        ------
        InputError
            Shapes differ, classes are out of range, or values are not probabilities.
        """
        top, values = host_array(classes), host_array(probs).astype(np.float64)
        _check_sparse(top, values, self.n_classes)
        if not len(values):
            return self
        touched, rows = _touched(top, values)
        if self.n_dimensions:
            self._columns[touched] += rows.T @ (rows @ self._projection[touched]).toarray()
        self._sum[touched] += np.asarray(rows.sum(axis=0)).ravel()
        self._add_pairs(touched, rows)
        self.n_samples += len(values)
        return self

    def merge(self, other: PredictionSketch) -> PredictionSketch:
        """Add all rows that ``other`` has seen.

        Raises
        ------
        InputError
            Another number of classes, width or seed.
        """
        mine, theirs = [(s.n_classes, s.n_dimensions, s.seed) for s in (self, other)]
        if mine != theirs:
            raise InputError(
                "sketches of different projections cannot be merged",
                got=f"(n_classes, n_dimensions, seed) = {theirs}",
                expected=mine,
            )
        self._sum += other._sum
        self._columns += other._columns
        self._pairs += other._pairs
        self.n_samples += other.n_samples
        return self

    @property
    def mean(self) -> np.ndarray:
        """Mean probability of each class, shape (C,); of ``update_sparse`` what was given."""
        return self._sum / self._rows(1)

    def columns(self) -> np.ndarray:
        """Sketched columns of the covariance, shape (C, d): ``covariance @ projection``.

        Raises
        ------
        InputError
            Fewer than two rows were seen, or the sketch was made without columns.
        """
        count = self._rows(2)
        if not self.n_dimensions:
            raise InputError("this sketch keeps no columns", got=0, expected="n_dimensions > 0")
        projected_mean = self._projection.T @ self._sum
        return (self._columns - np.outer(self._sum, projected_mean / count)) / (count - 1)

    def confusion(self) -> sparse.csr_matrix:
        """Co-prediction of the most probable classes, mean over rows, diagonal empty, (C, C)."""
        count = self._rows(1)
        self._gather()
        pairs = self._pairs[0].tocoo()
        off = pairs.row != pairs.col
        found = (pairs.data[off] / count, (pairs.row[off], pairs.col[off]))
        return sparse.csr_matrix(found, shape=(self.n_classes, self.n_classes))

    def _rows(self, n_samples: int) -> int:
        if self.n_samples < n_samples:
            raise InputError(
                "too few rows of predictions",
                where="PredictionSketch",
                got=self.n_samples,
                expected=f"at least {n_samples}",
            )
        return self.n_samples

    def _add_pairs(self, touched: np.ndarray, rows: sparse.csr_matrix) -> None:
        pairs = (rows.T @ rows).tocoo()
        found = (pairs.data, (touched[pairs.row], touched[pairs.col]))
        self._pairs.append(sparse.csr_matrix(found, shape=(self.n_classes, self.n_classes)))
        waiting = sum(part.nnz for part in self._pairs[1:])
        if waiting > self._pairs[0].nnz or len(self._pairs) > 64:
            self._gather()

    def _gather(self) -> None:
        total = self._pairs[0]
        for part in self._pairs[1:]:
            total = total + part
        self._pairs = [total]


def _signs(n_classes: int, n_dimensions: int, seed: int) -> sparse.csr_matrix:
    if not n_dimensions:
        return sparse.csr_matrix((n_classes, 0))
    random = np.random.default_rng(seed)
    shape = (n_classes, SIGNS_PER_CLASS)
    values = random.choice([-0.5, 0.5], shape).ravel()
    places = random.integers(0, n_dimensions, shape).ravel()
    rows = np.repeat(np.arange(n_classes), SIGNS_PER_CLASS)
    return sparse.csr_matrix((values, (rows, places)), shape=(n_classes, n_dimensions))


def _touched(top: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
    touched, local = np.unique(top, return_inverse=True)
    starts = np.arange(len(top) + 1) * top.shape[1]
    shape = (len(top), len(touched))
    return touched, sparse.csr_matrix((values.ravel(), local.ravel(), starts), shape=shape)


def _check_sparse(top: np.ndarray, values: np.ndarray, n_classes: int) -> None:
    if top.ndim != 2 or top.shape != values.shape:
        raise InputError(
            "classes and their probabilities must be matrices of one shape",
            got=f"shapes {top.shape} and {values.shape}",
            expected="(n, k) and (n, k)",
        )
    if top.size and not (top.min() >= 0 and top.max() < n_classes):
        raise InputError(
            "classes are out of range",
            got=f"{top.min()} to {top.max()}",
            expected=f"0 to {n_classes - 1}",
        )
    if values.size and not (values.min() >= -1e-6 and values.sum(axis=1).max() <= 1.01):
        raise InputError(
            "predictions are not probabilities",
            got=f"smallest {values.min():.6g}, largest sum {values.sum(axis=1).max():.6g}",
            expected="values in [0, 1] that sum to at most 1 in every row",
        )
