"""Which classes does a model confuse with each other? Clusters of them, for specialists to split.

:func:`cluster_classes` turns the covariance of predictions into :class:`ClassClusters`: subsets of
classes with the share of the model's confusions that falls inside each. The share needs no true
label: it is the mass of ``mean(p p^T)`` off its diagonal (``covariance.confusion_mass``). Source:
Hinton, Vinyals and Dean (2015), section 5.3; deviations are named at each method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from specialists.clustering import checks
from specialists.clustering.agreement import agreement
from specialists.clustering.co_predictions import CoPredictions, streamed
from specialists.clustering.confused_pairs import KEPT, Pair, heaviest_pairs
from specialists.clustering.cover import partitions
from specialists.clustering.frames import NotebookTable
from specialists.clustering.given_values import predictions_and_names
from specialists.clustering.listing import as_content, clusters_text, fields_from
from specialists.clustering.methods import METHODS, ClusteringProblem, number_of_clusters
from specialists.clustering.shares import (
    share_of_pairs,
    shares_inside,
    split_by_label,
    with_nearest,
)
from specialists.covariance.sketched import PredictionSketch
from specialists.covariance.streaming import PredictionCovariance

if TYPE_CHECKING:
    from torch import Tensor


class ClusterOptions(TypedDict, total=False):
    """Keyword arguments of :func:`cluster_classes` beside its matrices, described there."""

    method: str
    max_ratio: float
    overlap: int
    coverage: int
    seed: int
    matrix: str | None
    shuffled: bool


@dataclass(frozen=True)
class ClassClusters(NotebookTable):
    """Subsets of confusable classes: one partition after another, largest shares first in each.

    Parameters
    ----------
    classes : tuple of tuples of int
        Sorted class indices of each cluster, with those that overlap added.
    core_classes : tuple of tuples of int
        The same before overlap. With coverage r every class is in r of them, one of each of r
        partitions; the first partition is what coverage 1 would find.
    class_names : tuple of str
        Names of all C classes.
    method, matrix : str
        How the clusters were found, and whose columns were compared.
    share_of_confusions : tuple of float
        Fraction in [0, 1] of all confusion mass inside each cluster.
    total_share : float
        Fraction inside any cluster; pairs that two clusters share count once.
    agreement : float, optional
        Of ``correlation`` alone: share in [0, 1] of absolute weight that its clusters agree with.
    pairs : tuple of (int, int, float)
        The 200 most confused pairs of classes, with the share of confusions of each.
    """

    classes: tuple[tuple[int, ...], ...]
    core_classes: tuple[tuple[int, ...], ...]
    class_names: tuple[str, ...]
    method: str
    matrix: str
    share_of_confusions: tuple[float, ...]
    total_share: float
    agreement: float | None = None
    pairs: tuple[Pair, ...] = ()

    @property
    def n_clusters(self) -> int:
        """Number of clusters M."""
        return len(self.classes)

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each cluster."""
        return tuple(len(members) for members in self.classes)

    @property
    def random_share(self) -> float:
        """Expected ``total_share`` of random clusters with the same sizes and overlaps."""
        subsets = [np.array(members, dtype=int) for members in self.classes]
        return share_of_pairs(subsets, self.n_classes)

    @property
    def random_shares(self) -> tuple[float, ...]:
        """Expected share of confusions inside as many random classes as each cluster has."""
        n_pairs = self.n_classes * (self.n_classes - 1)
        return tuple(size * (size - 1) / n_pairs for size in self.sizes)

    @property
    def subsets(self) -> tuple[Tensor, ...]:
        """Sorted class indices of each cluster, int64 tensors."""
        return _tensors(self.classes)

    @property
    def core(self) -> tuple[Tensor, ...]:
        """The subsets before overlap, int64 tensors."""
        return _tensors(self.core_classes)

    @property
    def labels(self) -> np.ndarray:
        """Cluster of each class in the first partition, int64 of shape (C,); -1: in none."""
        labels = np.full(self.n_classes, -1, dtype=np.int64)
        for index, members in enumerate(map(list, self.core_classes)):
            if (labels[members] >= 0).any():
                break  # the next partition
            labels[members] = index
        return labels

    @property
    def first_partition(self) -> tuple[tuple[int, ...], ...]:
        """The clusters of :attr:`labels`, which share no class."""
        return self.core_classes[: int(self.labels.max(initial=-1)) + 1]

    @property
    def uncovered(self) -> tuple[int, ...]:
        """Classes that are in no cluster."""
        return tuple(sorted(set(range(self.n_classes)).difference(*self.core_classes)))

    def names(self, index: int) -> tuple[str, ...]:
        """Class names of one cluster."""
        return tuple(self.class_names[i] for i in self.classes[index])

    def to_text(self, width: int = 100) -> str:
        """A listing for people: each cluster's size, share of confusions and class names."""
        return clusters_text(self, width)

    def to_dict(self) -> dict[str, object]:
        """What ``clusters.json`` holds; :meth:`from_dict` reads it back."""
        return as_content(self)

    @classmethod
    def from_dict(cls, content: Any) -> ClassClusters:
        """What :meth:`to_dict` gave; an :class:`InputError` if a key is missing."""
        return cls(**fields_from(content))

    @classmethod
    def from_predictions(
        cls,
        probs: Any,
        class_names: Sequence[Any] | None = None,
        n_clusters: int | str | None = None,
        **options: Unpack[ClusterOptions],
    ) -> ClassClusters:
        """Clusters of any model's predicted probabilities: array, table or lists of shape (n, C).

        A table's columns name the classes, in any order. Never use test predictions. Above 8,192
        classes a sketch takes the covariance's place. Options as in :func:`cluster_classes`.

        Raises
        ------
        InputError
            ``probs`` are not probabilities; a name stands twice; an option is not possible.
        """
        probs, names = predictions_and_names(probs, class_names)
        sums = streamed(probs, probs.shape[1])
        return cluster_classes(sums, n_clusters, class_names=names, **options)


