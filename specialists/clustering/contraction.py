"""Where to start when there is no C x C matrix: contract the sparse graph of confusions.

Only the 32 strongest confusions of each class are looked at. Classes that confuse each other most
are merged in pairs, all mutual best pairs of a round at once, and the graph is contracted to its
new nodes (heavy-edge matching, Karypis and Kumar, 1998), until the number of clusters is reached or
no pair fits the size bound. What is left over is packed into the clusters with most room. Every
round is a few sparse matrix operations, so the cost is about linear in the number of classes.
"""

from __future__ import annotations

import heapq

import numpy as np
import scipy.sparse as sparse

from specialists.clustering.balanced import SizeBounds
from specialists.covariance.rows import n_rows, strongest

N_NEIGHBOURS = 32


def contracted(confusion: sparse.csr_matrix, n_clusters: int, bounds: SizeBounds) -> np.ndarray:
    """Labels (C,) by rounds of mutual best pairs, packed into ``n_clusters`` within the bounds.

    ``confusion`` (C, C) is symmetric, with an empty diagonal.
    """
    labels = np.arange(n_rows(confusion))
    sizes, graph = np.ones(len(labels)), strongest_pairs(confusion)
    while len(sizes) > n_clusters:
        first, second = mutual_best(graph, sizes, bounds.largest, len(sizes) - n_clusters)
        if not len(first):
            break
        target = np.arange(len(sizes))
        target[second] = first
        target = np.unique(target, return_inverse=True)[1]
        join = sparse.csr_matrix((np.ones(len(sizes)), (np.arange(len(sizes)), target)))
        graph = (join.T @ graph @ join).tocsr()
        sizes = np.bincount(target, weights=sizes)
        labels = target[labels]
    return packed(labels, n_clusters, bounds)


def strongest_pairs(confusion: sparse.csr_matrix) -> sparse.csr_matrix:
    """Pairs (C, C) that are among the 32 strongest of either class."""
    near = strongest(confusion, N_NEIGHBOURS)
    return sparse.csr_matrix(near.maximum(near.T))


def mutual_best(
    graph: sparse.csr_matrix, sizes: np.ndarray, largest: int, n_most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of nodes that prefer each other, by mass over the smaller size, the best ``n_most``.

    Mass over the smaller of the two sizes was the best of five scores on O*NET titles and Omniglot
    (mass alone makes chains: 0.44 of confusions inside at the end instead of 0.48).
    """
    graph.sort_indices()
    edges = graph.tocoo()
    fits = (edges.row != edges.col) & (sizes[edges.row] + sizes[edges.col] <= largest)
    row, column = edges.row[fits], edges.col[fits]
    score = edges.data[fits] / np.minimum(sizes[row], sizes[column])
    best, value = np.full(len(sizes), -1), np.zeros(len(sizes))
    if not len(row):
        return best[:0], best[:0]
    starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
    value[row[starts]] = np.maximum.reduceat(score, starts)
    hits = np.flatnonzero(score == value[row])[::-1]
    best[row[hits]] = column[hits]
    nodes = np.flatnonzero(best >= 0)
    nodes = nodes[(best[best[nodes]] == nodes) & (nodes < best[nodes])]
    nodes = nodes[np.argsort(-value[nodes], kind="stable")][:n_most]
    return nodes, best[nodes]


def packed(labels: np.ndarray, n_clusters: int, bounds: SizeBounds) -> np.ndarray:
    """Pieces put whole into the emptiest cluster, largest first; split only where none has room."""
    order = np.argsort(labels, kind="stable")
    pieces = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    pieces.sort(key=lambda piece: (-len(piece), piece[0]))
    packed_labels = np.full(len(labels), -1)
    emptiest = [(0, cluster) for cluster in range(n_clusters)]
    for piece in pieces:
        whole = emptiest[0][0] + len(piece) <= bounds.largest
        for part in [piece] if whole else np.split(piece, len(piece)):
            size, cluster = emptiest[0]
            heapq.heapreplace(emptiest, (size + len(part), cluster))
            packed_labels[part] = cluster
    sizes = np.bincount(packed_labels, minlength=n_clusters)
    while sizes.min() < bounds.smallest:
        rich, poor = sizes.argmax(), sizes.argmin()
        packed_labels[np.flatnonzero(packed_labels == rich)[0]] = poor
        sizes[rich] -= 1
        sizes[poor] += 1
    return packed_labels
