"""What does the report show beyond ``evaluation.json``?

:func:`details` gathers calibration, gains per class and per cluster and the examples worth a look.
Classes are indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import AliasChoices, Field
from torch.nn import functional as F

from specialists.catalogue import CONTINUED, ENSEMBLE, GENERALIST, STUDENT
from specialists.datasets.base import Ragged
from specialists.evaluation import notable_examples as notable
from specialists.evaluation.findings import Retention
from specialists.evaluation.one_run import resample, retention, score_models
from specialists.evaluation.pair_changes import PairChanges, pair_changes
from specialists.evaluation.scores import Bin, Scores, blocks, reliability_bins
from specialists.evaluation.shared_gains import SharedGains
from specialists.evaluation.subsets import ByClass, ClusterGain, accuracy_by_class, gain_by_cluster
from specialists.json_record import JsonRecord
from specialists.predictions import DensePredictions, ModelOutputs, Predictions

UNDER_TRAINED_GAIN = 0.01
N_LABEL_ERRORS = 40
UNCALIBRATED = "generalist_uncalibrated"


@dataclass(frozen=True)
class LabelErrors(JsonRecord):
    """How many labels the ensemble doubts, and the most doubtful."""

    n: int
    examples: tuple[notable.SuspectedError, ...]


@dataclass(frozen=True)
class Changes(JsonRecord):
    """How many examples were fixed, or broken, and the largest changes."""

    n: int
    examples: tuple[notable.ChangedExample, ...]


@dataclass(frozen=True)
class UnderTrained(JsonRecord):
    """What further training gains the generalist in top-1, and whether that is more than 1%."""

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
    under_trained : UnderTrained, optional
        None if it was not tried.
    pairs : PairChanges, optional
        Between pairs of classes; None if the ensemble changes nothing.
    shared : SharedGains, optional
        None without shared specialists.
    """

    reliability: Mapping[str, tuple[Bin, ...]]
    per_class: ByClass
    per_cluster: tuple[ClusterGain, ...]
    label_errors: LabelErrors
    fixed: Annotated[Changes, Field(validation_alias=AliasChoices("fixed", "mended"))]
    broken: Changes
    under_trained: UnderTrained | None
    retention: Retention
    pairs: PairChanges | None = None
    shared: SharedGains | None = None


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
    ask_specialists: notable.AskSpecialists | None = None,
    scores: Mapping[str, Scores] | None = None,
    groups: ArrayLike | None = None,
    members: Sequence[int] | None = None,
    shared: SharedGains | None = None,
) -> Details:
    """What a reader of the report wants to see after the answer.

    Parameters
    ----------
    outputs, labels, valid, subsets, seed, n_bootstrap, scores, groups, members
        As for :func:`specialists.evaluation.evaluate`.
    n_examples : int
        Number of fixed and of broken examples.
    temperature : float, optional
        The generalist's; its calibrated predictions are uncalibrated with it for comparison.
    texts : sequence of n str, optional
    source_rows : int array of shape (n,), optional
        Line or row of each example in the user's file.
    ask_specialists : callable, optional
        rows -> {row: {specialist: log-probabilities (|subset| + 1,), dustbin last}} of the active
        specialists of those rows.
    shared : SharedGains, optional
        From :func:`specialists.evaluation.shared_gains`.
    """
    truth = np.asarray(labels, dtype=np.int64)
    scores = score_models(outputs, truth, valid) if scores is None else scores
    classes = [np.asarray(subset, dtype=np.int64) for subset in subsets]
    examples = notable.ExampleRows(truth, texts, source_rows)
    generalist, ensemble = scores[GENERALIST], scores[ENSEMBLE]
    before, after = (outputs[name].predictions for name in (GENERALIST, ENSEMBLE))
    n_classes = before.n_classes
    names = [name for name in (GENERALIST, ENSEMBLE, STUDENT) if name in scores]
    suspects = notable.suspected_label_errors(ensemble, truth, n_classes)
    changed = notable.fixed(generalist, ensemble), notable.fixed(ensemble, generalist)
    shown = [rows[:n_examples] for rows in changed]
    asked = np.concatenate(shown)
    answers = {} if ask_specialists is None or not len(asked) else ask_specialists(asked)
    about = examples, valid, classes, answers
    tables = [notable.answer_table(rows, before, after, *about) for rows in shown]

    return Details(
        reliability=_reliability(before, scores, temperature),
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
            len(suspects), notable.label_error_table(suspects[:N_LABEL_ERRORS], ensemble, examples)
        ),
        fixed=Changes(len(changed[0]), tables[0]),
        broken=Changes(len(changed[1]), tables[1]),
        under_trained=under_trained(scores),
        retention=retention(scores, resample(scores, n_bootstrap, seed, groups)),
        pairs=pair_changes(generalist, ensemble, truth, examples),
        shared=shared,
    )


def under_trained(scores: Mapping[str, Scores]) -> UnderTrained | None:
    """Whether further training gains the generalist more than 1% of its top-1; None: not tried."""
    if CONTINUED not in scores:
        return None
    before, after = (float(scores[name].correct.mean()) for name in (GENERALIST, CONTINUED))
    gain = (after - before) / before if before else float(after > 0)
    return UnderTrained(gain > UNDER_TRAINED_GAIN, gain)


def _reliability(
    generalist: Predictions, scores: Mapping[str, Scores], temperature: float | None
) -> dict[str, tuple[Bin, ...]]:
    bins = {name: reliability_bins(s.confidence, s.correct) for name, s in scores.items()}
    if temperature is None:
        return bins
    raw = np.empty(len(generalist))
    for rows in blocks(len(generalist), generalist.n_classes):
        logits = generalist[rows].dense() * temperature
        raw[rows] = DensePredictions(F.log_softmax(logits, dim=1)).confidence()
    return {UNCALIBRATED: reliability_bins(raw, scores[GENERALIST].correct)} | bins
