"""Which two classes does a model confuse most, how often each way, and on which rows?

A pair is as confused as the mass of ``mean(p p^T)`` at its place: no true label is needed. Which
pairs specialists tell apart better is asked elsewhere (:mod:`specialists.evaluation.pair_changes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sparse

from specialists.clustering.checks import whole_number
from specialists.clustering.co_predictions import CoPredictions, streamed
from specialists.clustering.given_values import (
    class_numbers,
    count_rows,
    pick_rows,
    predictions_and_names,
    refuse_same_names,
)
from specialists.covariance.rows import row_blocks
from specialists.covariance.streaming import host_array
from specialists.errors import InputError

if TYPE_CHECKING:
    from specialists.clustering.classes import ClassClusters
    from specialists.clustering.pair_table import PairTable

N_ROWS = 3  # that show a pair
KEPT = 200  # pairs that clusters know
BLOCK_VALUES = 1 << 24

Pair = tuple[int, int, float]
Columns = dict[str, Sequence[Any] | np.ndarray]


def heaviest_pairs(co_predictions: CoPredictions, k: int) -> tuple[Pair, ...]:
    """At most ``k`` pairs of classes with their shares of all confusions, the largest first."""
    confusion = co_predictions.confusion
    starts = np.arange(co_predictions.n_classes + 1) * co_predictions.n_classes
    kept: list[tuple[Any, Any, Any]] = [(np.empty(0, int), np.empty(0, int), np.empty(0))]
    for rows in row_blocks(getattr(confusion, "indptr", starts)):
        upper = sparse.triu(sparse.csr_matrix(confusion[rows]), rows.start + 1).tocoo()
        mass = np.asarray(upper.data)
        if len(mass) > k:  # with all that are as large as the k-th
            part = np.flatnonzero(mass >= np.partition(mass, -k)[-k]) if k else []
            kept.append((upper.row[part] + rows.start, upper.col[part], mass[part]))
        else:
            kept.append((upper.row + rows.start, upper.col, mass))
    first, second, mass = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    order = np.lexsort((second, first, -mass))[:k]
    order = order[mass[order] > 0]
    share = 2 * mass[order] / (co_predictions.confusion_mass or 1.0)  # which has both triangles
    return tuple(zip(first[order].tolist(), second[order].tolist(), share.tolist(), strict=True))


def confused_pairs(
    probs: Any,
    class_names: Sequence[Any] | None = None,
    k: int = 20,
    *,
    labels: Any = None,
    examples: Any = None,
    clusters: ClassClusters | None = None,
) -> PairTable:
    """The pairs of classes that a model confuses most.

    Parameters
    ----------
    probs : array, Tensor, DataFrame or lists of shape (n, C)
        Predicted probabilities of rows that the model has not seen.
    class_names : sequence of C values, optional
        None: the clusters', those of a DataFrame's columns, or numbers. Columns that have these
        names may stand in another order.
    k : int
        Number of pairs, at most; at least 1.
    labels : array or sequence of shape (n,), optional
        The true classes: all as numbers from 0 to C - 1, or all as names in ``class_names``.
        Numbers that could be either are read as class numbers, with a warning; text is names.
    examples : sequence of n values, or table of n rows, optional
        What the rows are: texts, or images as arrays of shape (height, width), (height, width,
        channels) or (channels, height, width). A notebook shows these as pictures. Rows of a table
        become short texts. A Series and a DataFrame are read by position.
    clusters : ClassClusters, optional
        Of the same classes.

    Returns
    -------
    DataFrame
        A row a pair, the most confused first:

        * ``class_a``, ``class_b``;
        * ``share_of_confusions``, of the mass of mean(p p^T) off its diagonal, and
          ``times_average``, how many times that of all pairs on average;
        * ``cluster``, the first one that holds both, or -1 (with clusters);
        * ``a_as_b``, ``b_as_a``: rows of the one class for which the other is most probable (with
          labels);
        * ``a_then_b``, ``b_then_a``: rows for which the one is most probable and the other next;
        * ``rows``: numbers of at most three rows that are torn between the two, first of those
          that are wrong, and ``examples``, what they are (with examples).

    Raises
    ------
    InputError
        ``probs`` are not probabilities, or something else has not their shape; ``k`` is no positive
        whole number; labels are no classes; two classes have one name.

    Examples
    --------
    >>> probs = np.array([[0.5, 0.4, 0.1], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9]])
    >>> pairs = confused_pairs(probs, ["a", "b", "c"], k=1)
    >>> pairs.loc[0, ["class_a", "class_b", "a_then_b", "rows"]].map(str).tolist()
    ['a', 'b', '2', '[1, 0]']
    """
    k = whole_number(k, "k", 1)
    if class_names is None and clusters is not None:
        class_names = clusters.class_names
    probs, names = predictions_and_names(probs, class_names)
    n, n_classes = probs.shape
    names = [str(i) for i in range(n_classes)] if names is None else names
    _check_lengths(n, n_classes, names, labels, examples, clusters)
    refuse_same_names(names)
    numbers = None if labels is None else class_numbers(labels, names)
    pairs = heaviest_pairs(CoPredictions.from_source(streamed(probs, n_classes)), k)
    values = columns_of(pairs, names, clusters)
    answers = _Answers.of(host_array(probs), numbers)
    for name, each in answers.columns().items():
        values[name] = [each(a, b) for a, b, _ in pairs]
    torn = [answers.torn(a, b) for a, b, _ in pairs]
    values["rows"] = torn
    if examples is not None:
        values["examples"] = [pick_rows(examples, rows) for rows in torn]
    return as_table(values)


def as_table(values: Columns) -> PairTable:
    """Columns as the table that a notebook shows."""
    from specialists.clustering.pair_table import PairTable

    return PairTable(values)


def columns_of(
    pairs: Sequence[Pair], class_names: Sequence[Any], clusters: ClassClusters | None
) -> Columns:
    """The columns that need no rows of predictions."""
    n_classes, share = len(class_names), np.array([share for *_, share in pairs], dtype=float)
    values: Columns = {
        "class_a": [class_names[a] for a, _, _ in pairs],
        "class_b": [class_names[b] for _, b, _ in pairs],
        "share_of_confusions": share,
        "times_average": share * n_classes * (n_classes - 1) / 2,
    }
    if clusters is not None:
        values["cluster"] = [_cluster_of(clusters, a, b) for a, b, _ in pairs]
    return values


@dataclass(frozen=True)
class _Answers:
    """Each row's two most probable classes, beside its true one if it is known."""

    probs: np.ndarray
    first: np.ndarray
    second: np.ndarray
    labels: np.ndarray | None

    @classmethod
    def of(cls, probs: np.ndarray, labels: np.ndarray | None) -> _Answers:
        pairs = np.concatenate(list(_two_first(probs)))
        return cls(probs, pairs[:, 0], pairs[:, 1], labels)

    def columns(self) -> dict[str, Callable[[int, int], int]]:
        """How often one class is taken for another, each way, by the column's name."""
        counted = {}
        if self.labels is not None:
            counted["a_as_b"] = lambda a, b: int(self._wrong(a, b).sum())
            counted["b_as_a"] = lambda a, b: int(self._wrong(b, a).sum())
        counted["a_then_b"] = lambda a, b: int(self._between(a, b).sum())
        counted["b_then_a"] = lambda a, b: int(self._between(b, a).sum())
        return counted

    def torn(self, a: int, b: int) -> list[int]:
        """Rows that show the pair: wrong ones first, then those that give both the most."""
        wrong = self._wrong(a, b) | self._wrong(b, a)
        rows = np.flatnonzero(wrong | self._between(a, b) | self._between(b, a))
        both = self.probs[rows, a].astype(float) * self.probs[rows, b]
        return rows[np.lexsort((rows, -both, ~wrong[rows]))][:N_ROWS].tolist()

    def _wrong(self, truth: int, said: int) -> np.ndarray:
        if self.labels is None:
            return np.zeros(len(self.first), dtype=bool)
        return (self.labels == truth) & (self.first == said)

    def _between(self, a: int, b: int) -> np.ndarray:
        return (self.first == a) & (self.second == b)


def _two_first(probs: np.ndarray) -> Iterator[np.ndarray]:
    """The two most probable classes, (rows, 2), a block of rows at a time."""
    size = max(1, BLOCK_VALUES // probs.shape[1])
    for start in range(0, len(probs), size):
        block = np.array(probs[start : start + size], dtype=float)
        first = block.argmax(1)
        block[np.arange(len(block)), first] = -1.0
        yield np.stack([first, block.argmax(1)], axis=1)


def _cluster_of(clusters: ClassClusters, a: int, b: int) -> int:
    held = (i for i, members in enumerate(clusters.classes) if a in members and b in members)
    return next(held, -1)


def _check_lengths(
    n: int,
    n_classes: int,
    class_names: Sequence[Any],
    labels: Any,
    examples: Any,
    clusters: ClassClusters | None,
) -> None:
    wanted = {
        "clusters": (None if clusters is None else clusters.class_names, n_classes),
        "class_names": (class_names, n_classes),
        "labels": (labels, n),
        "examples": (examples, n),
    }
    for where, (given, size) in wanted.items():
        if given is not None and count_rows(given, where) != size:
            what = "this does not fit the probabilities"
            raise InputError(what, where=where, got=f"{len(given):,}", expected=f"{size:,}")
