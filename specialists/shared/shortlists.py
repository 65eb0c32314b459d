"""Which few classes is a shared specialist asked about in a row?

The K that the generalist holds most probable, or those of the clusters in which its most probable
ones lie (the active set of Hinton et al. 2015). A shortlist lists its classes in increasing order;
where rows have fewer than the others, ``PADDING`` fills their ends. Rows are read in blocks, so
that no table of all rows and classes is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.errors import InputError
from specialists.predictions import Predictions, as_predictions
from specialists.probability import PADDING, check_labels, check_subset

NUMBERS_AT_A_TIME = 1 << 24
PILE = 16  # columns of which the largest is looked at first


def most_probable_classes(
    predictions: Predictions | Tensor, k: int, labels: Tensor | None = None
) -> Tensor:
    """The k most probable classes of each row, in increasing order, int64 of shape (n, min(k, C)).

    Of equally probable ones the first are taken.

    Parameters
    ----------
    predictions : Predictions, or Tensor of log-probabilities of shape (n, C)
    k : int
        At least 1.
    labels : int64 Tensor of shape (n,), optional
        Of training rows: where a shortlist lacks the label, it stands in place of the least
        probable class.

    Raises
    ------
    InputError
        If k is less than 1, or labels and predictions do not fit one another.

    Examples
    --------
    >>> log_probs = torch.tensor([[0.5, 0.1, 0.4]]).log()
    >>> most_probable_classes(log_probs, 2)
    tensor([[0, 2]])
    >>> most_probable_classes(log_probs, 2, torch.tensor([1]))
    tensor([[0, 1]])
    """
    predictions = as_predictions(predictions)
    if k < 1:
        raise InputError("a shortlist has at least one class", got=k, expected="1 or more")
    if labels is not None:
        labels = check_labels(labels, len(predictions), predictions.n_classes)
    blocks = []
    for rows, log_probs in _blocks(predictions):
        classes = _largest(log_probs, min(k, predictions.n_classes))
        blocks.append(classes if labels is None else _with_label(classes, log_probs, labels[rows]))
    return torch.cat(blocks)


def _beside_the_best(
    predictions: Predictions, beside: Tensor, n: int, labels: Tensor | None
) -> Tensor:
    """The n most probable classes, and those that are listed ``beside`` each class, (C, widest)."""
    top = most_probable_classes(predictions, n)
    if labels is not None:
        labels = check_labels(labels, len(top), predictions.n_classes)
    blocks = []
    n_rows = max(1, NUMBERS_AT_A_TIME // (n * beside.shape[1]))
    for rows in torch.arange(len(top)).split(n_rows):
        given = [beside[top[rows]].flatten(1), top[rows]]
        blocks.append(_distinct([*given, *([] if labels is None else [labels[rows, None]])]))
    return _padded(blocks)


def _padded(blocks: Sequence[Tensor]) -> Tensor:
    """Shortlists of several blocks of rows as one, all as wide as the widest."""
    width = max(block.shape[1] for block in blocks)
    return torch.cat([F.pad(b, (0, width - b.shape[1]), value=PADDING) for b in blocks])


@dataclass(frozen=True)
class Shortlisting:
    """Which classes shared specialists are asked about.

    Parameters
    ----------
    n : int
        Most probable classes of a row, at least 1: they are its shortlist, or select clusters.
    subsets : sequence of lists of classes, optional
        Clusters: all that hold one of the n make the shortlist, with the n themselves. Such
        shortlists are as wide as the widest, each in increasing order with ``PADDING`` at its end.
    """

    n: int
    subsets: Sequence[Sequence[int] | Tensor] | None = None

    def __call__(self, predictions: Predictions | Tensor, labels: Tensor | None = None) -> Tensor:
        """Shortlists (rows, K), int64; those of training rows hold their ``labels``.

        Raises
        ------
        InputError
            If n is less than 1, a cluster is no list of distinct classes, or labels do not fit.
        """
        if self.subsets is None:
            return most_probable_classes(predictions, self.n, labels)
        predictions = as_predictions(predictions)
        n_classes = predictions.n_classes
        if n_classes not in self._neighbours:
            self._neighbours[n_classes] = _neighbours(self.subsets, n_classes)
        return _beside_the_best(predictions, self._neighbours[n_classes], self.n, labels)

    def of_training_rows(self, blocks: Iterable[Predictions], labels: Tensor) -> Tensor:
        """The same of predictions that come block by block."""
        found, start = [], 0
        for block in blocks:
            found.append(self(block, labels[start : start + len(block)]))
            start += len(block)
        return _padded(found)

    @cached_property
    def _neighbours(self) -> dict[int, Tensor]:
        return {}


def places_of_labels(classes: Tensor, labels: Tensor) -> Tensor:
    """Place of each row's label in its shortlist, or -1; int64 of shape (n,)."""
    found = classes == labels[:, None]
    return torch.where(found.any(1), found.int().argmax(1), -1)


