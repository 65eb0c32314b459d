"""Confusable class clusters: :func:`cluster_classes` and its result, :class:`ClassClusters`."""

from specialists.clustering.classes import ClassClusters, cluster_classes
from specialists.clustering.cluster_diagnostics import (
    ClusterDiagnostics,
    diagnose,
    diagnostics_text,
)
from specialists.clustering.confused_pairs import confused_pairs
from specialists.clustering.group_comparison import GroupComparison, compare
from specialists.clustering.online import OnlineClusters
from specialists.clustering.own_clusters import clusters_of_subsets

__all__ = [
    "ClassClusters",
    "ClusterDiagnostics",
    "GroupComparison",
    "OnlineClusters",
    "cluster_classes",
    "clusters_of_subsets",
    "compare",
    "confused_pairs",
    "diagnose",
    "diagnostics_text",
]
