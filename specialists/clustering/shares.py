"""How many of a model's confusions fall inside the clusters, and which classes lie nearest to one?

Confusion mass is symmetric with a zero diagonal, an array or a sparse matrix of shape (C, C); a
share is a fraction in [0, 1] of all of it. Subsets are int arrays of class indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse

from specialists.covariance.rows import n_rows, product_blocks, row_blocks


def with_nearest(members: np.ndarray, confusion: Any, n_more: int) -> np.ndarray:
    """``members`` and the ``n_more`` outside classes with the most confusion mass with them.

    Sorted; all classes where fewer than ``n_more`` are outside. Classes without confusions come
    last, in their order.
    """
    if not n_more:
        return np.sort(members)
    n_more = min(n_more, n_rows(confusion) - len(members))
    part = sparse.csr_matrix(confusion[members])
    near, index = np.unique(part.indices, return_inverse=True)
    mass = np.bincount(index, weights=part.data, minlength=len(near))
    mass[np.isin(near, members)] = 0.0
    nearest = near[np.argsort(-mass, kind="stable")[: min(n_more, int((mass > 0).sum()))]]
    chosen = np.concatenate([members, nearest])
    if len(nearest) < n_more:
        unrelated = np.setdiff1d(np.arange(n_rows(confusion)), chosen)
        chosen = np.concatenate([chosen, unrelated[: n_more - len(nearest)]])
    return np.sort(chosen)


def split_by_label(values: np.ndarray, labels: np.ndarray, n_labels: int) -> list[np.ndarray]:
    """``values[labels == m]`` for each m below ``n_labels``; order kept, -1 left out."""
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(n_labels + 1))
    return [values[order[ends[m] : ends[m + 1]]] for m in range(n_labels)]


def shares_inside(
    subsets: Sequence[np.ndarray], confusion: np.ndarray | sparse.csr_matrix, total: float
) -> tuple[list[float], float]:
    """Share of confusions inside each subset, and inside any of them.

    Pairs of classes that several subsets hold count once in the second. Shares are of ``total``:
    the mass of ``confusion``, or more where it leaves pairs out. Without any they are 0.
    """
    total = total or 1.0
    held = sparse.csr_matrix(_membership(subsets, n_rows(confusion)).T)
    inside, covered = np.zeros(len(subsets)), 0.0
    starts = np.arange(n_rows(confusion) + 1) * n_rows(confusion)
    for rows in row_blocks(getattr(confusion, "indptr", starts)):
        pairs = held[rows].multiply(sparse.csr_matrix(confusion[rows] @ held)).tocoo()
        inside += np.bincount(pairs.col, weights=pairs.data, minlength=len(subsets))
        covered += float(pairs.data.sum())
        if _overlapping(held):
            covered -= _counted_again(held, confusion, rows)
    return (inside / total).tolist(), min(1.0, covered / total)


def _counted_again(held: sparse.csr_matrix, confusion: Any, rows: slice) -> float:
    """Mass of pairs with classes of ``rows`` for each subset that holds them beyond the first."""
    pairs = sparse.coo_matrix(confusion[rows])
    often = np.diff(held.indptr) > 1
    several = often[pairs.row + rows.start] & often[pairs.col]
    first, second = held[pairs.row[several] + rows.start], held[pairs.col[several]]
    times = np.asarray(first.multiply(second).sum(axis=1)).ravel()
    return float((pairs.data[several] * np.maximum(times - 1, 0)).sum())


def share_of_pairs(subsets: Sequence[np.ndarray], n_classes: int) -> float:
    """Share of all pairs of classes that any subset holds: random clusters' share of confusions.

    Give the classes of the subsets to one another at random, sizes and overlaps unchanged. Then
    every pair of classes lies in a subset with the same probability, and the expected share of
    confusions inside is that probability, whatever the confusions: for disjoint subsets of sizes
    s_m, ``sum_m s_m (s_m - 1) / (C (C - 1))``; a pair that several subsets hold counts once.
    """
    member = _membership(subsets, n_classes)
    held = sparse.csr_matrix(member.T)
    if _overlapping(held):
        pairs = sum(product.nnz for _, product in product_blocks(held, member))
    else:
        pairs = int((np.diff(member.indptr) ** 2).sum())
    alone = np.count_nonzero(np.diff(held.indptr))
    return float(pairs - alone) / (n_classes * (n_classes - 1))


def _overlapping(held: sparse.csr_matrix) -> bool:
    return bool((np.diff(held.indptr) > 1).any())


def _membership(subsets: Sequence[np.ndarray], n_classes: int) -> sparse.csr_matrix:
    columns = np.concatenate([*subsets, np.empty(0, dtype=int)])
    starts = np.cumsum([0, *(len(members) for members in subsets)])
    shape = (len(subsets), n_classes)
    return sparse.csr_matrix((np.ones(len(columns)), columns, starts), shape=shape)