def _blocks(predictions: Predictions) -> Iterator[tuple[slice, Tensor]]:
    n_rows = max(1, NUMBERS_AT_A_TIME // predictions.n_classes)
    for start in range(0, len(predictions), n_rows):
        rows = slice(start, start + n_rows)
        yield rows, predictions[rows].dense()


def _largest(values: Tensor, k: int) -> Tensor:
    """Columns of the k largest values of each row, in increasing order; of equal ones the first."""
    if k == values.shape[1]:
        return torch.arange(k).repeat(len(values), 1)
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    columns = _columns_of_largest(values, k + 1)
    best = values.gather(1, columns)
    columns, least = columns[:, 1:].sort(1).values, best[:, 1:].amin(1)
    tied = (least == best[:, 0]).nonzero().squeeze(1)
    if len(tied):
        some = values[tied]
        above, equal = some > least[tied, None], some == least[tied, None]
        missing = k - above.sum(1, keepdim=True)
        chosen = above | (equal & (equal.cumsum(1) <= missing))
        columns[tied] = chosen.nonzero()[:, 1].view(-1, k)
    return columns


def _columns_of_largest(values: Tensor, k: int) -> Tensor:
    """Columns of the k largest values of each row, the least of them first; of equal ones any.

    Columns are dealt into piles. The k piles with the largest tops hold the k largest values.
    """
    n_piles, rest = divmod(values.shape[1], PILE)
    if PILE * k > n_piles * (PILE - 1) // 2:
        return _partitioned(values, k)
    dealt = values[:, : n_piles * PILE].unflatten(1, (PILE, n_piles))
    piles = _partitioned(dealt.amax(1), k)
    columns = (piles[:, :, None] + n_piles * torch.arange(PILE)).flatten(1)
    last = torch.arange(n_piles * PILE, n_piles * PILE + rest).expand(len(values), -1)
    columns = torch.cat([columns, last], dim=1)
    return columns.gather(1, _partitioned(values.gather(1, columns), k))


def _partitioned(values: Tensor, k: int) -> Tensor:
    """As :func:`_columns_of_largest`, by NumPy, which takes a fifth of the time of torch.topk."""
    before = values.shape[1] - k
    return torch.from_numpy(np.argpartition(values.numpy(), before, axis=1)[:, before:])


def _with_label(classes: Tensor, log_probs: Tensor, labels: Tensor) -> Tensor:
    """The shortlists with the label in place of the last of the least probable, if it lacks."""
    lacking = (places_of_labels(classes, labels) < 0).nonzero().squeeze(1)
    some = classes[lacking]
    least = some.shape[1] - 1 - log_probs[lacking].gather(1, some).flip(1).argmin(1)
    some[torch.arange(len(some)), least] = labels[lacking]
    classes[lacking] = some.sort(1).values
    return classes


def _neighbours(subsets: Sequence[Sequence[int] | Tensor], n_classes: int) -> Tensor:
    """The classes of all clusters of each class, with itself, int64 (C, widest), padded."""
    clusters = [torch.as_tensor(subset, dtype=torch.int64) for subset in subsets]
    for i, cluster in enumerate(clusters):
        check_subset(cluster, n_classes, f"cluster {i}")
    members: list[list[Tensor]] = [[torch.tensor([c])] for c in range(n_classes)]
    for cluster in clusters:
        for c in cluster.tolist():
            members[c].append(cluster)
    beside = [torch.cat(parts).unique() for parts in members]
    return torch.nn.utils.rnn.pad_sequence(beside, batch_first=True, padding_value=PADDING)


def _distinct(parts: Sequence[Tensor]) -> Tensor:
    """The distinct classes of each row of all parts, in increasing order, padded at its end."""
    last = torch.iinfo(torch.int64).max
    listed = torch.cat(list(parts), 1)
    listed = listed.masked_fill(listed == PADDING, last).sort(1).values
    again = torch.zeros_like(listed, dtype=torch.bool)
    again[:, 1:] = listed[:, 1:] == listed[:, :-1]
    listed = listed.masked_fill(again, last).sort(1).values
    width = int((listed != last).sum(1).max())
    return listed[:, :width].masked_fill(listed[:, :width] == last, PADDING)
