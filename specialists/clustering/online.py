"""Clusters while predictions stream by: the paper's "online" K-means on covariance columns.

Hinton, Vinyals and Dean (2015), section 5.3, name an online K-means without its details. Here each
batch of predictions first updates the exact covariance and then takes one Lloyd step from the
labels that stood: centres are means of the *present* columns, so nothing of an early, noisy
covariance stays in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from specialists.clustering.checks import named, whole_number
from specialists.clustering.classes import ClassClusters, clusters_of_labels
from specialists.clustering.co_predictions import CoPredictions
from specialists.clustering.methods import ClusteringProblem, kmeans
from specialists.covariance.streaming import PredictionCovariance
from specialists.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class OnlineClusters:
    """K-means on covariance columns, one step a batch of predictions.

    ``seed`` is that of the start, which is K-means after the first batch.
    """

    def __init__(self, n_classes: int, n_clusters: int, seed: int = 0) -> None:
        self.covariance = PredictionCovariance(n_classes)
        self.n_clusters = whole_number(n_clusters, "n_clusters", 1, n_classes)
        self.seed = seed
        self._labels: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """Cluster of each class as it stands, int64 (C,), once two rows were seen."""
        if self._labels is None:
            raise InputError("too few rows of predictions", got=self.covariance.n_samples)
        return self._labels.astype(np.int64)

    def update(self, probs: np.ndarray | Tensor) -> OnlineClusters:
        """Add rows of probabilities, shape (n, C), and move the clusters by one step."""
        self.covariance.update(probs)
        if self.covariance.n_samples >= 2:
            self._step(self.covariance.covariance())
        return self

    def clusters(self, class_names: Sequence[str] | None = None) -> ClassClusters:
        """The clusters as they stand."""
        names = named(class_names, self.covariance.n_classes)
        co_predictions = CoPredictions.from_source(self.covariance)
        return clusters_of_labels(self.labels[None], co_predictions, names, "online", "covariance")

    def _step(self, columns: np.ndarray) -> None:
        if self._labels is None:
            start = ClusteringProblem(columns, columns, self.n_clusters, np.inf, self.seed)
            self._labels = kmeans(start)
            return
        member = self._labels == np.arange(self.n_clusters)[:, None]
        centres = member @ columns / np.maximum(member.sum(axis=1, keepdims=True), 1)
        distances = (centres**2).sum(axis=1) - 2 * columns @ centres.T
        distances[:, ~member.any(axis=1)] = np.inf
        self._labels = distances.argmin(axis=1)
