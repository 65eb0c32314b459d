"""Confusable class clusters: :func:`cluster_classes` and its result, :class:`ClassClusters`."""

from specialists.clustering.classes import ClassClusters, cluster_classes
from specialists.clustering.online import OnlineClusters

__all__ = ["ClassClusters", "OnlineClusters", "cluster_classes"]
