"""Which examples should a person look at? Suspected label errors, mended and broken examples.

Suspected label errors follow confident learning (Northcutt, Jiang and Chuang, "Confident Learning:
Estimating Uncertainty in Dataset Labels", 2021): an example is suspect when the ensemble's answer
is not a valid label, has more than half of the probability and is at least as probable as that
class is, on average, on the examples that carry it. They are ranked by p(label) - p(answer), the
most negative first: ranking by p(label) alone would order answers that the ensemble is equally
sure of by their far tails.

Mended: the generalist's answer is wrong and the ensemble's right. Broken: the other way round.
Where there are sets of valid labels, right means any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specialists.datasets.base import Ragged
from specialists.evaluation.scores import Scores
from specialists.evaluation.subsets import Subsets

N_SHOWN_CLASSES = 3
MIN_CONFIDENCE = 0.5

SpecialistAnswers = Mapping[int, Mapping[int, NDArray[np.float32]]]
AskSpecialists = Callable[[NDArray[np.int64]], SpecialistAnswers]


def suspected_label_errors(
    ensemble: Scores, labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Rows whose label the ensemble doubts, the most doubtful first."""
    own = np.exp(-ensemble.nll)
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, weights=own, minlength=n_classes)
    usual = np.divide(sums, counts, out=np.ones(n_classes), where=counts > 0)
    sure = ensemble.confidence >= np.maximum(usual[ensemble.prediction], MIN_CONFIDENCE)
    rows = np.flatnonzero(~ensemble.acceptable & sure)
    margin = own[rows] - ensemble.confidence[rows]
    return rows[np.argsort(margin, kind="stable")]


def mended(base: Scores, better: Scores) -> NDArray[np.int64]:
    """Rows that ``base`` gets wrong and ``better`` right, by the rise of p(label)."""
    rows = np.flatnonzero(~base.acceptable & better.acceptable)
    rise = np.exp(-better.nll[rows]) - np.exp(-base.nll[rows])
    return rows[np.argsort(-rise, kind="stable")]


def label_error_table(
    rows: NDArray[np.int64],
    ensemble: Scores,
    labels: NDArray[np.int64],
    texts: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """One entry per suspect: its label and the ensemble's answer, with their probabilities."""
    return [
        {
            "row": int(row),
            "text": _text(texts, row),
            "label": int(labels[row]),
            "self_confidence": float(np.exp(-ensemble.nll[row])),
            "suggested": int(ensemble.prediction[row]),
            "suggested_probability": float(ensemble.confidence[row]),
        }
        for row in rows
    ]


def _text(texts: Sequence[str] | None, row: int) -> str | None:
    """The text with what UTF-8 cannot hold replaced, so that it can be written."""
    return None if texts is None else texts[int(row)].encode("utf-8", "replace").decode("utf-8")


def answer_table(
    rows: NDArray[np.int64],
    log_probs: Mapping[str, NDArray[np.float32]],
    labels: NDArray[np.int64],
    valid: Ragged | None,
    subsets: Subsets,
    texts: Sequence[str] | None,
    answers: SpecialistAnswers,
) -> list[dict[str, Any]]:
    """The three most probable classes of every model and active specialist, for each of ``rows``.

    ``valid`` lists every label that would be right. A specialist's class None is its dustbin.
    """
    return [
        {
            "row": int(row),
            "text": _text(texts, row),
            "label": int(labels[row]),
            "valid": [int(labels[row])] if valid is None else valid.row(int(row)).tolist(),
            **{name: top_classes(values[row]) for name, values in log_probs.items()},
            "specialists": [
                {"specialist": int(m), "top": top_classes(values, subsets[m])}
                for m, values in answers.get(int(row), {}).items()
            ],
        }
        for row in rows
    ]


def top_classes(
    log_probs: NDArray[np.float32], subset: NDArray[np.int64] | None = None
) -> list[dict[str, Any]]:
    """The most probable classes of one row, as class index and probability.

    ``subset`` names the classes of a specialist's columns, whose last is the dustbin (None).
    """
    values = np.asarray(log_probs, dtype=np.float64)
    order = np.argsort(-values, kind="stable")[:N_SHOWN_CLASSES]
    names = None if subset is None else [*subset.tolist(), None]
    return [
        {
            "class": int(j) if names is None else names[j],
            "probability": float(np.exp(min(values[j], 0.0))),
        }
        for j in order
    ]
