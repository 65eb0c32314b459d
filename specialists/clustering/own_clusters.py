"""Clusters that somebody else made: a known hierarchy, another program's, one's own.

The subsets stay as they are, in their order. Their shares of confusions are measured, as those of
clusters that were found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specialists.clustering import checks
from specialists.clustering.classes import ClassClusters
from specialists.clustering.co_predictions import CoPredictions
from specialists.clustering.confused_pairs import KEPT, heaviest_pairs
from specialists.clustering.shares import shares_inside
from specialists.covariance.sketched import PredictionSketch
from specialists.covariance.streaming import PredictionCovariance
from specialists.errors import InputError, listed

OWN = "own"  # as the method of clusters that were not found here


def clusters_of_subsets(
    subsets: Sequence[Sequence[int]],
    covariance: PredictionCovariance | PredictionSketch | np.ndarray,
    class_names: Sequence[str] | None = None,
) -> ClassClusters:
    """Given subsets of classes, with the share of a model's confusions inside each.

    Parameters
    ----------
    subsets : sequence of sequences of int
        Class indices. They may overlap, and classes may be in none.
    covariance : PredictionCovariance, PredictionSketch, or array of shape (C, C)
        Of predictions on validation or cross-fitted training data, never of the test set.
    class_names : sequence of str, optional
        Names of the C classes; their indices if None.

    Raises
    ------
    InputError
        If there is no subset, or one has no class, all of them, or one that there is not.
    """
    pairs = CoPredictions.from_source(covariance)
    names = checks.named(class_names, pairs.n_classes)
    classes = members_of(subsets, pairs.n_classes)
    arrays = [np.array(members) for members in classes]
    shares, total = shares_inside(arrays, pairs.confusion, pairs.confusion_mass)
    return ClassClusters(
        classes=tuple(classes),
        core_classes=tuple(classes),
        class_names=names,
        method=OWN,
        matrix="confusion",
        share_of_confusions=tuple(shares),
        total_share=total,
        pairs=heaviest_pairs(pairs, KEPT),
    )


def members_of(subsets: Sequence[Sequence[int]], n_classes: int) -> list[tuple[int, ...]]:
    """Each subset's classes once, in increasing order.

    Raises
    ------
    InputError
        If there is no subset, or one has no class, all of them, or one that there is not.
    """
    classes = []
    for index, subset in enumerate(subsets):
        members = sorted(set(map(int, subset)))
        fits = 0 < len(members) < n_classes
        if not fits or members[0] < 0 or members[-1] >= n_classes:
            raise InputError(
                "this is no cluster of some of the classes",
                where=f"cluster {index}",
                got=f"the {len(members)} classes {listed(members)}",
                expected=f"1 to {n_classes - 1} of the {n_classes} classes",
            )
        classes.append(tuple(members))
    if not classes:
        raise InputError("there are no clusters", expected="at least one")
    return classes
