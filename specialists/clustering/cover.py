"""How does every class lie in r clusters, none of which is large? In r partitions of the classes.

The first partition holds the most confusions that the search finds, and each later one the most of
those that are left: pairs of classes that a cluster holds already count for nothing. So a class is
in exactly r clusters, one of each partition, and sizes keep the bounds that one partition keeps.

If every partition is the best, r of them cover at least ``1 - (1 - 1/r)^r`` of what the best r
partitions together do (Nemhauser, Wolsey and Fisher, 1978): three quarters for two. Of a sparse
matrix the later ones look at the 32 strongest confusions of each class alone, which covered as
many of all. Pairs of class and cluster taken greedily, each cluster with a capacity, cover more
where predictions are few, less where they are many, and leave cores of two classes
(data/notebook/2026-11-29.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sparse

from specialists.clustering.contraction import strongest_pairs
from specialists.clustering.methods import ClusteringProblem
from specialists.covariance.rows import entries, row_blocks


def partitions(
    find: Callable[[ClusteringProblem], np.ndarray], problem: ClusteringProblem, coverage: int
) -> np.ndarray:
    """Labels of each partition, shape (coverage, C), the first on all confusions.

    ``problem.n_clusters`` M is the number of clusters of all partitions together. Where
    ``coverage`` does not divide it, the earlier have one more than the later. ``problem.max_ratio``
    bounds sizes over the mean ``coverage`` C / M; a partition that this leaves no room has clusters
    of at most its own mean, rounded up. With ``coverage`` 1 the labels are those of
    ``find(problem)``.
    """
    left, columns = problem.confusion, problem.columns
    labels = np.empty((coverage, left.shape[0]), dtype=int)
    for index in range(coverage):
        searched = left
        if index:
            left = between_clusters(left, labels[index - 1])
            searched = columns = strongest_pairs(left) if sparse.issparse(left) else left
        n_clusters = len(range(index, problem.n_clusters, coverage))
        max_ratio = problem.max_ratio * (coverage * n_clusters / problem.n_clusters)
        part = ClusteringProblem(columns, searched, n_clusters, max_ratio, problem.seed)
        labels[index] = find(part)
    return labels


def between_clusters(confusion: Any, labels: np.ndarray) -> Any:
    """Confusion mass (C, C), an array or sparse matrix, without pairs of classes of one label."""
    if not sparse.issparse(confusion):
        return np.where(labels[:, None] == labels, 0.0, confusion)
    left = sparse.csr_matrix(confusion, copy=True)
    for rows in row_blocks(left.indptr):
        row, column, mass = entries(left, rows)
        mass[labels[row] == labels[column]] = 0.0
    left.eliminate_zeros()
    return left
