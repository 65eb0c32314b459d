"""How many of a model's confusions fall inside the clusters, and which classes lie nearest to one?

Confusion mass is symmetric with a zero diagonal, an array or a sparse matrix; a share is a fraction
in [0, 1] of all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse


def with_nearest(members: np.ndarray, confusion: Any, n_more: int) -> np.ndarray:
    """``members`` and the ``n_more`` outside classes with the most confusion mass with them.

    Parameters
    ----------
    members : int ndarray of shape (size,)
    confusion : ndarray or sparse matrix of shape (C, C)
    n_more : int
        More than there are outside means all of them.

    Returns
    -------
    int ndarray
        Sorted.
    """
    if not n_more:
        return np.sort(members)
    nearness = np.asarray(confusion[members].sum(axis=0), dtype=float).ravel()
    nearness[members] = -np.inf
    nearest = np.argsort(-nearness, kind="stable")[: min(n_more, len(nearness) - len(members))]
    return np.sort(np.concatenate([members, nearest]))


def shares_inside(
    subsets: Sequence[np.ndarray], confusion: np.ndarray | sparse.csr_matrix
) -> tuple[list[float], float]:
    """Share of confusions inside each subset, and inside any of them.

    Pairs of classes that several subsets hold count once in the second. Without any confusion all
    shares are 0.
    """
    total = float(confusion.sum()) or 1.0
    member = _membership(subsets, n_rows(confusion))
    inside = np.asarray(member.multiply(member @ confusion).sum(axis=1)).ravel() / total
    together = (member.T @ member).tocoo()
    if isinstance(confusion, np.ndarray):
        covered = confusion[together.row, together.col].sum()
    else:
        covered = confusion.multiply(together > 0).sum()
    return inside.tolist(), min(1.0, float(covered) / total)


def n_rows(matrix: Any) -> int:
    """Number of rows of an array or sparse matrix."""
    return int(matrix.shape[0])


def _membership(subsets: Sequence[np.ndarray], n_classes: int) -> sparse.csr_matrix:
    columns = np.concatenate([*subsets, np.empty(0, dtype=int)])
    starts = np.cumsum([0, *(len(members) for members in subsets)])
    shape = (len(subsets), n_classes)
    return sparse.csr_matrix((np.ones(len(columns)), columns, starts), shape=shape)
