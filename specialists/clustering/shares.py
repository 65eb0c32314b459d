"""How many of a model's confusions fall inside the clusters, and which classes lie nearest to one?

Confusion mass is symmetric with a zero diagonal; a share is a fraction in [0, 1] of all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def with_nearest(members: np.ndarray, confusion: np.ndarray, n_more: int) -> np.ndarray:
    """``members`` and the ``n_more`` outside classes with the most confusion mass with them.

    Parameters
    ----------
    members : int ndarray of shape (size,)
    confusion : ndarray of shape (C, C)
    n_more : int
        More than there are outside means all of them.

    Returns
    -------
    int ndarray
        Sorted.
    """
    nearness = confusion[members].sum(axis=0)
    nearness[members] = -np.inf
    nearest = np.argsort(-nearness, kind="stable")[: min(n_more, len(nearness) - len(members))]
    return np.sort(np.concatenate([members, nearest]))


def shares_inside(
    subsets: Sequence[np.ndarray], confusion: np.ndarray
) -> tuple[list[float], float]:
    """Share of confusions inside each subset, and inside any of them.

    Pairs of classes that several subsets hold count once in the second. Without any confusion all
    shares are 0.
    """
    total = float(confusion.sum()) or 1.0
    inside = [float(confusion[np.ix_(members, members)].sum()) / total for members in subsets]
    covered = np.zeros(confusion.shape, dtype=bool)
    for members in subsets:
        covered[np.ix_(members, members)] = True
    return inside, min(1.0, float(confusion[covered].sum()) / total)
