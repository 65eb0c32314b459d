"""Confusable class clusters: :func:`cluster_classes` and its result, :class:`ClassClusters`."""

from specialists.clustering.classes import ClassClusters, cluster_classes

__all__ = ["ClassClusters", "cluster_classes"]
