"""What of the covariance can be kept when there are too many classes for a C x C matrix?

Two things, each linear in C. **Co-prediction**: ``sum p_i p_j`` over the pairs among each row's k
most probable classes, a sparse matrix. It is exact for those pairs until there are too many of
them; then pairs that are among the strongest of neither class are forgotten. The mass of all pairs,
kept or not, stays known. **Columns**, where asked for: the covariance times a random C x d matrix
of signs, four in a row (Kane and Nelson, 2014), which keeps inner products of columns up to about
1/sqrt(d) of their lengths. All are sums over rows in float64 and can be merged. Clusters found from
co-prediction agree with exact ones, those from random columns less so:
``python -m pipelines.benchmarks.clustering``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sparse

from specialists.covariance.rows import strongest
from specialists.covariance.streaming import host_array, probability_chunks, require_rows
from specialists.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SIGNS_PER_CLASS = 4
WAITING_VALUES = 4_000_000


class PredictionSketch:
    """Covariance of predicted probabilities in memory linear in the number of classes.

    Parameters
    ----------
    n_classes : int
        Number of classes C.
    n_dimensions : int
        Width d of projected columns, on which K-means and its kin then work; with 0 they work on
        co-prediction.
    top_k : int
        Most probable classes of a dense row whose pairs are kept.
    seed : int
        Of the projection. Only sketches of one seed and width can be merged.
    max_pairs : int
        Pairs kept for each class, on average: beyond that, the strongest half as many of each.
    """

    def __init__(
        self,
        n_classes: int,
        n_dimensions: int = 0,
        top_k: int = 16,
        seed: int = 0,
        max_pairs: int = 512,
    ) -> None:
        if n_classes < 2 or n_dimensions < 0 or top_k < 2 or max_pairs < 2:
            raise InputError(
                "a sketch of these sizes is not possible",
                got=f"n_classes {n_classes}, n_dimensions {n_dimensions}, top_k {top_k}, "
                f"max_pairs {max_pairs}",
                expected="n_classes, top_k and max_pairs of 2 or more, n_dimensions >= 0",
            )
        self.n_classes = int(n_classes)
        self.n_dimensions = int(n_dimensions)
        self.top_k = min(int(top_k), self.n_classes)
        self.max_pairs = int(max_pairs)
        self.seed = seed
        self.n_samples: float = 0
        self._projection = _signs(self.n_classes, self.n_dimensions, seed)
        self._mass = 0.0
        self._sum = np.zeros(self.n_classes)
        self._columns = np.zeros((self.n_classes, self.n_dimensions))
        self._waiting: list[sparse.csr_matrix] = []
        self._pairs: list[sparse.csr_matrix] = []

    def update(
        self, probs: np.ndarray | Tensor, counts: np.ndarray | Tensor | None = None
    ) -> PredictionSketch:
        """Add dense rows of probabilities, shape (n, C); columns from all of a row's classes.

        ``counts`` (n,) say how many rows each one counts as; None: one.

        Raises
        ------
        InputError
            Wrong width, not finite, or not probabilities.
        """
        start, many = 0, None if counts is None else host_array(counts).astype(np.float64)
        for rows in probability_chunks(probs, self.n_classes):
            weights = np.ones(len(rows)) if many is None else many[start : start + len(rows)]
            start += len(rows)
            if many is not None:  # sums of products: a row times the root of its count
                rows *= np.sqrt(weights)[:, None]
            if self.n_dimensions:
                self._columns += rows.T @ (self._projection.T @ rows.T).T
            self._sum += rows.sum(axis=0) if many is None else rows.T @ np.sqrt(weights)
            self._mass += float((weights - (rows**2).sum(axis=1)).sum())
            top = np.argpartition(-rows, self.top_k - 1, axis=1)[:, : self.top_k]
            self._add_rows(_sparse_rows(top, np.take_along_axis(rows, top, axis=1), self.n_classes))
            self.n_samples += len(rows) if many is None else float(weights.sum())
        return self

    def update_sparse(
        self, classes: np.ndarray | Tensor, probs: np.ndarray | Tensor
    ) -> PredictionSketch:
        """Add rows given as their most probable classes; the mass of the others is left out.

        Parameters
        ----------
        classes : int array or tensor of shape (n, k)
            Distinct within a row, but for those of probability 0.
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
        touched, local = np.unique(top, return_inverse=True)
        self._sum[touched] += np.bincount(local.ravel(), weights=values.ravel())
        if self.n_dimensions:
            rows = _sparse_rows(local.reshape(top.shape), values, len(touched))
            self._columns[touched] += rows.T @ (rows @ self._projection[touched]).toarray()
        self._mass += float((1 - (values**2).sum(axis=1)).sum())
        self._add_rows(_sparse_rows(top, values, self.n_classes))
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
        self._mass += other._mass
        self._sum += other._sum
        self._columns += other._columns
        for rows in other._waiting:
            self._add_rows(rows)
        for pairs in other._pairs:
            self._add_pairs(pairs)
        self.n_samples += other.n_samples
        return self

    @property
    def mean(self) -> np.ndarray:
        """Mean probability of each class, shape (C,); of ``update_sparse`` what was given."""
        return self._sum / require_rows(self, 1)

    def columns(self) -> np.ndarray:
        """Sketched columns of the covariance, shape (C, d): ``covariance @ projection``.

        Raises
        ------
        InputError
            Fewer than two rows were seen, or the sketch was made without columns.
        """
        count = require_rows(self, 2)
        if not self.n_dimensions:
            raise InputError("this sketch keeps no columns", got=0, expected="n_dimensions > 0")
        projected_mean = self._projection.T @ self._sum
        return (self._columns - np.outer(self._sum, projected_mean / count)) / (count - 1)

    @property
    def confusion_mass(self) -> float:
        """Mean over rows of ``1 - sum_j p_j^2``: the confusions of all pairs, kept or not."""
        return self._mass / require_rows(self, 1)

    def co_prediction(self) -> sparse.csr_matrix:
        """Mean over rows of ``p p^T`` of the most probable classes, diagonal included, (C, C)."""
        pairs = self._gathered()
        values: Any = pairs.data
        parts = (values / require_rows(self, 1), pairs.indices, pairs.indptr)
        return sparse.csr_matrix(parts, shape=pairs.shape)

    def confusion(self) -> sparse.csr_matrix:
        """The same without its diagonal: expected confusions, as of ``confusion_mass``."""
        pairs = self._gathered()
        confusion = sparse.csr_matrix(pairs - sparse.diags(pairs.diagonal(), format="csr"))
        values: Any = confusion.data
        values /= require_rows(self, 1)
        return confusion

    def _add_rows(self, rows: sparse.csr_matrix) -> None:
        self._waiting.append(rows)
        if sum(part.nnz for part in self._waiting) >= WAITING_VALUES:
            self._count_pairs()

    def _count_pairs(self) -> None:
        rows = sparse.csr_matrix(sparse.vstack(self._waiting))
        self._waiting = []
        pairs = sparse.csr_matrix(rows.T @ rows)
        pairs.sort_indices()
        self._add_pairs(pairs)

    def _add_pairs(self, pairs: sparse.csr_matrix) -> None:
        while self._pairs and self._pairs[-1].nnz < 2 * pairs.nnz:
            pairs = self._pairs.pop() + pairs
        if pairs.nnz > self.max_pairs * self.n_classes:
            kept = strongest(pairs, self.max_pairs // 2)
            kept = kept.maximum(kept.T).maximum(sparse.diags(pairs.diagonal()))
            pairs = sparse.csr_matrix(kept)
        self._pairs.append(pairs)

    def _gathered(self) -> sparse.csr_matrix:
        require_rows(self, 1)
        if self._waiting:
            self._count_pairs()
        while len(self._pairs) > 1:
            last = self._pairs.pop()
            self._pairs[-1] = self._pairs[-1] + last
        return self._pairs[0]


def _signs(n_classes: int, n_dimensions: int, seed: int) -> sparse.csr_matrix:
    if not n_dimensions:
        return sparse.csr_matrix((n_classes, 0))
    random = np.random.default_rng(seed)
    shape = (n_classes, SIGNS_PER_CLASS)
    values = random.choice([-0.5, 0.5], shape).ravel()
    columns = random.integers(0, n_dimensions, shape).ravel()
    rows = np.repeat(np.arange(n_classes), SIGNS_PER_CLASS)
    return sparse.csr_matrix((values, (rows, columns)), shape=(n_classes, n_dimensions))


def _sparse_rows(top: np.ndarray, values: np.ndarray, width: int) -> sparse.csr_matrix:
    starts = np.arange(len(top) + 1) * top.shape[1]
    rows = sparse.csr_matrix((values.ravel(), top.ravel(), starts), shape=(len(top), width))
    rows.eliminate_zeros()
    return rows


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
