"""Did it help, over several seeds? One table of models and their paired differences.

What is compared is the mean over seeds, and its intervals draw seeds and groups of test examples
anew (:mod:`specialists.uncertainty`). A run is a comparison of one seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from specialists.catalogue import ALTERNATIVES, ENSEMBLE, GENERALIST, HARD_LABELS, PAIRS, STUDENT
from specialists.errors import InputError
from specialists.evaluation.findings import Evaluation, PairedDifference, find_difference
from specialists.evaluation.inference_times import InferenceTimes, mean_times
from specialists.evaluation.one_run import LIMITS
from specialists.evaluation.searches import TunedCandidate
from specialists.json_record import Cost, JsonRecord
from specialists.uncertainty import (
    Interval,
    count_groups,
    drawn_over_seeds,
    means_over_seeds,
    percentile_interval,
    share_kept,
)

METRICS = ("top1", "nll")
COSTS = ("parameters", "inference_flops", "training_examples", "training_flops", "tuning_trials")
LEVEL = 0.95
CORRECTED_LEVEL = 1 - (1 - LEVEL) / len(ALTERNATIVES)  # for the best of them (Bonferroni)
ALL_PAIRS = tuple(dict.fromkeys((*PAIRS, *itertools.combinations(ALTERNATIVES, 2))))


@dataclass(frozen=True)
class SeedScores:
    """What one seed's models did on its test examples.

    Parameters
    ----------
    examples : str
        The same for two seeds if and only if their test sets are.
    scores : mapping of metric to mapping of model name to float array of shape (n,)
    seconds : mapping of model name to seconds of training
    admission : {"admitted", "refused", "not tested"}
        Whether the specialists may answer.
    groups : int64 array of shape (n,), optional
        Test examples that are one observation share a number; None: each is one.
    times : InferenceTimes, optional
        None of a run whose models were not timed.
    candidates : tuple of TunedCandidate
        Of the student's search; none without one.
    still_improving : bool
        Whether the generalist's last epoch was its best, so that more may help.
    """

    evaluation: Evaluation
    examples: str
    scores: Mapping[str, Mapping[str, NDArray[np.float64]]]
    seconds: Mapping[str, float]
    admission: str = "not tested"
    groups: NDArray[np.int64] | None = None
    times: InferenceTimes | None = None
    candidates: tuple[TunedCandidate, ...] = ()
    still_improving: bool = False


@dataclass(frozen=True)
class Summary(JsonRecord):
    """Mean over seeds, standard deviation over seeds (None of one seed), and each seed's value."""

    mean: float
    spread: float | None
    values: tuple[float, ...]

    @classmethod
    def from_values(cls, values: Sequence[float]) -> Summary:
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), spread, tuple(map(float, values)))


@dataclass(frozen=True, kw_only=True)
class ModelSummary(JsonRecord):
    """One model over seeds: metrics, and means of its costs; seconds of training are wall time."""

    top1: Summary
    top5: Summary
    nll: Summary
    top1_any_valid: Summary | None = None
    parameters: float
    inference_flops: Cost
    training_examples: float
    training_flops: float
    tuning_trials: float
    training_seconds: float

    def mean(self, metric: str) -> float:
        """The mean "top1" or "nll"."""
        return getattr(self, metric).mean


@dataclass(frozen=True, kw_only=True)
class MeanDifference(PairedDifference):
    """A difference over seeds; ``corrected_interval`` is at the level for the best of them all."""

    spread: float | None
    values: tuple[float, ...]
    corrected_interval: Interval


@dataclass(frozen=True)
class ShareKept(JsonRecord):
    """What the student keeps of the ensemble's gain over hard labels."""

    value: float
    interval: Interval

    @property
    def is_clear(self) -> bool:
        """Whether it keeps anything: the interval lies above 0."""
        return self.interval[0] > 0


@dataclass(frozen=True, kw_only=True)
class Comparison(JsonRecord):
    """Everything that ``comparison.json`` holds.

    Parameters
    ----------
    n_test, n_groups, seeds : tuples of int
        Of each seed: its test examples, the units of chance that these are, its number.
    admission : tuple of str
        Outcome of the admission test in each seed.
    retention : ShareKept, optional
        None without a clear gain.
    times : InferenceTimes, optional
        Means over the seeds whose models were timed; None without any.
    candidates : tuple of tuple of TunedCandidate
        Of the student's search in each seed; none without a search.
    still_improving : tuple of bool
        Of each seed: whether the generalist's last epoch was its best. Empty in older files.
    """

    dataset: str
    n_classes: int
    n_test: tuple[int, ...]
    n_groups: tuple[int, ...]
    seeds: tuple[int, ...]
    admission: Annotated[tuple[str, ...], Field(validation_alias=AliasChoices("admission", "gate"))]
    models: Mapping[str, ModelSummary]
    retention: ShareKept | None
    differences: tuple[MeanDifference, ...]
    times: InferenceTimes | None = None
    candidates: tuple[tuple[TunedCandidate, ...], ...] = ()
    still_improving: tuple[bool, ...] = ()

    def find(self, a: str, b: str, metric: str = "top1") -> MeanDifference | None:
        """The difference a - b, or None if it was not taken."""
        return find_difference(self.differences, a, b, metric)

    def gain(self, name: str) -> MeanDifference:
        """The difference in top-1 to the generalist."""
        difference = self.find(name, GENERALIST)
        assert difference is not None, "every model is compared with the generalist"
        return difference

    def is_clear(self, a: str, b: str) -> bool:
        """Whether a is better than b at the corrected level, whichever way it was taken."""
        taken, reverse = self.find(a, b), self.find(b, a)
        if taken is not None:
            return taken.corrected_interval[0] > 0
        return reverse is not None and reverse.corrected_interval[1] < 0

    @property
    def is_refused(self) -> bool:
        """Whether the admission test kept the specialists out in every seed."""
        return set(self.admission) == {"refused"}


