"""Are clusters bounded, better than shuffled ones, and like the groups that people know?

Shares of confusions are found on one half of the predictions and measured on the other, beside
clusters of the same sizes whose classes were drawn at random.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from specialists.clustering import ClassClusters, cluster_classes, compare
from specialists.covariance import PredictionCovariance, PredictionSketch

from .planted import PlantedPredictions
from .real_predictions import real_predictions

METHODS = ("balanced", "spherical", "agglomerative", "kmeans", "minibatch", "correlation")
SIZE_HEADER = [
    "classes",
    "clusters",
    "sizes",
    "largest / mean",
    "at most 2",
    "inside",
    "shuffled",
]
SHARE_HEADER = [
    "data",
    "method",
    "clusters",
    "largest / mean",
    "inside",
    "shuffled",
    "times",
    "adjusted Rand: found, shuffled",
    "adjusted MI: found, shuffled",
    "seconds",
]


def size_table(n_classes: tuple[int, ...], rows_per_class: int) -> list[list[str]]:
    """Largest size over mean size of ``balanced``, for several numbers of classes and clusters."""
    table = [SIZE_HEADER]
    for n in n_classes:
        sketch = PredictionSketch(n)
        for classes, probs in PlantedPredictions(n).sparse_rows(rows_per_class * n):
            sketch.update_sparse(classes, probs)
        for n_clusters in sorted({5, n // 100, n // 30, n // 7} - {1}):
            found, random = (
                cluster_classes(sketch, n_clusters, shuffled=shuffled) for shuffled in (False, True)
            )
            table.append(
                [
                    f"{n:,}",
                    f"{n_clusters:,}",
                    f"{min(found.sizes)} to {max(found.sizes)}",
                    f"{size_ratio(found):.3f}",
                    "yes" if size_ratio(found) <= 2 else "NO",
                    f"{found.total_share:.1%}",
                    f"{random.total_share:.1%}",
                ]
            )
    return table


def share_table(
    name: str,
    halves: list[PredictionCovariance],
    groups: list[str],
    methods: tuple[str, ...] = METHODS,
) -> list[list[str]]:
    """Share of confusions inside for every method beside shuffled clusters, and known groups."""
    confusion = halves[1].confusion()
    table = [SHARE_HEADER]
    for method in methods:
        start = time.perf_counter()
        found = cluster_classes(halves[0], method=method)
        seconds = time.perf_counter() - start
        both = [found, cluster_classes(halves[0], method=method, shuffled=True)]
        inside, at_random = (share_inside(confusion, clusters.labels) for clusters in both)
        known = [compare(clusters, groups) for clusters in both]
        table.append(
            [
                name,
                f"`{method}`",
                str(found.n_clusters),
                f"{size_ratio(found):.2f}",
                f"{inside:.1%}",
                f"{at_random:.1%}",
                f"{inside / at_random:.1f}",
                ", ".join(f"{one.adjusted_rand:.3f}" for one in known),
                ", ".join(f"{one.adjusted_mutual_information:.3f}" for one in known),
                f"{seconds:.1f}",
            ]
        )
    return table


def share_inside(confusion: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Share of confusions between classes of one label; a class at -1 is alone."""
    together = (labels[:, None] == labels) & (labels >= 0)
    return float(confusion[together].sum() / confusion.sum())


def size_ratio(clusters: ClassClusters) -> float:
    """Largest size over mean size."""
    return max(clusters.sizes) * clusters.n_clusters / sum(clusters.sizes)


def planted_halves(n_classes: int, n_rows: int) -> tuple[list[PredictionCovariance], list[str]]:
    """Two halves of planted predictions, and the planted clusters."""
    planted = PlantedPredictions(n_classes)
    halves = [PredictionCovariance(n_classes) for _ in range(2)]
    for seed, half in enumerate(halves):
        for rows in planted.dense_rows(n_rows, seed=1 + seed):
            half.update(rows)
    return halves, [str(label) for label in planted.labels]


def real_halves(folder: Path) -> Iterator[tuple[str, list[PredictionCovariance], list[str]]]:
    """Name, two halves of real predictions, and known groups."""
    for found in real_predictions(folder):
        order = np.random.default_rng(0).permutation(len(found.probs))
        halves = [
            PredictionCovariance(len(found.groups)).update(found.probs[order[k::2]])
            for k in range(2)
        ]
        yield f"{found.name}, top-1 {found.top1:.2f}", halves, found.groups
