"""How to raise the confusions inside bounded clusters when only a sparse matrix of them exists?

The same objective and bounds as ``balanced``, with each class's neighbours in place of a row of C
entries: a class tries its three best neighbouring clusters, moving where there is room and
otherwise trading places with the class that the other cluster holds least. A visit costs the number
of neighbours, a sweep the number of confused pairs.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse

from specialists.clustering.balanced import SizeBounds
from specialists.covariance.rows import entries, row_blocks

N_TARGETS = 3


class SparsePartition:
    """Classes in clusters, with the mass of each class inside its own.

    ``confusion`` (C, C) is symmetric and not negative, its diagonal empty.
    """

    def __init__(
        self, confusion: sparse.csr_matrix, labels: np.ndarray, n_clusters: int, bounds: SizeBounds
    ) -> None:
        self.starts, self.columns = confusion.indptr, confusion.indices
        self.mass = confusion.data
        self.labels = labels.copy()
        self.bounds = bounds
        self.members: list[set[int]] = [set() for _ in range(n_clusters)]
        for i, cluster in enumerate(labels):
            self.members[cluster].add(i)
        self.held = np.zeros(len(labels))
        for rows in row_blocks(self.starts):
            row, column, mass = entries(confusion, rows)
            together = labels[row] == labels[column]
            self.held += np.bincount(row[together], mass[together], len(labels))
        self.tolerance = 1e-12 * float(self.mass.sum())

    @property
    def inside(self) -> float:
        """Confusion mass inside clusters, the objective."""
        return float(self.held.sum())

    def neighbours(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Classes that class ``i`` is confused with, and the mass."""
        part = slice(self.starts[i], self.starts[i + 1])
        return self.columns[part], self.mass[part]

    def pull(self, i: int) -> dict[int, float]:
        """Mass of class ``i`` with each cluster that holds a neighbour."""
        others, mass = self.neighbours(i)
        pull: dict[int, float] = {}
        for cluster, value in zip(self.labels[others].tolist(), mass.tolist(), strict=True):
            pull[cluster] = pull.get(cluster, 0.0) + value
        return pull

    def put(self, i: int, cluster: int) -> None:
        """Move class ``i`` to ``cluster``."""
        old = int(self.labels[i])
        others, mass = self.neighbours(i)
        clusters = self.labels[others]
        joined = clusters == cluster
        self.held[others] += mass * joined - mass * (clusters == old)
        self.held[i] = mass[joined].sum()
        self.labels[i] = cluster
        self.members[old].discard(i)
        self.members[cluster].add(i)

    def improve(self, i: int) -> list[int]:
        """Make the first move or trade of class ``i`` that helps; the classes that moved."""
        home, pull = int(self.labels[i]), self.pull(i)
        pull.pop(home, None)
        may_leave = len(self.members[home]) > self.bounds.smallest
        for cluster in sorted(pull, key=lambda k: (-pull[k], k))[:N_TARGETS]:
            gain = pull[cluster] - self.held[i]
            if gain <= self.tolerance:
                return []
            if may_leave and len(self.members[cluster]) < self.bounds.largest:
                self.put(i, cluster)
                return [i]
            other, loss = self._cheapest(cluster, home, i)
            if gain - loss > self.tolerance:
                self.put(other, home)
                self.put(i, cluster)
                return [i, other]
        return []

    def _cheapest(self, cluster: int, home: int, i: int) -> tuple[int, float]:
        members = np.array(sorted(self.members[cluster]))
        other = int(members[self.held[members].argmin()])
        others, mass = self.neighbours(i)
        shared = float(mass[others == other].sum())
        return other, float(self.held[other]) - self.pull(other).get(home, 0.0) + 2 * shared

    def climb(self, order: np.ndarray) -> None:
        """Visit all classes, then those with a neighbour that moved since, until none is left."""
        waiting = np.ones(len(order), dtype=bool)
        while waiting.any():
            for i in order[waiting[order]].tolist():
                waiting[i] = False
                for moved in self.improve(i):
                    waiting[self.neighbours(moved)[0]] = True
                    waiting[moved] = True
