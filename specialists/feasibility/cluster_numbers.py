"""Can there be so many clusters of so many classes, each class in so many of them?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from specialists.clustering.co_predictions import MAX_WHOLE_MATRIX, NEED_WHOLE_MATRIX
from specialists.clustering.methods import usual_number
from specialists.config import ClustersConfig


def impossible_coverage(clusters: ClustersConfig) -> Iterator[str]:
    """A line for a coverage that no data can have."""
    n, coverage = clusters.n_clusters, clusters.coverage
    if coverage > 1 and clusters.method != "balanced":
        limit = "only clusters.method = 'balanced' bounds the sizes of clusters that share classes"
        yield f"clusters.coverage = {coverage}: {limit}"
    elif isinstance(n, int) and 2 * coverage > max(n, 2):
        limit = f"at most half of the {n} clusters, or a specialist has all classes"
        yield f"clusters.coverage = {coverage}: {limit}"


def impossible_clusters(clusters: ClustersConfig, n_classes: int) -> Iterator[str]:
    """A line for each setting that cannot work with so many classes."""
    n, coverage, overlap = clusters.n_clusters, clusters.coverage, clusters.overlap
    if clusters.file is not None:
        return
    if isinstance(n, int) and not 2 <= n <= coverage * n_classes:
        times = f", times clusters.coverage = {coverage}" if coverage > 1 else ""
        yield f"clusters.n_clusters = {n}: from 2 to {n_classes}, the number of classes{times}"
        return
    if coverage > n_classes:
        yield f"clusters.coverage = {coverage}: at most {n_classes}, the number of classes"
        return
    if mistakes := list(impossible_coverage(clusters)):
        yield from mistakes
        return
    if n is None and clusters.method != "correlation":
        n = usual_number(n_classes, coverage)
    if isinstance(n, int):
        largest = math.ceil(n_classes / (n // coverage))
        if largest + overlap >= n_classes:
            limit = f"a cluster of {largest} has to leave out some of the {n_classes} classes"
            yield f"clusters.overlap = {overlap}: {limit}"
    if n_classes > MAX_WHOLE_MATRIX:
        yield from _without_whole_matrix(clusters, n_classes)


def _without_whole_matrix(clusters: ClustersConfig, n_classes: int) -> Iterator[str]:
    """What needs the whole matrix of confusions, for which many classes leave no room."""
    method, most = clusters.method, MAX_WHOLE_MATRIX
    if method in NEED_WHOLE_MATRIX or clusters.n_clusters == "auto":
        settings = f"clusters.method = {method!r}, n_clusters = {clusters.n_clusters!r}"
        yield f"{settings}: at most {most} classes, not {n_classes}"
    if method == "balanced" and clusters.matrix not in (None, "confusion"):
        limit = f"balanced compares confusions alone above {most} classes"
        yield f"clusters.matrix = {clusters.matrix!r}: {limit}"
