"""Which labels are there, and which are right for the same input?

Labels are the sorted distinct values, so that class indices do not depend on the order of rows.
Where one input has several labels, each of its rows carries all of them.
"""

from __future__ import annotations

import numpy as np
import torch

from specialists.datasets.base import Ragged


def label_sets(groups: np.ndarray, labels: np.ndarray, n_groups: int) -> Ragged:
    """Every label of every group, sorted, one row a group.

    Parameters
    ----------
    groups : int array of shape (n,)
        Rows with the same input share a group in [0, ``n_groups``).
    labels : int array of shape (n,)

    Examples
    --------
    >>> sets = label_sets(np.array([0, 1, 0, 0]), np.array([2, 0, 1, 2]), 2)
    >>> sets.row(0).tolist(), sets.row(1).tolist()
    ([1, 2], [0])
    """
    pairs = np.unique(np.stack([groups, labels], axis=1).astype(np.int64), axis=0)
    counts = np.bincount(pairs[:, 0], minlength=n_groups)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Ragged(torch.from_numpy(pairs[:, 1].copy()), torch.from_numpy(offsets))


def valid_of_rows(groups: np.ndarray, labels: np.ndarray) -> Ragged | None:
    """The label set of every row, or None where no input has two labels."""
    n_groups = int(groups.max(initial=-1)) + 1
    sets = label_sets(groups, labels, n_groups)
    if not len(groups) or int(sets.lengths.max()) < 2:
        return None
    return sets[torch.from_numpy(groups.astype(np.int64))]
