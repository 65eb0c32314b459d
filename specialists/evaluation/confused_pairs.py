"""Which pairs of classes does the generalist confuse, and the ensemble no longer?

A test example of class a confuses the pair {a, b} where a model answers b, and b is not another of
its valid labels. Pairs are looked at after the fact, on the test examples: the largest drops
flatter, so beside them stands how many pairs are confused less and how many more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specialists.evaluation.notable_examples import Example, ExampleRows, fixed
from specialists.evaluation.scores import Scores
from specialists.json_record import JsonRecord

N_PAIRS = 12
N_EXAMPLES = 3


@dataclass(frozen=True)
class ConfusedPair(JsonRecord):
    """How often two classes are confused, among the ``n_test`` examples that both have.

    Parameters
    ----------
    classes : pair of int
    generalist, ensemble : int
        Examples of one class that the model gives to the other.
    examples : tuple of Example
        Confused by the generalist and right by the ensemble, the surest first.
    """

    classes: tuple[int, int]
    n_test: int
    generalist: int
    ensemble: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class PairChanges(JsonRecord):
    """How many pairs of classes the ensemble confuses less, and more, than the generalist does.

    ``most`` are those that it confuses least in comparison, the largest drop first.
    """

    n_fewer: int
    n_more: int
    most: tuple[ConfusedPair, ...]


def pair_changes(
    generalist: Scores, ensemble: Scores, labels: NDArray[np.int64], examples: ExampleRows
) -> PairChanges | None:
    """What the ensemble changes between pairs of classes; None where it changes nothing."""
    n_classes = 1 + int(max(labels.max(), generalist.prediction.max(), ensemble.prediction.max()))
    before, after = (_confused(model, labels, n_classes) for model in (generalist, ensemble))
    pairs, place = np.unique(np.concatenate([before, after]), return_inverse=True)
    known = pairs >= 0
    sides = place[: len(before)], place[len(before) :]
    counts = np.stack([np.bincount(side, minlength=len(pairs)) for side in sides])
    drop = np.where(known, counts[0] - counts[1], 0)
    if not drop.any():
        return None
    rows = fixed(generalist, ensemble)
    n_test = np.bincount(labels, minlength=n_classes)
    most = [
        ConfusedPair(
            classes=(a, b),
            n_test=int(n_test[a] + n_test[b]),
            generalist=int(counts[0, i]),
            ensemble=int(counts[1, i]),
            examples=tuple(
                examples.example(row)
                for row in rows[before[rows] == pairs[i]][:N_EXAMPLES].tolist()
            ),
        )
        for i in np.lexsort((-counts[0], -drop))[:N_PAIRS]
        if drop[i] > 0
        for a, b in [divmod(int(pairs[i]), n_classes)]
    ]
    return PairChanges(int((drop > 0).sum()), int((drop < 0).sum()), tuple(most))


def _confused(model: Scores, labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """The pair that each row confuses, as ``n_classes * smaller + larger``; -1 where none."""
    low = np.minimum(labels, model.prediction)
    high = np.maximum(labels, model.prediction)
    return np.where(model.acceptable, -1, n_classes * low + high)
