"""K-means where columns are sparse: how to compare a million of them with 30,000 centres?

A centre that shares no entry with a column x has x . c = 0, and of those only the one with the
least |c|^2 can be the nearest. So one sparse product X C^T finds the nearest of *all* centres for
every column, ``|x - c|^2 = |x|^2 - 2 x . c + |c|^2``, and a Lloyd step costs the number of entries
times the number of centres with mass there, not classes x clusters x dimensions. Entries must not
be negative.

The start is greedy K-means++ (Arthur and Vassilvitskii, 2007; the best of several candidates a
step, as in scikit-learn). Deviation: candidates are drawn from distances that are refreshed every
64 centres, and the best is chosen by present ones.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from specialists.covariance.rows import n_rows, product_blocks, squares, strongest

MAX_STEPS = 100
SETTLED = 1e-4
N_STARTS = 4
MANY_COLUMNS = 50_000
REFRESH = 64
N_START_ENTRIES = 32
N_BATCHES = 16
N_PASSES = 3


def sparse_kmeans(columns: sparse.csr_matrix, n_clusters: int, seed: int) -> np.ndarray:
    """Labels (C,) of the least sum of squared distances to cluster means.

    The best of four starts; of one for more than 50,000 columns. ``columns`` has one row a class,
    (C, d), not negative.
    """
    best, least = np.empty(0, dtype=int), np.inf
    n_starts = N_STARTS if n_rows(columns) <= MANY_COLUMNS else 1
    for start in range(n_starts):
        random = np.random.default_rng((seed, start))
        labels, inertia = _lloyd(columns, spread_centres(columns, n_clusters, random))
        if inertia < least:
            best, least = labels, inertia
    return best


def sparse_minibatch(columns: sparse.csr_matrix, n_clusters: int, seed: int) -> np.ndarray:
    """The same from random batches, a sixteenth of the columns each (Sculley, 2010).

    A centre is the mean of all columns that it was nearest to when their batch came.
    """
    random = np.random.default_rng(seed)
    centres = spread_centres(columns, n_clusters, random)
    seen = np.zeros(n_clusters)
    for _ in range(N_PASSES):
        for batch in np.array_split(random.permutation(n_rows(columns)), N_BATCHES):
            labels, _ = nearest_centres(columns[batch], centres)
            arrived = np.bincount(labels, minlength=n_clusters)
            share = arrived / np.maximum(seen + arrived, 1)
            new = _means(columns[batch], labels, n_clusters)
            centres = sparse.diags(1 - share) @ centres + sparse.diags(share) @ new
            centres = sparse.csr_matrix(centres)
            seen += arrived
    return nearest_centres(columns, centres)[0]


def nearest_centres(
    columns: sparse.csr_matrix, centres: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centre of each column, and the squared distance to it."""
    lengths = squares(centres)
    plain = int(lengths.argmin())
    labels = np.full(n_rows(columns), plain)
    least = np.full(n_rows(columns), lengths[plain])
    for rows, product in product_blocks(columns, sparse.csr_matrix(centres.T)):
        distance = lengths[product.indices] - 2 * product.data
        filled = np.flatnonzero(np.diff(product.indptr))
        if not len(filled):
            continue
        shortest = np.minimum.reduceat(distance, product.indptr[filled])
        row = np.repeat(np.arange(len(filled)), np.diff(product.indptr)[filled])
        hits = np.flatnonzero(distance == shortest[row])[::-1]
        centre = np.empty(len(filled), dtype=int)
        centre[row[hits]] = product.indices[hits]
        nearer = shortest < least[rows.start + filled]
        column = rows.start + filled[nearer]
        labels[column], least[column] = centre[nearer], shortest[nearer]
    return labels, np.maximum(least + squares(columns), 0.0)


def spread_centres(
    columns: sparse.csr_matrix, n_clusters: int, random: np.random.Generator
) -> sparse.csr_matrix:
    """Columns far from one another by their 32 largest entries, as first centres, (M, d)."""
    search = _Spread(strongest(columns, N_START_ENTRIES))
    search.add(int(random.integers(n_rows(columns))))
    n_tries = 2 + int(np.log(n_clusters))
    for step in range(1, n_clusters):
        if step <= REFRESH or step % REFRESH == 0:
            search.refresh()
        search.add(search.best(random.random(n_tries)))
    return columns[search.chosen]


class _Spread:
    """Squared distance of every column to the nearest one chosen so far."""

    def __init__(self, columns: sparse.csr_matrix) -> None:
        self.columns, self.rows_of = columns, sparse.csr_matrix(columns.T)
        self.squares = squares(columns)
        self.distance = np.full(n_rows(columns), np.inf)
        self.shortest = np.inf
        self.until = np.empty(0)
        self.chosen: list[int] = []

    def refresh(self) -> None:
        """Take in that any column is within the sum of squares of any other; sum up distances."""
        self.distance = np.minimum(self.distance, self.squares + self.shortest)
        self.until = np.cumsum(self.distance)

    def best(self, draws: np.ndarray) -> int:
        """Of the columns drawn by their distance, the one that lowers the sum of distances most."""
        drawn = np.searchsorted(self.until, draws * self.until[-1], side="right")
        tried = np.unique(drawn.clip(0, len(self.until) - 1)).tolist()
        gains = []
        for column in tried:
            rows, distance = self._near(column)
            gains.append(np.maximum(self.distance[rows] - distance, 0.0).sum())
        return tried[int(np.argmax(gains))]

    def add(self, column: int) -> None:
        """Choose a column."""
        rows, distance = self._near(column)
        self.distance[rows] = np.minimum(self.distance[rows], distance)
        self.shortest = min(self.shortest, float(self.squares[column]))
        self.chosen.append(column)

    def _near(self, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns that share an entry with this one, and their squared distances to it."""
        part = slice(self.columns.indptr[column], self.columns.indptr[column + 1])
        shared, starts = self.columns.indices[part], self.rows_of.indptr
        counts = starts[shared + 1] - starts[shared]
        before = np.cumsum(counts) - counts
        entry = np.arange(counts.sum()) + np.repeat(starts[shared] - before, counts)
        rows, inverse = np.unique(self.rows_of.indices[entry], return_inverse=True)
        values = self.rows_of.data[entry] * np.repeat(self.columns.data[part], counts)
        products = np.bincount(inverse, weights=values, minlength=len(rows))
        distance = self.squares[rows] + self.squares[column] - 2 * products
        return rows, np.maximum(distance, 0.0)


def _lloyd(columns: sparse.csr_matrix, centres: sparse.csr_matrix) -> tuple[np.ndarray, float]:
    n_clusters = n_rows(centres)
    before = np.full(n_rows(columns), -1)
    labels, distance = nearest_centres(columns, centres)
    for _ in range(MAX_STEPS):
        empty = np.flatnonzero(np.bincount(labels, minlength=n_clusters) == 0)
        labels[np.argsort(-distance, kind="stable")[: len(empty)]] = empty
        if np.count_nonzero(labels != before) <= n_rows(columns) * SETTLED:
            break
        before = labels
        labels, distance = nearest_centres(columns, _means(columns, labels, n_clusters))
    return labels, float(distance.sum())


def _means(columns: sparse.csr_matrix, labels: np.ndarray, n_clusters: int) -> sparse.csr_matrix:
    sizes = np.bincount(labels, minlength=n_clusters)
    shares = (1 / sizes[labels], (labels, np.arange(len(labels))))
    shape = (n_clusters, len(labels))
    return sparse.csr_matrix(sparse.csr_matrix(shares, shape=shape) @ columns)
