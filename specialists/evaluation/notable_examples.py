"""Which examples should a person look at? Suspected label errors, fixed and broken examples.

Suspected label errors follow confident learning (Northcutt, Jiang and Chuang, "Confident Learning:
Estimating Uncertainty in Dataset Labels", 2021): an example is suspect when the ensemble's answer
is not a valid label, has more than half of the probability and is at least as probable as that
class is, on average, on the examples that carry it. They are ranked by p(label) - p(answer), the
most negative first: ranking by p(label) alone would order answers that the ensemble is equally
sure of by their far tails.

Fixed: the generalist's answer is wrong and the ensemble's right. Broken: the other way round.
Where there are sets of valid labels, right means any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from specialists.datasets.base import Ragged
from specialists.evaluation.scores import Scores
from specialists.evaluation.subsets import ClassSubsets
from specialists.json_record import JsonRecord
from specialists.predictions import Predictions

N_SHOWN_CLASSES = 3
MIN_CONFIDENCE = 0.5

SpecialistAnswers = Mapping[int, Mapping[int, NDArray[np.float32]]]
AskSpecialists = Callable[[NDArray[np.int64]], SpecialistAnswers]


@dataclass(frozen=True)
class Answer(JsonRecord):
    """A class with its probability; None is a specialist's dustbin."""

    label: Annotated[int | None, Field(alias="class")]
    probability: float


@dataclass(frozen=True)
class SpecialistAnswer(JsonRecord):
    """The most probable classes of one specialist."""

    specialist: int
    top: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Example(JsonRecord):
    """A test example: its row, its text, its label, and its row in the user's file."""

    row: int
    text: str | None
    label: int
    source_row: int | None


@dataclass(frozen=True, kw_only=True)
class SuspectedError(Example):
    """An example whose label the ensemble doubts, and what it suggests, with probabilities."""

    self_confidence: float
    suggested: int
    suggested_probability: float


@dataclass(frozen=True, kw_only=True)
class ChangedExample(Example):
    """An example that the specialists fixed or broke; ``valid`` are all labels that are right."""

    valid: tuple[int, ...]
    generalist: tuple[Answer, ...]
    ensemble: tuple[Answer, ...]
    specialists: tuple[SpecialistAnswer, ...]


@dataclass(frozen=True)
class ExampleRows:
    """The test examples by row: labels and, where known, texts and rows in the user's file."""

    labels: NDArray[np.int64]
    texts: Sequence[str] | None
    source_rows: ArrayLike | None

    def example(self, row: int) -> Example:
        """The example of a row; its text has what UTF-8 cannot hold replaced."""
        text = None if self.texts is None else self.texts[row].encode("utf-8", "replace").decode()
        source_row = None if self.source_rows is None else int(np.asarray(self.source_rows)[row])
        return Example(row=row, text=text, label=int(self.labels[row]), source_row=source_row)


def suspected_label_errors(
    ensemble: Scores, labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Rows whose label the ensemble doubts, the most doubtful first."""
    of_label = np.exp(-ensemble.nll)
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, weights=of_label, minlength=n_classes)
    usual = np.divide(sums, counts, out=np.ones(n_classes), where=counts > 0)
    sure = ensemble.confidence >= np.maximum(usual[ensemble.prediction], MIN_CONFIDENCE)
    rows = np.flatnonzero(~ensemble.acceptable & sure)
    margin = of_label[rows] - ensemble.confidence[rows]
    return rows[np.argsort(margin, kind="stable")]


def fixed(base: Scores, better: Scores) -> NDArray[np.int64]:
    """Rows that ``base`` gets wrong and ``better`` right, by the rise of p(label)."""
    rows = np.flatnonzero(~base.acceptable & better.acceptable)
    rise = np.exp(-better.nll[rows]) - np.exp(-base.nll[rows])
    return rows[np.argsort(-rise, kind="stable")]


def label_error_table(
    rows: NDArray[np.int64], ensemble: Scores, examples: ExampleRows
) -> tuple[SuspectedError, ...]:
    """One entry per suspect: its label and the ensemble's answer, with their probabilities."""
    return tuple(
        SuspectedError(
            **vars(examples.example(row)),
            self_confidence=float(np.exp(-ensemble.nll[row])),
            suggested=int(ensemble.prediction[row]),
            suggested_probability=float(ensemble.confidence[row]),
        )
        for row in rows.tolist()
    )


def answer_table(
    rows: NDArray[np.int64],
    generalist: Predictions,
    ensemble: Predictions,
    examples: ExampleRows,
    valid: Ragged | None,
    subsets: ClassSubsets,
    answers: SpecialistAnswers,
) -> tuple[ChangedExample, ...]:
    """The three most probable classes of both models and active specialists, for ``rows``.

    ``valid`` lists every label that would be right.
    """
    return tuple(
        ChangedExample(
            **vars(example := examples.example(row)),
            valid=(example.label,) if valid is None else tuple(valid.row(row).tolist()),
            generalist=top_classes(generalist[[row]].dense()[0]),
            ensemble=top_classes(ensemble[[row]].dense()[0]),
            specialists=tuple(
                SpecialistAnswer(int(m), top_classes(values, subsets[m]))
                for m, values in answers.get(row, {}).items()
            ),
        )
        for row in rows.tolist()
    )


def top_classes(
    log_probs: ArrayLike, subset: NDArray[np.int64] | None = None
) -> tuple[Answer, ...]:
    """The most probable classes of one row.

    ``subset`` names the classes of a specialist's columns, whose last is the dustbin (None).
    """
    values = np.asarray(log_probs, dtype=np.float64)
    order = np.argsort(-values, kind="stable")[:N_SHOWN_CLASSES]
    names = None if subset is None else [*subset.tolist(), None]
    return tuple(
        Answer(int(j) if names is None else names[j], float(np.exp(min(values[j], 0.0))))
        for j in order
    )
