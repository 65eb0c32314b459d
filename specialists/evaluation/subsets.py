"""Where do specialists help? Conditional accuracy, coverage, clusters and classes.

Hinton, Vinyals and Dean (2015): Table 3 (conditional accuracy, where both the examples and the
answers are restricted to a specialist's classes) and Table 4 (gain by the number of specialists
whose subset holds the true class).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from specialists.evaluation.findings import CoverageGain
from specialists.evaluation.scores import Scores, blocks
from specialists.json_record import JsonRecord
from specialists.predictions import Predictions
from specialists.uncertainty import DIFFERENCE_OF_SHARES, Interval, difference_interval

ClassSubsets = Sequence[NDArray[np.int64]]
ByClass = Mapping[str, tuple[int | float | None, ...]]


@dataclass(frozen=True)
class ClusterGain(JsonRecord):
    """Top-1 of generalist and ensemble on the ``n_test`` examples of a cluster's ``size`` classes.

    Both, the gain and its 95% interval are None where there are no examples.
    """

    cluster: int
    size: int
    n_test: int
    generalist: float | None
    ensemble: float | None
    gain: float | None
    interval: Interval | None


def conditional_accuracy(
    predictions: Predictions, labels: NDArray[np.int64], subsets: ClassSubsets
) -> float | None:
    """Mean over all (example, subset) pairs with label in subset of [best class of subset = label].

    None where no example's class is in any subset.
    """
    right = pairs = 0
    for rows in blocks(len(predictions), predictions.n_classes):
        block, truth = predictions[rows], labels[rows]
        for subset in subsets:
            inside = np.flatnonzero(np.isin(truth, subset))
            within = block[torch.from_numpy(inside)].of_classes(torch.from_numpy(subset))
            right += int((subset[within.argmax(1)] == truth[inside]).sum())
            pairs += len(inside)
    return right / pairs if pairs else None


def coverage_counts(subsets: ClassSubsets, n_classes: int) -> NDArray[np.int64]:
    """Number of subsets that hold each class, shape (n_classes,)."""
    distinct = [np.zeros(0, np.int64), *map(np.unique, subsets)]
    return np.bincount(np.concatenate(distinct), minlength=n_classes)


def coverage_gains(
    base: NDArray[np.bool_],
    better: NDArray[np.bool_],
    labels: NDArray[np.int64],
    coverage: NDArray[np.int64],
) -> tuple[CoverageGain, ...]:
    """Gain in top-1 of ``better`` over ``base`` for each number of specialists that occurs."""
    covered = coverage[labels]
    gain = better.astype(np.float64) - base
    return tuple(
        CoverageGain(int(k), int(n), float(gain[covered == k].mean()))
        for k, n in zip(*np.unique(covered, return_counts=True), strict=True)
    )


def gain_by_cluster(
    base: NDArray[np.bool_],
    better: NDArray[np.bool_],
    labels: NDArray[np.int64],
    subsets: ClassSubsets,
    members: Sequence[int] | None = None,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> tuple[ClusterGain, ...]:
    """Top-1 of both and the gain, with its 95% interval, on each subset's own examples.

    Only the subsets of ``members``, the specialists that may answer (None: all), have an entry.
    ``groups`` numbers the examples' units of chance; None: each is one.
    """
    table = []
    units = np.arange(len(labels)) if groups is None else np.asarray(groups)
    for index in range(len(subsets)) if members is None else members:
        inside = np.isin(labels, subsets[index])
        cluster = int(index), len(subsets[index]), int(inside.sum())
        if not inside.any():
            table.append(ClusterGain(*cluster, None, None, None, None))
            continue
        pair = better[inside], base[inside]
        after, before = (float(correct.mean()) for correct in pair)
        drawn = {"groups": units[inside], "limits": DIFFERENCE_OF_SHARES}
        interval = difference_interval(*pair, n_bootstrap, seed, **drawn)
        table.append(ClusterGain(*cluster, before, after, after - before, interval))
    return tuple(table)


def accuracy_by_class(
    scores: Mapping[str, Scores], labels: NDArray[np.int64], n_classes: int
) -> ByClass:
    """``n`` examples of each class, and each model's accuracy on them (None without examples)."""
    counts = np.bincount(labels, minlength=n_classes)
    table: dict[str, tuple[int | float | None, ...]] = {"n": tuple(counts.tolist())}
    for name, model in scores.items():
        right = np.bincount(labels, weights=model.correct, minlength=n_classes)
        table[name] = tuple(
            float(r / n) if n else None for r, n in zip(right.tolist(), counts, strict=True)
        )
    return table
