"""Is a class nearer to its own cluster than to the next one? Silhouettes without pairs of classes.

Rousseeuw (1987): ``(b - a) / max(a, b)``, a the mean distance to the other classes of one's own
cluster, b the least mean distance to those of another. Distance is one minus the cosine of two
columns, so a mean distance to a cluster is one minus the product with the mean of its unit columns:
C x M products instead of C x C distances. Of sparse columns, which must not be negative, only the
clusters are looked at that share an entry; all others are at distance 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sparse

from specialists.covariance.rows import n_rows, product_blocks, squares, unit_rows


def silhouettes(columns: Any, labels: np.ndarray) -> np.ndarray:
    """Silhouette of each class, in [-1, 1]; NaN at label -1, or where there is one cluster only.

    ``columns`` (C, d), an array or sparse matrix, has one row a class, as has the result (C,). A
    class that is alone in its cluster has 0.
    """
    values = np.full(len(labels), np.nan)
    known = np.flatnonzero(labels >= 0)
    home = np.unique(labels[known], return_inverse=True)[1]
    sizes = np.bincount(home)
    if not 2 <= len(sizes) < len(known):
        return values
    columns = unit_rows(columns[known])
    member = sparse.csr_matrix((np.ones(len(home)), (home, np.arange(len(home)))))
    inner, outer = _mean_cosines(columns, member @ columns, home, sizes)
    a, b = 1 - inner, 1 - outer
    larger = np.maximum(a, b)
    silhouette = np.divide(b - a, larger, out=np.zeros_like(a), where=larger > 0)
    values[known] = np.where(sizes[home] > 1, silhouette, 0.0)
    return values


def _mean_cosines(
    columns: Any, sums: Any, home: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each class: mean cosine with the others of its cluster, largest mean with another one."""
    if not sparse.issparse(columns):
        product = columns @ sums.T
        every = np.arange(len(home))
        inner = product[every, home] - (columns**2).sum(axis=1)
        product /= sizes
        product[every, home] = -np.inf
        return inner / np.maximum(sizes[home] - 1, 1), product.max(axis=1)
    inner, outer = -squares(columns), np.zeros(n_rows(columns))
    for rows, block in product_blocks(columns, sparse.csr_matrix(sums.T)):
        product = block.tocoo()
        row, cluster = np.asarray(product.row) + rows.start, np.asarray(product.col)
        at_home = home[row] == cluster
        inner[row[at_home]] += product.data[at_home]
        away = ~at_home
        np.maximum.at(outer, row[away], product.data[away] / sizes[cluster[away]])
    return inner / np.maximum(sizes[home] - 1, 1), outer
