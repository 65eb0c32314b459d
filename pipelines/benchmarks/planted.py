"""Which predictions does a benchmark of clustering need? Those of a made-up generalist.

Classes lie in planted clusters of very unequal sizes (log-normal, from 2 classes to a hundred and
more), six clusters to a family. A row is an example of a true class t, and holds t, its nearest
neighbours on the ring of its cluster (so a large cluster is no clique: near classes are confused
more than distant ones), classes of its family and classes from anywhere. Their logits are normal,
lower from level to level, and softmax makes them probabilities. A background mass is left to all
other classes: dense rows spread it over them by random popularity. Half of the rows go through all
classes in turn, so that each is seen; the others draw theirs by a power law of frequency.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MEAN_SIZE = 30
SIZE_SPREAD = 0.9
CLUSTERS_IN_FAMILY = 6
N_NEIGHBOURS, N_FAMILY, N_ANYWHERE = 6, 2, 2
ROW_WIDTH = 1 + N_NEIGHBOURS + N_FAMILY + N_ANYWHERE
LEVELS = (1.6, *(1.0 - 0.2 * k for k in range(N_NEIGHBOURS)), -0.8, -0.8, -1.6, -1.6)
NOISE = 1.0
BACKGROUND = 0.05
FREQUENCY_EXPONENT = 0.5


class PlantedPredictions:
    """Predictions with planted clusters of confusable classes, at least a hundred.

    ``seed`` is that of the planted structure; rows have a seed of their own.
    """

    def __init__(self, n_classes: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.n_classes = n_classes
        sizes = _sizes(n_classes, random)
        ends = np.cumsum(sizes)
        self._labels = np.repeat(np.arange(len(sizes)), sizes)
        self._first, self._size = (ends - sizes)[self._labels], sizes[self._labels]
        family = np.arange(len(sizes)) // CLUSTERS_IN_FAMILY
        members = np.bincount(family, weights=sizes).astype(int)
        place = family[self._labels]
        self._family_first = (np.cumsum(members) - members)[place]
        self._family_size = members[place]
        self._class = random.permutation(n_classes)
        frequency = random.permutation(np.arange(1, n_classes + 1.0) ** -FREQUENCY_EXPONENT)
        self._until = np.cumsum(frequency / frequency.sum())
        self._popularity = random.permutation(frequency / frequency.sum())

    @property
    def labels(self) -> NDArray[np.int64]:
        """Planted cluster of each class, shape (C,)."""
        labels = np.empty(self.n_classes, dtype=np.int64)
        labels[self._class] = self._labels
        return labels

    def sparse_rows(
        self, n_rows: int, seed: int = 1, batch: int = 50_000
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Batches of classes and probabilities, each of shape (n, 11), sums 1 - background.

        A class that is drawn twice in a row has its probability at the first place and 0 at others.
        """
        random = np.random.default_rng(seed)
        for start in range(0, n_rows, batch):
            yield self._rows(np.arange(start, min(start + batch, n_rows)), random)

    def dense_rows(
        self, n_rows: int, seed: int = 1, batch: int = 2000
    ) -> Iterator[NDArray[np.float32]]:
        """Batches of rows of all C probabilities, float32, summing to 1."""
        random = np.random.default_rng((seed, 1))
        for classes, probs in self.sparse_rows(n_rows, seed, batch):
            noise = random.standard_exponential((len(probs), self.n_classes), dtype=np.float32)
            noise *= self._popularity.astype(np.float32)
            rows = noise * (BACKGROUND / noise.sum(axis=1, keepdims=True))
            np.add.at(rows, (np.arange(len(rows))[:, None], classes), probs.astype(np.float32))
            yield rows

    def _rows(
        self, turn: NDArray[np.int64], random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        drawn = np.searchsorted(self._until, random.random(len(turn))).clip(0, self.n_classes - 1)
        true = np.where(turn % 2 == 0, turn // 2 % self.n_classes, drawn)[:, None]
        steps = 1 + random.geometric(0.6, (len(true), N_NEIGHBOURS)).cumsum(axis=1) // 2
        ring = np.where(np.arange(N_NEIGHBOURS) % 2 == 0, steps, -steps)
        first, size = self._first[true], self._size[true]
        near = first + (true - first + ring) % size
        family = random.integers(0, 2**31, (len(true), N_FAMILY)) % self._family_size[true]
        family += self._family_first[true]
        anywhere = random.integers(0, self.n_classes, (len(true), N_ANYWHERE))
        places = np.concatenate([true, near, family, anywhere], axis=1)
        logits = np.array(LEVELS) + NOISE * random.normal(size=places.shape)
        probs = np.exp(logits)
        same = places[:, :, None] == places[:, None, :]
        probs[np.tril(same, -1).any(axis=2)] = 0.0  # that stand further left already
        probs *= (1 - BACKGROUND) / probs.sum(axis=1, keepdims=True)
        return self._class[places], probs


def _sizes(n_classes: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Log-normal sizes from 2 on that sum to ``n_classes``."""
    n_clusters = max(2, n_classes // MEAN_SIZE)
    sizes = np.exp(SIZE_SPREAD * random.normal(size=n_clusters))
    sizes = np.maximum(2, sizes * (n_classes / sizes.sum())).astype(int)
    order = np.argsort(-sizes)
    excess = int(sizes.sum()) - n_classes
    while excess:
        step = min(abs(excess), n_clusters)
        sizes[order[:step]] -= np.sign(excess)
        excess -= np.sign(excess) * step
    return sizes
