"""How are rows drawn so that every class gives its share and equal inputs stay together?

A group of equal inputs is dealt out with its rarest label; groups are drawn in random order while
they fit into a class's share.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def drawn_rows(
    rows: np.ndarray,
    groups: np.ndarray,
    targets: Callable[[np.ndarray], np.ndarray],
    needed: int,
    left: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw whole groups of rows, stratified by label.

    Parameters
    ----------
    rows : int array of shape (n,)
        Labels.
    groups : int array of shape (n,)
        Rows with the same input share a group.
    targets : callable
        Maps the rows that each label has to give, shape (n_labels,), to those that it gives.
    needed, left : int
        Groups of each class that are drawn, and that are not, at least (if it has as many).

    Returns
    -------
    bool array of shape (n,)
    """
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.bincount(rows)
    primary = _rarest_label(rows, which, counts)
    share = np.bincount(primary, weights=sizes, minlength=len(counts))
    target = np.clip(targets(share), needed, np.maximum(share - left, 0))
    order = np.lexsort((generator.random(len(sizes)), primary))
    before = np.cumsum(sizes[order]) - sizes[order]
    first = np.searchsorted(primary[order], np.arange(len(counts)))
    end = before - before[np.minimum(first, len(order) - 1)][primary[order]] + sizes[order]
    held = np.zeros(len(sizes), dtype=bool)
    held[order] = end <= target[primary[order]]
    _cover(held, rows, which, sizes, True, needed, left)
    _cover(held, rows, which, sizes, False, left, needed)
    return held[which]


def _rarest_label(labels: np.ndarray, which: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The label of each group that has fewest rows."""
    order = np.lexsort((labels, counts[labels], which))
    firsts = np.searchsorted(which[order], np.arange(which.max(initial=-1) + 1))
    return labels[order][firsts]


def _cover(
    held: np.ndarray,
    labels: np.ndarray,
    which: np.ndarray,
    sizes: np.ndarray,
    side: bool,
    wanted: int,
    kept: int,
) -> None:
    """Move groups to ``side`` for classes with fewer than ``wanted`` there, smallest first.

    Every class keeps ``kept`` groups (or as many as it has) on the other side. Only inputs with
    several labels or many copies need this.
    """
    pairs = np.unique(np.stack([which, labels], axis=1), axis=0)
    group_of, label_of = pairs[:, 0], pairs[:, 1]
    n_labels = int(labels.max(initial=-1)) + 1
    here = np.bincount(label_of[held[group_of] == side], minlength=n_labels)
    there = np.bincount(label_of, minlength=n_labels) - here
    for label in np.unique(label_of[here[label_of] < wanted]):
        candidates = group_of[(label_of == label) & (held[group_of] != side)]
        for group in candidates[np.argsort(sizes[candidates], kind="stable")]:
            touched = label_of[group_of == group]
            if here[label] < wanted and (there[touched] > kept).all():
                held[group] = side
                here[touched] += 1
                there[touched] -= 1
