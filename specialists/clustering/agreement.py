"""How many clusters are there? Correlation clustering finds them and their number together.

Given weights of either sign (the covariance of two classes: more or less often predicted together
than independent predictions would be) it maximises the sum of weights of pairs inside clusters, so
it gains by joining positive pairs and by parting negative ones. Bansal, Blum and Chawla (2004).
Start: random pivots, each taking every free class that it agrees with (Ailon, Charikar and Newman,
2008, an expected 3-approximation for 0/1 weights); then single moves, also out into a cluster of
one's own, and merges of two clusters, until none helps; the best of four starts.

Measured on covariances of O*NET titles, Omniglot and CLINC intents: 17, 10 and 22 clusters, the
most stable of all methods or nearly so over bootstraps (adjusted Rand index 0.54 to 0.59).
"""

from __future__ import annotations

import numpy as np

from specialists.clustering.balanced import Partition, SizeBounds

N_STARTS = 4


def correlation_labels(weights: np.ndarray, seed: int = 0) -> np.ndarray:
    """Labels (C,), from 0 on, with the most weight inside clusters that the search finds.

    ``weights`` (C, C) are symmetric; their diagonal is ignored. A class that agrees with no other
    has a cluster of its own.
    """
    weights = weights.copy()
    np.fill_diagonal(weights, 0.0)
    best, most = np.empty(0, dtype=int), -np.inf
    for start in range(seed, seed + N_STARTS):
        random = np.random.default_rng(start)
        partition = free_partition(weights, pivot(weights, random))
        while True:
            partition.climb(random.permutation(len(weights)), swaps=False)
            merged = merged_pair(partition)
            if merged is None:
                break
            partition = free_partition(weights, merged)
        if partition.inside > most:
            best, most = partition.labels, partition.inside
    return np.unique(best, return_inverse=True)[1]


def pivot(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Labels by random pivots: each takes every free class of positive weight with it."""
    labels = np.full(len(weights), -1)
    for i in random.permutation(len(weights)):
        if labels[i] < 0:
            labels[(labels < 0) & (weights[i] > 0)] = i
            labels[i] = i
    return np.unique(labels, return_inverse=True)[1]


def agreement(weights: np.ndarray, labels: np.ndarray) -> float:
    """Share of all absolute weight that the clusters agree with, in [0, 1].

    Positive weight inside clusters plus negative weight between them; classes at -1 are alone.
    """
    weights = weights - np.diag(np.diagonal(weights))
    together = (labels[:, None] == labels) & (labels >= 0)
    agreed = np.maximum(np.where(together, weights, -weights), 0.0).sum()
    return float(agreed / (np.abs(weights).sum() or 1.0))


def free_partition(weights: np.ndarray, labels: np.ndarray) -> Partition:
    """Clusters of any size, with an empty one for every class that may leave."""
    return Partition(weights, labels, len(labels) + 1, SizeBounds(0, len(labels)))


def merged_pair(partition: Partition) -> np.ndarray | None:
    """Labels after the merge of two clusters that gains most; None where no merge gains."""
    used = np.flatnonzero(partition.sizes)
    member = partition.labels[:, None] == used
    between = partition.pull[used] @ member
    np.fill_diagonal(between, -np.inf)
    first, second = np.unravel_index(between.argmax(), between.shape)
    if between[first, second] <= partition.tolerance:
        return None
    labels = partition.labels.copy()
    labels[labels == used[second]] = used[first]
    return labels
