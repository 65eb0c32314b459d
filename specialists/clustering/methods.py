"""Which classes belong together? One function a method, from matrices to one label a class.

``kmeans`` is the paper's (Hinton, Vinyals and Dean, 2015, section 5.3): K-means on the columns of
the covariance of predictions; its largest cluster often holds half the classes. ``minibatch`` is
the same from random batches of columns. ``spherical`` is K-means on columns of unit length, so that
a rare class weighs as much as a frequent one, and ``agglomerative`` joins clusters by the mean
cosine between such columns. ``balanced`` starts from ``spherical`` and then maximises the
confusions inside clusters of bounded size. ``correlation`` finds the number of clusters itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse

from specialists.clustering.agreement import correlation_labels
from specialists.clustering.balanced import Partition, fit_sizes, refine, shake, size_bounds
from specialists.clustering.checks import whole_number
from specialists.clustering.co_predictions import CoPredictions
from specialists.clustering.contraction import contracted
from specialists.clustering.sparse_kmeans import sparse_kmeans, sparse_minibatch
from specialists.clustering.sparse_search import SparsePartition
from specialists.covariance.rows import unit_rows

BATCH_SIZE = 1024
CLASSES_PER_CLUSTER = 30
N_STARTS = 4
N_BALANCED_STARTS = 2


@dataclass(frozen=True)
class ClusteringProblem:
    """What a method may look at.

    ``columns``, an array or sparse matrix of shape (C, d), has one row a class: its column of the
    matrix asked for, or a sketch of it. ``confusion`` (C, C) is the confusion mass, diagonal zero.
    """

    columns: Any
    confusion: Any
    n_clusters: int
    max_ratio: float
    seed: int


def kmeans(problem: ClusteringProblem) -> np.ndarray:
    """Labels that minimise the squared distance of each column to its cluster's mean column.

    Sizes are unbounded: on O*NET titles 728 of 781 classes share one of 26 clusters, and the 0.53
    of confusions inside are fewer than the 0.87 that random clusters of those sizes hold.
    """
    return _kmeans_labels(problem.columns, problem)


def spherical(problem: ClusteringProblem) -> np.ndarray:
    """K-means on columns scaled to unit length (their directions alone)."""
    return _kmeans_labels(unit_rows(problem.columns), problem)


def minibatch(problem: ClusteringProblem) -> np.ndarray:
    """K-means from random batches of columns; for more classes than K-means has time for."""
    if sparse.issparse(problem.columns):
        return sparse_minibatch(problem.columns, problem.n_clusters, problem.seed)
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(
        problem.n_clusters,
        n_init=N_STARTS,  # pyright: ignore
        random_state=problem.seed,
        batch_size=BATCH_SIZE,
    )
    return _labels(model, problem.columns)


def agglomerative(problem: ClusteringProblem) -> np.ndarray:
    """Average linkage by the cosine of columns, from single classes up to ``n_clusters``."""
    from sklearn.cluster import AgglomerativeClustering

    columns = unit_rows(problem.columns)
    distances = np.clip(1.0 - columns @ columns.T, 0.0, 2.0)
    model = AgglomerativeClustering(problem.n_clusters, metric="precomputed", linkage="average")
    return _labels(model, distances)


def correlation(problem: ClusteringProblem) -> np.ndarray:
    """Correlation clustering with the columns as weights; -1 for a class that stays alone."""
    labels = correlation_labels(problem.columns, problem.seed)
    return np.where(np.bincount(labels)[labels] > 1, labels, -1)


def balanced(problem: ClusteringProblem) -> np.ndarray:
    """Labels of bounded cluster size with the most confusion mass inside that the search finds.

    Measured share of confusions inside, found on half the validation predictions and measured on
    the other half, sizes at most twice the mean: this search 0.47 (O*NET titles, 26 clusters) and
    0.24 (Omniglot, 54 clusters); its starts (K-means, sizes mended) 0.10 and 0.06 on covariance
    columns, 0.35 and 0.17 on correlation columns of unit length; the search on covariance instead
    of confusion mass 0.44 and 0.23; random clusters 0.04 and 0.02. The start hardly matters. With a
    sketch the start is a contraction of the sparse confusions: 0.47 and 0.22 from 16 classes a row.
    """
    bounds = size_bounds(problem.confusion.shape[0], problem.n_clusters, problem.max_ratio)
    if sparse.issparse(problem.confusion):
        start = contracted(problem.confusion, problem.n_clusters, bounds)
        partition = SparsePartition(problem.confusion, start, problem.n_clusters, bounds)
        partition.climb(np.random.default_rng(problem.seed).permutation(len(start)))
        return partition.labels
    columns = unit_rows(problem.columns)
    best, most = np.empty(0, dtype=int), -np.inf
    for i in range(N_BALANCED_STARTS):
        seed = (problem.seed + i) % 2**32  # scikit-learn takes no larger one
        distances = _kmeans(columns, problem.n_clusters, seed, n_init=1)[1]
        start = fit_sizes(distances, bounds)
        labels = refine(start, problem.confusion, problem.n_clusters, bounds, seed)
        inside = Partition(problem.confusion, labels, problem.n_clusters, bounds).inside
        if inside > most:
            best, most = labels, inside
    return shake(best, problem.confusion, problem.n_clusters, bounds, problem.seed)


METHODS: dict[str, tuple[Callable[[ClusteringProblem], np.ndarray], str]] = {
    "agglomerative": (agglomerative, "correlation"),
    "balanced": (balanced, "correlation"),
    "correlation": (correlation, "covariance"),
    "kmeans": (kmeans, "covariance"),
    "minibatch": (minibatch, "covariance"),
    "spherical": (spherical, "correlation"),
}


def number_of_clusters(
    asked: int | str | None, co_predictions: CoPredictions, seed: int, coverage: int = 1
) -> int:
    """The number asked for; None is the usual one and "auto" what correlation clustering finds.

    Both of these for each unit of ``coverage``, of which each has a cluster at least.
    """
    if asked is None:
        return usual_number(co_predictions.n_classes, coverage)
    if asked == "auto":
        sizes = np.bincount(correlation_labels(co_predictions.whole(), seed))
        return coverage * max(2, int((sizes > 1).sum()))
    return whole_number(asked, "n_clusters", coverage, coverage * co_predictions.n_classes)


def usual_number(n_classes: int, coverage: int) -> int:
    """``coverage`` C / 30 or so: clusters of about 30 classes, however many hold each class."""
    return coverage * min(n_classes, max(2, round(n_classes / CLASSES_PER_CLUSTER)))


def _kmeans_labels(columns: Any, problem: ClusteringProblem) -> np.ndarray:
    if sparse.issparse(columns):
        return sparse_kmeans(columns, problem.n_clusters, problem.seed)
    return _kmeans(columns, problem.n_clusters, problem.seed, n_init=N_STARTS)[0]


def _kmeans(
    columns: np.ndarray, n_clusters: int, seed: int, n_init: int
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import KMeans

    model = KMeans(n_clusters, n_init=n_init, random_state=seed)  # pyright: ignore
    return _labels(model, columns), np.asarray(model.transform(columns))


def _labels(model: Any, columns: np.ndarray) -> np.ndarray:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(model.fit_predict(columns), dtype=int)
