"""Which pairs of classes does the ensemble tell apart better than the generalist?

A test example of class a confuses the pair {a, b} where a model answers b, and b is not another of
its valid labels. A pair is told apart better where the ensemble is right on more of the examples
that the generalist confused than it confuses of those that the generalist had right. Pairs are
looked at after the fact, on the test examples: the largest gains flatter, so beside them stands how
many pairs are told apart better and how many worse.
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
class PairChange(JsonRecord):
    """How often two classes are confused, among the ``n_test`` examples that both have.

    Parameters
    ----------
    classes : pair of int
    generalist, ensemble : int
        Examples of one class that the model gives to the other.
    examples : tuple of Example
        Confused by the generalist and right by the ensemble, the surest first.
    gain : int, optional
        Examples that only the generalist confuses and the ensemble has right, less those that only
        the ensemble confuses and the generalist has right. None in files of older versions.
    """

    classes: tuple[int, int]
    n_test: int
    generalist: int
    ensemble: int
    examples: tuple[Example, ...]
    gain: int | None = None


@dataclass(frozen=True)
class PairChanges(JsonRecord):
    """How many pairs of classes the ensemble tells apart better than the generalist, and worse.

    ``most`` are those that gain most and are confused less often: the largest gain first, of equal
    ones that which the generalist confuses most.
    """

    n_better: int
    n_worse: int
    most: tuple[PairChange, ...]


def pair_changes(
    generalist: Scores, ensemble: Scores, labels: NDArray[np.int64], examples: ExampleRows
) -> PairChanges | None:
    """What the ensemble changes between pairs of classes; None where it changes nothing."""
    n_classes = 1 + int(max(labels.max(), generalist.prediction.max(), ensemble.prediction.max()))
    before, after = (_confused(model, labels, n_classes) for model in (generalist, ensemble))
    pairs = np.unique(np.concatenate([before, after]))
    pairs = pairs[pairs >= 0]

    def count(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(np.searchsorted(pairs, rows[rows >= 0]), minlength=len(pairs))

    mended = fixed(generalist, ensemble)
    gain = count(before[mended]) - count(after[fixed(ensemble, generalist)])
    if not gain.any():
        return None
    confused, n_test = (count(before), count(after)), np.bincount(labels, minlength=n_classes)
    shown = (gain > 0) & (confused[1] < confused[0])  # it may confuse others of their examples anew
    order = np.lexsort((-confused[0], -gain))
    most = [
        PairChange(
            classes=(a, b),
            n_test=int(n_test[a] + n_test[b]),
            generalist=int(confused[0][i]),
            ensemble=int(confused[1][i]),
            examples=tuple(
                examples.example(row)
                for row in mended[before[mended] == pairs[i]][:N_EXAMPLES].tolist()
            ),
            gain=int(gain[i]),
        )
        for i in order[shown[order]][:N_PAIRS]
        for a, b in [divmod(int(pairs[i]), n_classes)]
    ]
    return PairChanges(int((gain > 0).sum()), int((gain < 0).sum()), tuple(most))


def _confused(model: Scores, labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """The pair that each row confuses, as ``n_classes * smaller + larger``; -1 where none."""
    low = np.minimum(labels, model.prediction)
    high = np.maximum(labels, model.prediction)
    return np.where(model.acceptable, -1, n_classes * low + high)
