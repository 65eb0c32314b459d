"""What does the report show beyond ``evaluation.json``?

:func:`details` gathers calibration, gains per class and per cluster and the examples worth a look.
Everything in it is JSON-able; classes are indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.datasets.base import Ragged
from specialists.evaluation.comparison import resample, retention, score_models
from specialists.evaluation.examples import (
    AskSpecialists,
    answer_table,
    label_error_table,
    mended,
    suspected_label_errors,
)
from specialists.evaluation.scores import Scores, blocks, reliability_bins
from specialists.evaluation.subsets import (
    accuracy_by_class,
    as_indices,
    gain_by_cluster,
)
from specialists.predictions import ModelOutputs

UNDER_TRAINED_GAIN = 0.01
N_LABEL_ERRORS = 40


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
) -> dict[str, Any]:
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

    Returns
    -------
    dict
        ``reliability`` {model: bins}, ``per_class``, ``per_cluster`` of ``members``,
        ``label_errors``, ``mended`` and ``broken`` {"n", "examples"}, ``under_trained``,
        ``retention``.
    """
    truth = np.asarray(labels, dtype=np.int64)
    scores = score_models(outputs, truth, valid) if scores is None else scores
    classes = as_indices(subsets)
    generalist, ensemble = scores["generalist"], scores["ensemble"]
    n_classes = outputs["generalist"].log_probs.shape[1]
    drawn: dict[str, Any] = {"n_bootstrap": n_bootstrap, "seed": seed, "groups": groups}
    kept = retention(scores, resample(scores, **drawn))
    named = {name: scores[name] for name in ("generalist", "ensemble", "student") if name in scores}
    suspects = suspected_label_errors(ensemble, truth, n_classes)
    changed = {"mended": mended(generalist, ensemble), "broken": mended(ensemble, generalist)}
    shown = np.concatenate([rows[:n_examples] for rows in changed.values()])
    answers = {} if ask_specialists is None or not len(shown) else ask_specialists(shown)
    log_probs = {name: outputs[name].log_probs for name in ("generalist", "ensemble")}

    def answers_to(rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        table = answer_table(rows, log_probs, truth, valid, classes, texts, answers)
        return _located(table, source_rows)

    return {
        "reliability": _reliability(outputs["generalist"], scores, truth, temperature),
        "per_class": accuracy_by_class(named, truth, n_classes),
        "per_cluster": gain_by_cluster(
            generalist.correct, ensemble.correct, truth, classes, members, **drawn
        ),
        "label_errors": {
            "n": len(suspects),
            "examples": _located(
                label_error_table(suspects[:N_LABEL_ERRORS], ensemble, truth, texts), source_rows
            ),
        },
        **{
            name: {"n": len(rows), "examples": answers_to(rows[:n_examples])}
            for name, rows in changed.items()
        },
        "under_trained": under_trained(scores),
        "retention": asdict(kept),
    }


def _located(
    examples: Sequence[Mapping[str, Any]], source_rows: ArrayLike | None
) -> list[dict[str, Any]]:
    """The examples with their ``source_row`` in the user's file, None where it is not known."""
    places = None if source_rows is None else np.asarray(source_rows)
    return [
        {**example, "source_row": None if places is None else int(places[example["row"]])}
        for example in examples
    ]


def under_trained(scores: Mapping[str, Scores]) -> dict[str, Any] | None:
    """Whether training on gains the generalist more than 1% relative top-1; None if not tried."""
    if "generalist_continued" not in scores:
        return None
    before, after = (
        float(scores[name].correct.mean()) for name in ("generalist", "generalist_continued")
    )
    gain = (after - before) / before if before else float(after > 0)
    return {"flag": gain > UNDER_TRAINED_GAIN, "relative_gain": gain}


def uncalibrated(log_probs: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Log-probabilities before the division of logits by ``temperature``, shape (n, n_classes)."""
    raw = np.asarray(log_probs) * np.float32(temperature)
    raw -= raw.max(axis=1, keepdims=True)
    return raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))


def _reliability(
    generalist: ModelOutputs,
    scores: Mapping[str, Scores],
    labels: NDArray[np.int64],
    temperature: float | None,
) -> dict[str, Any]:
    bins = {name: reliability_bins(s.confidence, s.correct) for name, s in scores.items()}
    if temperature is None:
        return bins
    confidence = _raw_confidence(generalist.log_probs, temperature)
    raw = reliability_bins(confidence, scores["generalist"].correct)
    return {"generalist_uncalibrated": raw} | bins


def _raw_confidence(log_probs: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    confidence = np.empty(len(log_probs))
    for rows in blocks(*log_probs.shape):
        confidence[rows] = np.exp(uncalibrated(log_probs[rows], temperature).max(axis=1))
    return confidence
