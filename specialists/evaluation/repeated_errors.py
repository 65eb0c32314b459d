"""Do two models say the same, and more so than by chance?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specialists.evaluation.scores import blocks
from specialists.predictions import Predictions
from specialists.probability import MAX_NLL


def mean_kl(p: Predictions, q: Predictions) -> float:
    """Mean KL(p || q) over the rows, in nats; a probability of zero in q costs 87.3 nats."""
    total = 0.0
    for rows in blocks(len(p), p.n_classes):
        log_p, log_q = p[rows].dense().double(), q[rows].dense().double()
        gap = log_p.clamp_min(-MAX_NLL) - log_q.clamp_min(-MAX_NLL)
        total += float((log_p.exp() * gap).sum())
    return total / len(p)


def chance_of_repeating(
    ours: NDArray[np.int64], theirs: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of the other rows with a row's label that we answer as they answer this row.

    What agreement would be if nothing but the label told us what they say. NaN where a row is
    alone with its label. All are of shape (n,).
    """
    n_classes = 1 + int(max(ours.max(), theirs.max()))
    found, counts = np.unique(labels * n_classes + ours, return_counts=True)
    wanted = labels * n_classes + theirs
    place = np.searchsorted(found, wanted).clip(max=len(found) - 1)
    same = np.where(found[place] == wanted, counts[place], 0) - (ours == theirs)
    others = np.bincount(labels)[labels] - 1
    return np.where(others > 0, same / np.maximum(others, 1), np.nan)


def mean_or_none(values: NDArray) -> float | None:
    """The mean; None of nothing."""
    return float(values.mean()) if len(values) else None
