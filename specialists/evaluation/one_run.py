"""Did it help? The models, their paired differences and what the student keeps.

:func:`evaluate` gives the content of ``evaluation.json``. All intervals are 95% percentile
bootstrap intervals over groups of test examples, from resamples that all models share. p-values:
exact McNemar for top-1, a paired test of means for the NLL, both of group sums. Below 20 groups
intervals are Student's, and there is no p-value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.catalogue import ENSEMBLE, GENERALIST, HARD_LABELS, PAIRS, STUDENT
from specialists.datasets.base import Ragged
from specialists.errors import SpecialistsError
from specialists.evaluation.findings import Difference, Evaluation, ModelScores, Retention
from specialists.evaluation.scores import (
    Scores,
    expected_calibration_error,
    macro_accuracy,
    score_model,
)
from specialists.evaluation.subsets import conditional_accuracy, coverage_counts, coverage_gains
from specialists.predictions import ModelOutputs
from specialists.probability import MAX_NLL
from specialists.uncertainty import (
    DIFFERENCE_OF_SHARES,
    MIN_GROUPS,
    SHARE,
    bootstrap_means,
    count_groups,
    interval_of_mean,
    mcnemar,
    paired_mean_test,
    percentile_interval,
    share_kept,
)

LIMITS = {"top1": DIFFERENCE_OF_SHARES, "nll": (-MAX_NLL, MAX_NLL)}  # of a difference


@dataclass(frozen=True)
class BootstrapMeans:
    """Bootstrap means of "top1" and "nll": metric -> model name -> array (n_bootstrap,).

    ``groups`` are those of the test examples, which were drawn whole; None: each is one.
    """

    means: Mapping[str, Mapping[str, NDArray[np.float64]]]
    groups: ArrayLike | None = None


def score_models(
    outputs: Mapping[str, ModelOutputs], labels: ArrayLike, valid: Ragged | None
) -> dict[str, Scores]:
    """Each model's :class:`Scores`, in the order of ``outputs``."""
    missing = {GENERALIST, ENSEMBLE} - set(outputs)
    if missing:
        raise SpecialistsError(f"Evaluation needs predictions of {', '.join(sorted(missing))}")
    truth = np.asarray(labels, dtype=np.int64)
    if len(truth) == 0:
        raise SpecialistsError("Evaluation needs at least one labelled example")
    return {name: score_model(model, truth, valid) for name, model in outputs.items()}


def resample(
    scores: Mapping[str, Scores], n_bootstrap: int, seed: int, groups: ArrayLike | None = None
) -> BootstrapMeans:
    """Mean top-1 and NLL of all models in the same resamples of the groups of examples."""
    correct = np.stack([model.correct for model in scores.values()], axis=1)
    nll = np.stack([model.nll for model in scores.values()], axis=1)
    means = {
        metric: dict(zip(scores, bootstrap_means(table, n_bootstrap, seed, groups).T, strict=True))
        for metric, table in (("top1", correct), ("nll", nll))
    }
    return BootstrapMeans(means, groups)


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
    groups: ArrayLike | None = None,
    members: Sequence[int] | None = None,
) -> Evaluation:
    """Measure every model, and test the differences of :data:`specialists.catalogue.PAIRS`.

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
    scores : mapping of model name to Scores, optional
        From :func:`score_models`, to save the pass over the predictions.
    groups : int array of shape (n,), optional
        Examples that are one observation share a number; None: each is one.
    members : sequence of int, optional
        Specialists that may answer; None: all. The others are left out of ``conditional`` and
        ``coverage``, and counted.
    """
    truth = np.asarray(labels, dtype=np.int64)
    scores = score_models(outputs, truth, valid) if scores is None else scores
    samples = resample(scores, n_bootstrap, seed, groups)
    kept = retention(scores, samples)
    n_classes = outputs[GENERALIST].predictions.n_classes
    base, better = (scores[name].correct for name in (GENERALIST, ENSEMBLE))
    may_answer = range(len(subsets)) if members is None else members
    answering = [np.asarray(subsets[m], dtype=np.int64) for m in may_answer]
    counts = coverage_counts(answering, n_classes)
    return Evaluation(
        dataset=dataset,
        seed=seed,
        n_classes=n_classes,
        n_test=len(truth),
        n_groups=count_groups(groups, len(truth)),
        models={name: _model(name, outputs, scores, truth, samples) for name in outputs},
        differences=differences(scores, samples, seed),
        retention=kept.value,
        n_specialists=len(subsets),
        n_answering=len(answering),
        conditional={
            name: conditional_accuracy(outputs[name].predictions, truth, answering)
            for name in (GENERALIST, ENSEMBLE)
        },
        coverage=coverage_gains(base, better, truth, counts) if answering else (),
        retention_reason=kept.reason,
    )


