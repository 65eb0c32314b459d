"""Did it help? The models, their paired differences and what the student keeps.

:func:`evaluate` gives the content of ``evaluation.json``, with exactly the keys of DESIGN.md
section 5. All intervals are 95% percentile bootstrap intervals over test examples, from resamples
that all models share. p-values: exact McNemar for top-1, a paired test of means for the NLL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.controls import SAME_INFERENCE
from specialists.datasets.base import Ragged
from specialists.errors import SpecialistsError
from specialists.evaluation.scores import (
    Scores,
    expected_calibration_error,
    macro_accuracy,
    score,
)
from specialists.evaluation.subsets import (
    as_indices,
    conditional_accuracy,
    coverage_counts,
    gain_by_coverage,
)
from specialists.predictions import ModelOutputs
from specialists.uncertainty import (
    Interval,
    bootstrap_means,
    mcnemar,
    paired_mean_test,
    percentile_interval,
    share_kept,
)

CONTROLS = ("generalist_continued", "generalist_wide", "generalist_ensemble")
COMPARISONS = (
    ("ensemble", "generalist"),
    *(("ensemble", control) for control in (*CONTROLS, SAME_INFERENCE)),
    ("ensemble_paper", "generalist"),
    ("ensemble_all", "generalist"),
    ("student", "student_hard_labels"),
    ("student", "generalist"),
)


@dataclass(frozen=True)
class Retention:
    """Share of the ensemble's gain over hard labels that the student keeps.

    Parameters
    ----------
    value : float, optional
        (student - student_hard_labels) / (ensemble - student_hard_labels), in top-1.
    interval : (float, float), optional
    reason : str, optional
        Why there is no value.
    """

    value: float | None
    interval: Interval | None
    reason: str | None


@dataclass(frozen=True)
class Resamples:
    """Bootstrap means of every model: ``top1`` and ``nll``, name -> array (n_bootstrap,)."""

    top1: Mapping[str, NDArray[np.float64]]
    nll: Mapping[str, NDArray[np.float64]]


def score_models(
    outputs: Mapping[str, ModelOutputs], labels: ArrayLike, valid: Ragged | None
) -> dict[str, Scores]:
    """Each model's :class:`Scores`, in the order of ``outputs``."""
    missing = {"generalist", "ensemble"} - set(outputs)
    if missing:
        raise SpecialistsError(f"Evaluation needs predictions of {', '.join(sorted(missing))}")
    truth = np.asarray(labels, dtype=np.int64)
    if len(truth) == 0:
        raise SpecialistsError("Evaluation needs at least one labelled example")
    return {name: score(model, truth, valid) for name, model in outputs.items()}


def resample(scores: Mapping[str, Scores], n_bootstrap: int, seed: int) -> Resamples:
    """Mean top-1 and NLL of all models in the same resamples of the examples."""
    correct = np.stack([model.correct for model in scores.values()], axis=1)
    nll = np.stack([model.nll for model in scores.values()], axis=1)
    top1 = bootstrap_means(correct, n_bootstrap, seed).T
    loss = bootstrap_means(nll, n_bootstrap, seed).T
    return Resamples(dict(zip(scores, top1, strict=True)), dict(zip(scores, loss, strict=True)))