def cluster_classes(
    covariance: PredictionCovariance | PredictionSketch | np.ndarray | Tensor,
    n_clusters: int | str | None = None,
    method: str = "balanced",
    max_ratio: float = 2.0,
    overlap: int = 0,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    confusion: np.ndarray | Tensor | None = None,
    matrix: str | None = None,
    coverage: int = 1,
    shuffled: bool = False,
) -> ClassClusters:
    """Clusters of classes that are predicted together.

    Parameters
    ----------
    covariance : PredictionCovariance, PredictionSketch, or array or tensor of shape (C, C)
        Of predictions on validation or cross-fitted training data, never of the test set.
    n_clusters : int or "auto", optional
        Number of clusters M, from ``coverage`` to ``coverage`` C. None: about C / 30, at least 2,
        for each unit of coverage. "auto": as many for each as correlation clustering finds, at
        least 2.
    method : {"balanced", "kmeans", "minibatch", "spherical", "agglomerative", "correlation"}
        ``balanced``: sizes of at most ``max_ratio`` means, at least two classes and a quarter of a
        mean, with as many confusions inside as a local search finds. The others keep no bounds.
        ``kmeans``: the paper's. ``minibatch``: the same in batches of columns. ``spherical``:
        K-means on columns of unit length. ``agglomerative``: average linkage by the columns'
        cosine. ``correlation``: finds the number of clusters itself (``n_clusters`` None or
        "auto"); a class that agrees with no other is left uncovered.
    max_ratio : float
        Largest size over mean size that ``balanced`` may use before overlap, at least 1. Where
        that leaves no room, a mean size rounded up is allowed.
    overlap : int
        Classes added to each cluster, beyond all bounds: those outside with the most confusions
        with its core.
    seed : int
        The same seed gives the same clusters.
    class_names : sequence of str, optional
        Names of the C classes; their indices if None.
    confusion : array or tensor of shape (C, C), optional
        From ``confusion_mass``. None: the one that a PredictionCovariance knows, otherwise the
        positive covariances stand for it.
    matrix : {"covariance", "correlation", "confusion"}, optional
        Whose columns are compared. None: what suits the method.
    coverage : int
        Number r of clusters that each class lies in: one of each of r partitions, the later ones
        of the confusions that the earlier leave. Above 1 for ``balanced`` alone.
    shuffled : bool
        A control: clusters of the same sizes of classes drawn at random.

    Returns
    -------
    ClassClusters

    Raises
    ------
    InputError
        A matrix is not square, finite and symmetric; a number, name or option is not possible.
    """
    co_predictions = CoPredictions.from_source(covariance, confusion)
    find, usual_matrix = METHODS[checks.one_of(method, METHODS, "method")]
    matrix = co_predictions.matrix_name(matrix, usual_matrix, method)
    names = checks.named(class_names, co_predictions.n_classes)
    overlap = checks.whole_number(overlap, "overlap", 0, co_predictions.n_classes - 1)
    coverage = checks.whole_number(coverage, "coverage", 1, co_predictions.n_classes)
    checks.suits_correlation(method, n_clusters, matrix)
    checks.suits_coverage(method, coverage)
    problem = ClusteringProblem(
        columns=co_predictions.columns(matrix, method),
        confusion=co_predictions.confusion,
        n_clusters=number_of_clusters(n_clusters, co_predictions, seed, coverage),
        max_ratio=checks.size_ratio(max_ratio),
        seed=seed,
    )
    labels = partitions(find, problem, coverage)
    if shuffled:
        labels = labels[:, np.random.default_rng(seed).permutation(co_predictions.n_classes)]
    clusters = clusters_of_labels(labels, co_predictions, names, method, matrix, overlap)
    if method != "correlation":
        return clusters
    return replace(clusters, agreement=agreement(problem.columns, labels[0]))


def clusters_of_labels(
    labels: np.ndarray,
    pairs: CoPredictions,
    class_names: tuple[str, ...],
    method: str,
    matrix: str,
    overlap: int = 0,
) -> ClassClusters:
    """Clusters of the labels of each partition, shape (r, C), -1 for none; with overlap."""
    core, partition = [], []
    for index, row in enumerate(labels):
        row = np.unique(row, return_inverse=True)[1] - int(row.min() < 0)
        core += split_by_label(np.arange(len(row)), row, int(row.max()) + 1)
        partition += [index] * (len(core) - len(partition))
    grown = [with_nearest(members, pairs.confusion, overlap) for members in core]
    shares, total_share = shares_inside(grown, pairs.confusion, pairs.confusion_mass)
    places = [(partition[i], -shares[i], int(core[i][0])) for i in range(len(core))]
    order = sorted(range(len(core)), key=places.__getitem__)
    return ClassClusters(
        classes=tuple(tuple(grown[index].tolist()) for index in order),
        core_classes=tuple(tuple(core[index].tolist()) for index in order),
        class_names=class_names,
        method=method,
        matrix=matrix,
        share_of_confusions=tuple(shares[index] for index in order),
        total_share=total_share,
        pairs=heaviest_pairs(pairs, KEPT),
    )


def _tensors(subsets: tuple[tuple[int, ...], ...]) -> tuple[Tensor, ...]:
    import torch

    return tuple(torch.tensor(members, dtype=torch.int64) for members in subsets)
