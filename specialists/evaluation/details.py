"""What does the report show beyond ``evaluation.json``?

:func:`details` gathers calibration, gains per class and per cluster and the examples worth a look.
Classes are indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.catalogue import CONTINUED, ENSEMBLE, GENERALIST, STUDENT
from specialists.datasets.base import Ragged
from specialists.evaluation.comparison import resample, retention, score_models
from specialists.evaluation.examples import (
    AskSpecialists,
    ChangedExample,
    ExampleRows,
    SuspectedError,
    answer_table,
    label_error_table,
    mended,
    suspected_label_errors,
)
from specialists.evaluation.findings import Retention
from specialists.evaluation.scores import Bin, Scores, blocks, reliability_bins
from specialists.evaluation.subsets import (
    ByClass,
    ClusterGain,
    accuracy_by_class,
    as_indices,
    gain_by_cluster,
)
from specialists.json_record import JsonRecord
from specialists.predictions import DensePredictions, ModelOutputs, Predictions
from specialists.probability import tempered_log_softmax

UNDER_TRAINED_GAIN = 0.01
N_LABEL_ERRORS = 40
UNCALIBRATED = "generalist_uncalibrated"


@dataclass(frozen=True)
class LabelErrors(JsonRecord):
    """How many labels the ensemble doubts, and the most doubtful."""

    n: int
    examples: tuple[SuspectedError, ...]


@dataclass(frozen=True)
class Changes(JsonRecord):
    """How many examples were mended, or broken, and the largest changes."""

    n: int
    examples: tuple[ChangedExample, ...]


@dataclass(frozen=True)
class UnderTrained(JsonRecord):
    """What training on gains the generalist in top-1, and whether that is more than 1%."""

    flag: bool
    relative_gain: float


@dataclass(frozen=True, kw_only=True)
class Details(JsonRecord):
    """What a reader of the report wants to see after the answer.

    Parameters
    ----------
    reliability : mapping of model to its bins
    per_class : mapping
        ``n`` test examples of each class, and each model's accuracy on them.
    per_cluster : tuple of ClusterGain
        Of the specialists that may answer.
    label_errors : LabelErrors
    mended, broken : Changes
    under_trained : UnderTrained, optional
        None if it was not tried.
    retention : Retention
    """

    reliability: Mapping[str, tuple[Bin, ...]]
    per_class: ByClass
    per_cluster: tuple[ClusterGain, ...]
    label_errors: LabelErrors
    mended: Changes
    broken: Changes
    under_trained: UnderTrained | None
    retention: Retention


def details(
    outputs: Mapping[str, ModelOutputs],
    labels: ArrayLike,
    valid: Ragged | None,
    subsets: Sequence[ArrayLike],
    *,
    seed: int,
    n_bootstrap: int = 1000,
    n_examples: int = 48,
    temperature: float | None = None,
    texts: Sequence[str] | None = None,
    source_rows: ArrayLike | None = None,
    ask_specialists: AskSpecialists | None = None,
    scores: Mapping[str, Scores] | None = None,
    groups: ArrayLike | None = None,
    members: Sequence[int] | None = None,
) -> Details:
    """What a reader of the report wants to see after the answer.

    Parameters
    ----------
    outputs, labels, valid, subsets, seed, n_bootstrap, scores, groups, members
        As for :func:`specialists.evaluation.evaluate`.
    n_examples : int
        Mended and broken examples, each.
    temperature : float, optional
        The generalist's; its calibrated predictions are uncalibrated with it for comparison.
    texts : sequence of n str, optional
    source_rows : int array of shape (n,), optional
        Line or row of each example in the user's file.
    ask_specialists : callable, optional
        rows -> {row: {specialist: log-probabilities (|subset| + 1,), dustbin last}} of the active
        specialists of those rows.
    """
    truth = np.asarray(labels, dtype=np.int64)
    scores = score_models(outputs, truth, valid) if scores is None else scores
    classes, examples = as_indices(subsets), ExampleRows(truth, texts, source_rows)
    generalist, ensemble = scores[GENERALIST], scores[ENSEMBLE]
    before, after = (outputs[name].predictions for name in (GENERALIST, ENSEMBLE))
    n_classes = before.n_classes
    names = [name for name in (GENERALIST, ENSEMBLE, STUDENT) if name in scores]
    suspects = suspected_label_errors(ensemble, truth, n_classes)
    changed = mended(generalist, ensemble), mended(ensemble, generalist)
    shown = np.concatenate([rows[:n_examples] for rows in changed])
    answers = {} if ask_specialists is None or not len(shown) else ask_specialists(shown)

    def changes(rows: NDArray[np.int64]) -> Changes:
        first = rows[:n_examples]
        table = answer_table(first, before, after, examples, valid, classes, answers)
        return Changes(len(rows), table)

    return Details(
        reliability=_reliability(outputs[GENERALIST], scores, truth, temperature),
        per_class=accuracy_by_class({name: scores[name] for name in names}, truth, n_classes),
        per_cluster=gain_by_cluster(
            generalist.correct,
            ensemble.correct,
            truth,
            classes,
            members,
            n_bootstrap=n_bootstrap,
            seed=seed,
            groups=groups,
        ),
        label_errors=LabelErrors(
            len(suspects), label_error_table(suspects[:N_LABEL_ERRORS], ensemble, examples)
        ),
        mended=changes(changed[0]),
        broken=changes(changed[1]),
        under_trained=under_trained(scores),
        retention=retention(scores, resample(scores, n_bootstrap, seed, groups)),
    )


def under_trained(scores: Mapping[str, Scores]) -> UnderTrained | None:
    """Whether training on gains the generalist more than 1% relative top-1; None if not tried."""
    if CONTINUED not in scores:
        return None
    before, after = (float(scores[name].correct.mean()) for name in (GENERALIST, CONTINUED))
    gain = (after - before) / before if before else float(after > 0)
    return UnderTrained(gain > UNDER_TRAINED_GAIN, gain)


def _reliability(
    generalist: ModelOutputs,
    scores: Mapping[str, Scores],
    labels: NDArray[np.int64],
    temperature: float | None,
) -> dict[str, tuple[Bin, ...]]:
    bins = {name: reliability_bins(s.confidence, s.correct) for name, s in scores.items()}
    if temperature is None:
        return bins
    confidence = _raw_confidence(generalist.predictions, temperature)
    raw = reliability_bins(confidence, scores[GENERALIST].correct)
    return {UNCALIBRATED: raw} | bins


def _raw_confidence(predictions: Predictions, temperature: float) -> NDArray[np.float64]:
    """The largest probabilities before the division of logits by ``temperature``, shape (n,)."""
    confidence = np.empty(len(predictions))
    for rows in blocks(len(predictions), predictions.n_classes):
        raw = tempered_log_softmax(predictions[rows].dense(), 1.0 / temperature)
        confidence[rows] = DensePredictions(raw).confidence()
    return confidence
