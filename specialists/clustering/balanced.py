"""How to cut classes into clusters of bounded size that hold as many confusions as they can?

The objective is the sum of ``confusion[i, j]`` over pairs inside a cluster, maximised subject to
``smallest <= size <= largest``. K-means gives the start, whose sizes are brought within the bounds
greedily. Then single moves and pairwise swaps climb until none helps (Kernighan and Lin, 1970, with
one class a side). The state keeps each class's mass with each cluster, so a class's best move costs
O(M), its best swap O(C), and a sweep over all classes O(C^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_SHAKES = 16
N_SHAKEN_CLUSTERS = 6


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

    ``confusion`` (C, C) is symmetric, its diagonal zero, its entries of either sign.
    """

    def __init__(
        self, confusion: np.ndarray, labels: np.ndarray, n_clusters: int, bounds: SizeBounds
    ) -> None:
        self.confusion = confusion
        self.labels = labels.copy()
        self.bounds = bounds
        self.sizes = np.bincount(labels, minlength=n_clusters)
        self.pull = np.zeros((n_clusters, len(labels)))
        np.add.at(self.pull, labels, confusion)
        self.held = self.pull[labels, np.arange(len(labels))]
        self.tolerance = 1e-12 * float(np.abs(confusion).sum())

    @property
    def inside(self) -> float:
        """Confusion mass inside clusters, the objective."""
        return float(self.held.sum())

    def put(self, i: int, cluster: int) -> None:
        """Move class ``i`` to ``cluster``."""
        old = self.labels[i]
        self.labels[i] = cluster
        self.sizes[old] -= 1
        self.sizes[cluster] += 1
        self.pull[old] -= self.confusion[i]
        self.pull[cluster] += self.confusion[i]
        for changed in (old, cluster):
            members = self.labels == changed
            self.held[members] = self.pull[changed, members]

    def best_move(self, i: int) -> tuple[float, int]:
        """Gain of the best move of class ``i`` that the bounds allow, and its cluster."""
        home = self.labels[i]
        if self.sizes[home] <= self.bounds.smallest:
            return -np.inf, int(home)
        gains = self.pull[:, i] - self.pull[home, i]
        gains[self.sizes >= self.bounds.largest] = -np.inf
        gains[home] = -np.inf
        cluster = int(gains.argmax())
        return float(gains[cluster]), cluster

    def best_swap(self, i: int) -> tuple[float, int]:
        """Gain of the best exchange of class ``i`` with another cluster's class, and that class."""
        home = self.labels[i]
        gains = (self.pull[:, i] - self.pull[home, i])[self.labels]
        gains += self.pull[home]
        gains -= self.held
        gains -= 2 * self.confusion[i]
        gains[self.labels == home] = -np.inf
        other = int(gains.argmax())
        return float(gains[other]), other

    def improve(self, i: int, swaps: bool = True) -> tuple[int, int] | None:
        """Make the better of class ``i``'s best move and best swap; the two clusters it changed."""
        move_gain, cluster = self.best_move(i)
        swap_gain, other = self.best_swap(i) if swaps else (-np.inf, i)
        if max(move_gain, swap_gain) <= self.tolerance:
            return None
        home = int(self.labels[i])
        if swap_gain > move_gain:
            cluster = int(self.labels[other])
            self.put(other, home)
        self.put(i, cluster)
        return home, cluster

    def climb(self, order: np.ndarray, swaps: bool = True) -> None:
        """Visit all classes, then those whose cluster has changed since, until none is left."""
        waiting = np.ones(len(order), dtype=bool)
        while waiting.any():
            for i in order[waiting[order]]:
                waiting[i] = False
                changed = self.improve(int(i), swaps)
                if changed is not None:
                    waiting |= np.isin(self.labels, changed)


def refine(
    labels: np.ndarray, confusion: np.ndarray, n_clusters: int, bounds: SizeBounds, seed: int = 0
) -> np.ndarray:
    """Labels after moves and swaps, up to a local maximum of the mass inside clusters.

    ``labels`` (C,) keep the bounds; ``confusion`` (C, C) is symmetric and not negative, with a zero
    diagonal. The seed orders the classes' visits. No mass inside is lost.
    """
    partition = Partition(confusion, labels, n_clusters, bounds)
    partition.climb(np.random.default_rng(seed).permutation(len(labels)))
    return partition.labels


def shake(
    labels: np.ndarray, confusion: np.ndarray, n_clusters: int, bounds: SizeBounds, seed: int = 0
) -> np.ndarray:
    """Leave a local maximum: shuffle the classes of six random clusters, climb, keep the better.

    Sixteen rounds (iterated local search) raise the share of confusions inside by about 1% relative
    on O*NET titles. Arguments as in :func:`refine`.
    """
    random = np.random.default_rng(seed)
    best, most = labels, Partition(confusion, labels, n_clusters, bounds).inside
    for _ in range(N_SHAKES):
        chosen = random.permutation(n_clusters)[:N_SHAKEN_CLUSTERS]
        shaken = np.isin(best, chosen)
        start = best.copy()
        start[shaken] = random.permutation(best[shaken])
        refined = refine(start, confusion, n_clusters, bounds, seed)
        inside = Partition(confusion, refined, n_clusters, bounds).inside
        if inside > most:
            best, most = refined, inside
    return refine(best, confusion, n_clusters, bounds, seed)


def fit_sizes(distances: np.ndarray, bounds: SizeBounds) -> np.ndarray:
    """Labels (C,) within the bounds, the nearest pairs of class and cluster first.

    ``distances`` (C, M) are those of each class to each cluster's centre.
    """
    n_classes, n_clusters = distances.shape
    labels = np.full(n_classes, -1)
    sizes = np.zeros(n_clusters, dtype=int)
    for pair in np.argsort(distances, axis=None, kind="stable"):
        i, cluster = divmod(int(pair), n_clusters)
        if labels[i] < 0 and sizes[cluster] < bounds.largest:
            labels[i] = cluster
            sizes[cluster] += 1
    while sizes.min() < bounds.smallest:
        cluster = int(sizes.argmin())
        cost = distances[:, cluster] - distances[np.arange(n_classes), labels]
        cost[sizes[labels] <= bounds.smallest] = np.inf
        i = int(cost.argmin())
        sizes[labels[i]] -= 1
        labels[i] = cluster
        sizes[cluster] += 1
    return labels
