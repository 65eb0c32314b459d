"""How to cut classes into clusters of bounded size that hold as many confusions as they can?

The objective is the sum of ``confusion[i, j]`` over pairs inside a cluster, maximised subject to
``smallest <= size <= largest``. K-means gives the start, its sizes are mended greedily, and then
single moves and pairwise swaps climb until none helps (Kernighan and Lin, 1970, with one class a
side). The state keeps each class's mass with each cluster, so a class's best move costs O(M), its
best swap O(C), and a sweep over all classes O(C^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_SWEEPS = 100


@dataclass(frozen=True)
class SizeBounds:
    """Fewest and most classes of a cluster."""

    smallest: int
    largest: int


def size_bounds(n_classes: int, n_clusters: int, max_ratio: float) -> SizeBounds:
    """Sizes allowed: at most ``max_ratio`` means, at least a quarter of a mean and two classes.

    Where whole numbers leave no room (mean size 1.5, ratio 1) the bounds are the nearest that do.
    """
    mean = n_classes / n_clusters
    largest = max(int(np.floor(max_ratio * mean + 1e-9)), -(-n_classes // n_clusters))
    smallest = min(max(2, int(mean / 4)), n_classes // n_clusters)
    return SizeBounds(smallest, largest)


class Partition:
    """Classes in clusters, with the confusion mass between every class and every cluster.

    Parameters
    ----------
    confusion : ndarray of shape (C, C)
        Symmetric, diagonal zero.
    labels : int ndarray of shape (C,)
    n_clusters : int
    bounds : SizeBounds
    """

    def __init__(
        self, confusion: np.ndarray, labels: np.ndarray, n_clusters: int, bounds: SizeBounds
    ) -> None:
        self.confusion = confusion
        self.labels = labels.copy()
        self.bounds = bounds
        self.sizes = np.bincount(labels, minlength=n_clusters)
        self.pull = np.eye(n_clusters)[labels].T @ confusion
        self.tolerance = 1e-12 * float(confusion.sum())

    @property
    def inside(self) -> float:
        """Confusion mass inside clusters, the objective."""
        return float(self.pull[self.labels, np.arange(len(self.labels))].sum())

    def put(self, i: int, cluster: int) -> None:
        """Move class ``i`` to ``cluster``."""
        old = self.labels[i]
        self.labels[i] = cluster
        self.sizes[old] -= 1
        self.sizes[cluster] += 1
        self.pull[old] -= self.confusion[i]
        self.pull[cluster] += self.confusion[i]

    def best_move(self, i: int) -> tuple[float, int]:
        """Gain of the best move of class ``i`` that the bounds allow, and its cluster."""
        own = self.labels[i]
        if self.sizes[own] <= self.bounds.smallest:
            return -np.inf, int(own)
        gains = self.pull[:, i] - self.pull[own, i]
        gains[(self.sizes >= self.bounds.largest)] = -np.inf
        gains[own] = -np.inf
        cluster = int(gains.argmax())
        return float(gains[cluster]), cluster

    def best_swap(self, i: int) -> tuple[float, int]:
        """Gain of the best exchange of class ``i`` with another cluster's class, and that class."""
        own = self.labels[i]
        everyone = np.arange(len(self.labels))
        gains = self.pull[self.labels, i] - self.pull[own, i]
        gains += self.pull[own] - self.pull[self.labels, everyone]
        gains -= 2 * self.confusion[i]
        gains[self.labels == own] = -np.inf
        other = int(gains.argmax())
        return float(gains[other]), other

    def improve(self, i: int) -> bool:
        """Make the better of the best move and the best swap of class ``i``, if it helps."""
        move_gain, cluster = self.best_move(i)
        swap_gain, other = self.best_swap(i)
        if max(move_gain, swap_gain) <= self.tolerance:
            return False
        if swap_gain > move_gain:
            cluster = int(self.labels[other])
            self.put(other, int(self.labels[i]))
        self.put(i, cluster)
        return True


def refine(
    labels: np.ndarray, confusion: np.ndarray, n_clusters: int, bounds: SizeBounds, seed: int = 0
) -> np.ndarray:
    """Climb by moves and swaps from ``labels`` to a local maximum of the mass inside clusters.

    Parameters
    ----------
    labels : int ndarray of shape (C,)
        A start that keeps the bounds.
    confusion : ndarray of shape (C, C)
        Symmetric, not negative, diagonal zero.
    seed : int
        Order in which the classes are visited.

    Returns
    -------
    int ndarray of shape (C,)
        Within the bounds, and never with less mass inside than ``labels``.
    """
    partition = Partition(confusion, labels, n_clusters, bounds)
    order = np.random.default_rng(seed).permutation(len(labels))
    for _ in range(MAX_SWEEPS):
        if not sum(partition.improve(int(i)) for i in order):
            break
    return partition.labels


def fit_sizes(distances: np.ndarray, bounds: SizeBounds) -> np.ndarray:
    """Labels within the bounds, the nearest pairs of class and cluster first.

    Parameters
    ----------
    distances : ndarray of shape (C, M)
        Of each class to each cluster's centre.

    Returns
    -------
    int ndarray of shape (C,)
    """
    n_classes, n_clusters = distances.shape
    labels = np.full(n_classes, -1)
    sizes = np.zeros(n_clusters, dtype=int)
    for pair in np.argsort(distances, axis=None, kind="stable"):
        i, cluster = divmod(int(pair), n_clusters)
        if labels[i] < 0 and sizes[cluster] < bounds.largest:
            labels[i] = cluster
            sizes[cluster] += 1
    _fill_small(labels, sizes, distances, bounds.smallest)
    return labels


def _fill_small(
    labels: np.ndarray, sizes: np.ndarray, distances: np.ndarray, smallest: int
) -> None:
    while sizes.min() < smallest:
        cluster = int(sizes.argmin())
        cost = distances[:, cluster] - distances[np.arange(len(labels)), labels]
        cost[sizes[labels] <= smallest] = np.inf
        i = int(cost.argmin())
        sizes[labels[i]] -= 1
        labels[i] = cluster
        sizes[cluster] += 1