def evaluate(
    outputs: Mapping[str, ModelOutputs],
    labels: ArrayLike,
    valid: Ragged | None,
    subsets: Sequence[ArrayLike],
    *,
    dataset: str,
    seed: int,
    n_bootstrap: int = 1000,
    scores: Mapping[str, Scores] | None = None,
) -> dict[str, Any]:
    """Everything that ``evaluation.json`` holds.

    Parameters
    ----------
    outputs : mapping of model name to ModelOutputs
        At least ``generalist`` and ``ensemble``; comparisons of absent models are left out.
    labels : int array of shape (n,)
    valid : Ragged of n rows of class indices, optional
        All labels that would be right.
    subsets : sequence of int arrays
        Classes of each specialist.
    dataset : str
        Its name.
    seed : int
        Of the run and of the bootstrap.
    n_bootstrap : int
    scores : mapping of model name to Scores, optional
        From :func:`score_models`, to save the pass over the predictions.

    Returns
    -------
    dict
        JSON-able, finite. ``retention_reason`` is there only where ``retention`` is None.
    """
    truth = np.asarray(labels, dtype=np.int64)
    scores = score_models(outputs, truth, valid) if scores is None else scores
    samples = resample(scores, n_bootstrap, seed)
    groups = as_indices(subsets)
    n_classes = outputs["generalist"].log_probs.shape[1]
    kept = retention(scores, samples)
    result = {
        "dataset": dataset,
        "seed": seed,
        "n_classes": n_classes,
        "n_test": len(truth),
        "models": {
            name: _model(outputs[name], scores[name], scores["ensemble"], truth, samples.top1[name])
            for name in outputs
        },
        "differences": differences(scores, samples, seed),
        "retention": kept.value,
        "conditional": {
            name: conditional_accuracy(outputs[name].log_probs, truth, groups)
            for name in ("generalist", "ensemble")
        },
        "coverage": gain_by_coverage(
            scores["generalist"].correct,
            scores["ensemble"].correct,
            truth,
            coverage_counts(groups, n_classes),
        ),
    }
    return result if kept.reason is None else result | {"retention_reason": kept.reason}


def _model(
    outputs: ModelOutputs,
    scores: Scores,
    ensemble: Scores,
    labels: NDArray[np.int64],
    top1_samples: NDArray[np.float64],
) -> dict[str, Any]:
    any_valid = scores.correct_any
    return {
        "top1": float(scores.correct.mean()),
        "top1_interval": list(percentile_interval(top1_samples)),
        "top1_any_valid": None if any_valid is None else float(any_valid.mean()),
        "top1_macro": macro_accuracy(scores.correct, labels),
        "top5": float(scores.in_top5.mean()),
        "nll": float(scores.nll.mean()),
        "ece": expected_calibration_error(scores.confidence, scores.correct),
        "agreement": float((scores.prediction == ensemble.prediction).mean()),
        "parameters": int(outputs.parameters),
        "inference_flops": float(outputs.inference_flops),
        "training_examples": int(outputs.training_examples),
    }


def differences(
    scores: Mapping[str, Scores], samples: Resamples, seed: int
) -> list[dict[str, Any]]:
    """Top-1 and NLL of a minus those of b, for every comparison whose models are there."""
    table = []
    for a, b in COMPARISONS:
        if a not in scores or b not in scores:
            continue
        first, second = scores[a], scores[b]
        top1_p = mcnemar(first.correct, second.correct)
        nll_p = paired_mean_test(first.nll, second.nll, seed)
        right = first.correct.mean() - second.correct.mean()
        loss = first.nll.mean() - second.nll.mean()
        for metric, value, p, means in (
            ("top1", right, top1_p, samples.top1),
            ("nll", loss, nll_p, samples.nll),
        ):
            interval = list(percentile_interval(means[a] - means[b]))
            found = {"value": float(value), "interval": interval, "p": p}
            table.append({"a": a, "b": b, "metric": metric} | found)
    return table


def retention(scores: Mapping[str, Scores], samples: Resamples) -> Retention:
    """What the student keeps of the ensemble's gain, or why that cannot be said."""
    names = ("student", "student_hard_labels", "ensemble")
    missing = [name for name in names if name not in scores]
    if missing:
        return Retention(None, None, f"there is no {' and no '.join(missing)}")
    student, hard, ensemble = (float(scores[name].correct.mean()) for name in names)
    gap = samples.top1["ensemble"] - samples.top1["student_hard_labels"]
    low, high = percentile_interval(gap)
    if low <= 0:
        return Retention(
            None,
            None,
            f"ensemble - student_hard_labels is {100 * (ensemble - hard):+.2f} points with a 95% "
            f"interval from {100 * low:+.2f} to {100 * high:+.2f}, not all of it above 0: "
            "there is no clear gain to keep",
        )
    kept = samples.top1["student"] - samples.top1["student_hard_labels"]
    interval = percentile_interval(share_kept(kept, gap))
    return Retention((student - hard) / (ensemble - hard), interval, None)
