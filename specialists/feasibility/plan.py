"""Do these data have the classes and rows that a resolved configuration counts on?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from specialists.clustering.co_predictions import MAX_WHOLE_MATRIX, NEED_WHOLE_MATRIX
from specialists.clustering.methods import CLASSES_PER_CLUSTER
from specialists.config import ClustersConfig, CombinationConfig, Config, is_set
from specialists.feasibility.networks import GIB, impossible_networks
from specialists.feasibility.shape import DataShape
from specialists.runtime import memory

PATTERNS = 1024  # of right and wrong answers, whose counts are drawn anew for every interval


def impossible(config: Config, data: DataShape) -> Iterator[str]:
    """A line for each part of a resolved configuration that cannot work with these data."""
    yield from _clusters(config.clusters, data.n_classes)
    yield from _combination(config.combination, data.n_classes)
    yield from impossible_networks(config, data)
    needed = 8 * config.evaluation.n_bootstrap * min(data.n_test, PATTERNS)
    if needed > memory():
        yield (
            f"evaluation.n_bootstrap = {config.evaluation.n_bootstrap} needs {needed / GIB:,.1f} "
            f"GiB of memory; this machine has {memory() / GIB:,.1f} GiB"
        )


def _clusters(own: ClustersConfig, n_classes: int) -> Iterator[str]:
    n = own.n_clusters
    if isinstance(n, int) and not 2 <= n <= n_classes:
        yield f"clusters.n_clusters = {n}: from 2 to {n_classes}, the number of classes"
        return
    if n is None and own.method != "correlation":
        n = min(n_classes, max(2, round(n_classes / CLASSES_PER_CLUSTER)))
    if isinstance(n, int):
        if own.coverage >= n:
            yield (
                f"clusters.coverage = {own.coverage}: less than the number of clusters ({n}), or "
                "each specialist has all classes"
            )
        largest = math.ceil(n_classes / n)
        if largest + own.overlap >= n_classes:
            yield (
                f"clusters.overlap = {own.overlap}: a cluster of {largest} has to leave out some "
                f"of the {n_classes} classes"
            )
    yield from _sketched(own, n_classes)


def _sketched(own: ClustersConfig, n_classes: int) -> Iterator[str]:
    """What needs the whole matrix of confusions, which many classes have no room for."""
    if n_classes <= MAX_WHOLE_MATRIX:
        return
    if own.method in NEED_WHOLE_MATRIX or own.n_clusters == "auto":
        yield (
            f"clusters.method = {own.method!r}, n_clusters = {own.n_clusters!r}: at most "
            f"{MAX_WHOLE_MATRIX} classes, not {n_classes}"
        )
    if own.method == "balanced" and own.matrix not in (None, "confusion"):
        yield (
            f"clusters.matrix = {own.matrix!r}: balanced compares confusions alone above "
            f"{MAX_WHOLE_MATRIX} classes"
        )


def _combination(own: CombinationConfig, n_classes: int) -> Iterator[str]:
    if is_set(own, "n") and max(own.n) > n_classes:
        yield f"combination.n = {list(own.n)}: at most {n_classes}, the number of classes"
