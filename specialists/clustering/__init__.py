"""Confusable class clusters: :func:`cluster_classes` and its result, :class:`ClassClusters`."""

from specialists.clustering.classes import ClassClusters, cluster_classes
from specialists.clustering.comparison import Comparison, compare
from specialists.clustering.diagnostics import ClusterDiagnostics, diagnose, diagnostics_text
from specialists.clustering.online import OnlineClusters

__all__ = [
    "ClassClusters",
    "ClusterDiagnostics",
    "Comparison",
    "OnlineClusters",
    "cluster_classes",
    "compare",
    "diagnose",
    "diagnostics_text",
]
