"""Where do specialists help? Conditional accuracy, coverage, clusters and classes.

Hinton, Vinyals and Dean (2015): Table 3 (conditional accuracy, where both the examples and the
answers are restricted to a specialist's classes) and Table 4 (gain by the number of specialists
whose subset holds the true class).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.evaluation.scores import Scores, blocks
from specialists.predictions import ModelOutputs
from specialists.uncertainty import DIFFERENCE_OF_SHARES, difference_interval

Subsets = Sequence[NDArray[np.int64]]


def conditional_accuracy(
    log_probs: NDArray[np.float32], labels: NDArray[np.int64], subsets: Subsets
) -> float | None:
    """Mean over all (example, subset) pairs with label in subset of [best class of subset = label].

    None where no example's class is in any subset.
    """
    right = pairs = 0
    for rows in blocks(*log_probs.shape):
        block, truth = np.asarray(log_probs[rows]), labels[rows]
        for subset in subsets:
            inside = np.flatnonzero(np.isin(truth, subset))
            best = subset[block[inside[:, None], subset].argmax(axis=1)]
            right += int((best == truth[inside]).sum())
            pairs += len(inside)
    return right / pairs if pairs else None


def where_they_help(
    outputs: Mapping[str, ModelOutputs],
    scores: Mapping[str, Scores],
    labels: NDArray[np.int64],
    subsets: Subsets,
    members: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Conditional accuracy and gain by coverage, over the specialists that may answer.

    Parameters
    ----------
    outputs, scores : mappings with ``generalist`` and ``ensemble``
    labels : int array of shape (n,)
    subsets : classes of every specialist
    members : sequence of int, optional
        Specialists that may answer; None: all.

    Returns
    -------
    dict
        ``n_specialists``; ``n_answering``, those that may answer; ``conditional``, a fraction for
        each of the two models, None where nobody may answer; ``coverage``, then empty.
    """
    own = [subsets[m] for m in answering(subsets, members)]
    counts = coverage_counts(own, outputs["generalist"].log_probs.shape[1])
    base, better = (scores[name].correct for name in ("generalist", "ensemble"))
    return {
        "n_specialists": len(subsets),
        "n_answering": len(own),
        "conditional": {
            name: conditional_accuracy(outputs[name].log_probs, labels, own)
            for name in ("generalist", "ensemble")
        },
        "coverage": gain_by_coverage(base, better, labels, counts) if own else [],
    }


def answering(subsets: Subsets, members: Sequence[int] | None) -> Sequence[int]:
    """Numbers of the specialists that may answer: ``members``, or all if None."""
    return range(len(subsets)) if members is None else members


def coverage_counts(subsets: Subsets, n_classes: int) -> NDArray[np.int64]:
    """Number of subsets that hold each class, shape (n_classes,)."""
    counts = np.zeros(n_classes, dtype=np.int64)
    for subset in subsets:
        counts[np.unique(subset)] += 1
    return counts


def gain_by_coverage(
    base: NDArray[np.bool_],
    better: NDArray[np.bool_],
    labels: NDArray[np.int64],
    coverage: NDArray[np.int64],
) -> list[dict[str, Any]]:
    """Gain in top-1 of ``better`` over ``base`` for each number of specialists that occurs.

    Returns
    -------
    list of {"specialists": k, "n_test": examples whose class k subsets hold, "gain": fraction}
    """
    covered = coverage[labels]
    gain = better.astype(np.float64) - base
    return [
        {"specialists": int(k), "n_test": int(n), "gain": float(gain[covered == k].mean())}
        for k, n in zip(*np.unique(covered, return_counts=True), strict=True)
    ]


def gain_by_cluster(
    base: NDArray[np.bool_],
    better: NDArray[np.bool_],
    labels: NDArray[np.int64],
    subsets: Subsets,
    members: Sequence[int] | None = None,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    groups: ArrayLike | None = None,
) -> list[dict[str, Any]]:
    """Top-1 of both and the gain, with its 95% interval, on each subset's own examples.

    Only the subsets of ``members``, the specialists that may answer (None: all), have an entry.
    ``groups`` numbers the examples' units of chance; None: each is one.
    """
    table = []
    units = np.arange(len(labels)) if groups is None else np.asarray(groups)
    for index in answering(subsets, members):
        subset = subsets[index]
        inside = np.isin(labels, subset)
        n = int(inside.sum())
        own = (base[inside], better[inside], units[inside])
        entry: dict[str, Any] = {"cluster": int(index), "size": len(subset), "n_test": n}
        table.append(entry | _gain(*own, n_bootstrap, seed))
    return table


def _gain(
    base: NDArray[np.bool_],
    better: NDArray[np.bool_],
    groups: NDArray[np.int64],
    n_bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    if not len(base):
        return {"generalist": None, "ensemble": None, "gain": None, "interval": None}
    interval = difference_interval(
        better, base, n_bootstrap, seed, groups=groups, limits=DIFFERENCE_OF_SHARES
    )
    return {
        "generalist": float(base.mean()),
        "ensemble": float(better.mean()),
        "gain": float(better.mean() - base.mean()),
        "interval": list(interval),
    }


def accuracy_by_class(
    scores: Mapping[str, Scores], labels: NDArray[np.int64], n_classes: int
) -> dict[str, list[Any]]:
    """``n`` examples of each class, and each model's accuracy on them (None without examples)."""
    counts = np.bincount(labels, minlength=n_classes)
    table: dict[str, list[Any]] = {"n": counts.tolist()}
    for name, model in scores.items():
        right = np.bincount(labels, weights=model.correct, minlength=n_classes)
        table[name] = [
            float(r / n) if n else None for r, n in zip(right.tolist(), counts, strict=True)
        ]
    return table


def as_indices(subsets: Sequence[ArrayLike]) -> list[NDArray[np.int64]]:
    """Subsets of classes as int64 arrays."""
    return [np.asarray(subset, dtype=np.int64) for subset in subsets]