def compare_seeds(seeds: Sequence[SeedScores], n_bootstrap: int = 4000) -> Comparison:
    """Means over seeds of every model, and paired differences of every two.

    Raises
    ------
    InputError
        Without seeds, or if they have different models or data sets.
    """
    if not seeds:
        raise InputError("there is nothing to compare", expected="at least one finished seed")
    first = seeds[0].evaluation
    for seed in seeds[1:]:
        other = seed.evaluation
        _check_same("dataset", first.dataset, other.dataset)
        _check_same("models", sorted(first.models), sorted(other.models))
    names = list(first.models)
    pairs = [(name, GENERALIST) for name in names if name != GENERALIST]
    pairs += [pair for pair in ALL_PAIRS if pair not in pairs and set(pair) <= set(names)]
    drawn = {metric: _draw_examples(seeds, names, metric, n_bootstrap) for metric in METRICS}
    return Comparison(
        dataset=first.dataset,
        n_classes=first.n_classes,
        n_test=tuple(seed.evaluation.n_test for seed in seeds),
        n_groups=tuple(count_groups(seed.groups, seed.evaluation.n_test) for seed in seeds),
        seeds=tuple(seed.evaluation.seed for seed in seeds),
        admission=tuple(seed.admission for seed in seeds),
        models={name: _model(seeds, name) for name in names},
        retention=_retention(seeds, drawn["top1"]),
        times=mean_times([seed.times for seed in seeds if seed.times is not None]),
        candidates=tuple(seed.candidates for seed in seeds if seed.candidates),
        still_improving=tuple(seed.still_improving for seed in seeds),
        differences=tuple(
            _difference(seeds, a, b, metric, drawn[metric][a] - drawn[metric][b])
            for a, b in pairs
            for metric in METRICS
        ),
    )


def _check_same(what: str, a: object, b: object) -> None:
    if a != b:
        raise InputError(f"the seeds differ in their {what}", got=b, expected=a)


def _model(seeds: Sequence[SeedScores], name: str) -> ModelSummary:
    models = [seed.evaluation.models[name] for seed in seeds]
    any_valid = [m.top1_any_valid for m in models if m.top1_any_valid is not None]
    costs = {cost: float(np.mean([getattr(model, cost) for model in models])) for cost in COSTS}
    return ModelSummary(
        top1=Summary.from_values([model.top1 for model in models]),
        top5=Summary.from_values([model.top5 for model in models]),
        nll=Summary.from_values([model.nll for model in models]),
        top1_any_valid=Summary.from_values(any_valid) if len(any_valid) == len(models) else None,
        training_seconds=float(np.mean([seed.seconds[name] for seed in seeds])),
        **costs,
    )


def _draw_examples(
    seeds: Sequence[SeedScores], names: Sequence[str], metric: str, n_bootstrap: int
) -> dict[str, NDArray[np.float64]]:
    """Each model's mean over seeds in every resample of test examples, shape (n_bootstrap,)."""
    tables = [np.stack([seed.scores[metric][name] for name in names], axis=1) for seed in seeds]
    shared = len({seed.examples for seed in seeds}) == 1
    means = means_over_seeds(tables, shared, n_bootstrap, [seed.groups for seed in seeds])
    return dict(zip(names, means.T, strict=True))


def _difference(
    seeds: Sequence[SeedScores], a: str, b: str, metric: str, examples: NDArray[np.float64]
) -> MeanDifference:
    gaps = _gaps(seeds, a, b, metric)
    summary = Summary.from_values(gaps)

    def interval(level: float) -> Interval:
        drawn = drawn_over_seeds(gaps, examples, level)
        return percentile_interval(drawn, level, LIMITS[metric])

    return MeanDifference(
        a=a,
        b=b,
        metric=metric,
        value=summary.mean,
        spread=summary.spread,
        values=summary.values,
        interval=interval(LEVEL),
        corrected_interval=interval(CORRECTED_LEVEL),
    )


def _retention(
    seeds: Sequence[SeedScores], drawn: Mapping[str, NDArray[np.float64]]
) -> ShareKept | None:
    """Share of the gain over hard labels, both drawn with the same seeds and examples.

    Its interval leaves out draws without a gain, at most a fortieth of them.
    """
    if not {STUDENT, ENSEMBLE, HARD_LABELS} <= set(drawn):
        return None
    gaps = {name: _gaps(seeds, name, HARD_LABELS, "top1") for name in (STUDENT, ENSEMBLE)}
    kept, gain = (
        drawn_over_seeds(gaps[name], drawn[name] - drawn[HARD_LABELS], LEVEL) for name in gaps
    )
    if percentile_interval(gain, LEVEL)[0] <= 0:
        return None
    value = float(np.mean(gaps[STUDENT]) / np.mean(gaps[ENSEMBLE]))
    return ShareKept(value, percentile_interval(share_kept(kept, gain), LEVEL))


def _gaps(seeds: Sequence[SeedScores], a: str, b: str, metric: str) -> list[float]:
    """The mean difference a - b of each seed."""
    return [float((seed.scores[metric][a] - seed.scores[metric][b]).mean()) for seed in seeds]