def _model(
    name: str,
    outputs: Mapping[str, ModelOutputs],
    all_scores: Mapping[str, Scores],
    labels: NDArray[np.int64],
    samples: BootstrapMeans,
) -> ModelScores:
    model, scores, any_valid = outputs[name], all_scores[name], all_scores[name].correct_any
    return ModelScores(
        top1=float(scores.correct.mean()),
        top1_interval=interval_of_mean(
            scores.correct, samples.means["top1"][name], samples.groups, limits=SHARE
        ),
        top1_any_valid=None if any_valid is None else float(any_valid.mean()),
        top1_macro=macro_accuracy(scores.correct, labels),
        top5=float(scores.in_top5.mean()),
        nll=float(scores.nll.mean()),
        ece=expected_calibration_error(scores.confidence, scores.correct),
        agreement=float((scores.prediction == all_scores[ENSEMBLE].prediction).mean()),
        parameters=int(model.parameters),
        inference_flops=float(model.inference_flops),
        training_examples=int(model.training_examples),
        training_flops=float(model.training_flops),
        tuning_trials=int(model.tuning_trials),
    )


def differences(
    scores: Mapping[str, Scores], samples: BootstrapMeans, seed: int
) -> tuple[Difference, ...]:
    """Top-1 and NLL of a minus those of b, for every pair whose models are there."""
    return tuple(
        _difference(a, b, metric, scores, samples, seed)
        for a, b in PAIRS
        if a in scores and b in scores
        for metric in LIMITS
    )


def _difference(
    a: str, b: str, metric: str, scores: Mapping[str, Scores], samples: BootstrapMeans, seed: int
) -> Difference:
    first, second = (scores[name].values(metric) for name in (a, b))
    drawn, groups = samples.means[metric], samples.groups
    gaps = drawn[a] - drawn[b]
    return Difference(
        a=a,
        b=b,
        metric=metric,
        value=float(first.mean() - second.mean()),
        interval=interval_of_mean(first - second, gaps, groups, limits=LIMITS[metric]),
        p=_p_value(metric, scores[a], scores[b], groups, seed),
    )


def _p_value(
    metric: str, a: Scores, b: Scores, groups: ArrayLike | None, seed: int
) -> float | None:
    if count_groups(groups, len(a.nll)) < MIN_GROUPS:
        return None
    if metric == "top1":
        return mcnemar(a.correct, b.correct, groups)
    return paired_mean_test(a.nll, b.nll, seed, groups=groups)


def retention(scores: Mapping[str, Scores], samples: BootstrapMeans) -> Retention:
    """What the student keeps of the ensemble's gain, or why that cannot be said."""
    names = (STUDENT, HARD_LABELS, ENSEMBLE)
    missing = [name for name in names if name not in scores]
    if missing:
        return Retention(None, None, f"there is no {' and no '.join(missing)}")
    student, hard, ensemble = (float(scores[name].correct.mean()) for name in names)
    drawn = samples.means["top1"]
    gap = drawn[ENSEMBLE] - drawn[HARD_LABELS]
    gains = scores[ENSEMBLE].values("top1") - scores[HARD_LABELS].values("top1")
    low, high = interval_of_mean(gains, gap, samples.groups, limits=DIFFERENCE_OF_SHARES)
    if low <= 0:
        reason = (
            f"ensemble - student_hard_labels is {100 * (ensemble - hard):+.2f} points with a 95% "
            f"interval from {100 * low:+.2f} to {100 * high:+.2f}, not all of it above 0: "
            "there is no clear gain to keep"
        )
        return Retention(None, None, reason)
    interval = percentile_interval(share_kept(drawn[STUDENT] - drawn[HARD_LABELS], gap))
    return Retention((student - hard) / (ensemble - hard), interval, None)
