"""Did it help, over several seeds? One table of models and their paired differences.

A seed's run is a folder whose evaluation stands. What is compared is the mean over seeds, and its
intervals draw seeds and groups of test examples anew (:mod:`specialists.uncertainty`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specialists.baselines import BASELINES
from specialists.errors import InputError
from specialists.evaluation.artifacts import STAGE
from specialists.evaluation.comparison import COMPARISONS, LIMITS
from specialists.evaluation.costs import training_seconds
from specialists.runs import Run, check_result, hash_files, read_array, read_json
from specialists.runs.manifests import MANIFEST
from specialists.uncertainty import (
    count_groups,
    drawn_over_seeds,
    means_over_seeds,
    percentile_interval,
    share_kept,
)

METRICS = ("top1", "nll")
COSTS = (
    "parameters",
    "inference_flops",
    "training_examples",
    "training_flops",
    "tuning_trials",
)
CANDIDATES = ("ensemble", *BASELINES, "student", "student_hard_labels")
LEVEL = 0.95
CORRECTED_LEVEL = 1 - (1 - LEVEL) / len(CANDIDATES)  # for the best of them (Bonferroni)
PAIRS = tuple(dict.fromkeys((*COMPARISONS, *itertools.combinations(CANDIDATES, 2))))


@dataclass(frozen=True)
class SeedScores:
    """What one seed's models did on its test examples.

    Parameters
    ----------
    evaluation : dict
        ``evaluation.json``.
    examples : str
        The same for two seeds if and only if their test sets are.
    scores : mapping of metric to mapping of model name to float array of shape (n,)
    seconds : mapping of model name to seconds of training
        See :func:`specialists.evaluation.costs.training_seconds`.
    gate : {"admitted", "refused", "not tested"}
        Whether the specialists may answer.
    groups : int64 array of shape (n,), optional
        Test examples that are one observation share a number; None: each is one.
    """

    evaluation: Mapping[str, Any]
    examples: str
    scores: Mapping[str, Mapping[str, NDArray[np.float64]]]
    seconds: Mapping[str, float]
    gate: str = "not tested"
    groups: NDArray[np.int64] | None = None

    @classmethod
    def read(cls, run: Run) -> SeedScores:
        """Of a finished run.

        Raises
        ------
        InputError
            If a file of its evaluation is damaged.
        """
        if run.path(STAGE, MANIFEST).is_file():
            check_result(run.folder, STAGE, (".json", ".npy"))
        evaluation = read_json(run.folder / "evaluation.json")
        arrays = {metric: read_array(run.path(STAGE, f"{metric}.npy")) for metric in METRICS}
        names = list(evaluation["models"])
        return cls(
            evaluation,
            examples_of(run, "test"),
            {
                metric: dict(zip(names, values.astype(np.float64), strict=True))
                for metric, values in arrays.items()
            },
            training_seconds(run),
            read_json(run.path("combine-predictions", "choice.json"))["gate"]["outcome"],
            groups_of(run, "test"),
        )


def compare_seeds(seeds: Sequence[SeedScores], n_bootstrap: int = 4000) -> dict[str, Any]:
    """Means over seeds of every model, and paired differences.

    Returns
    -------
    dict
        JSON-able: ``dataset``, ``n_classes``, ``n_test``, ``n_groups``, ``seeds``, ``gate`` (its
        outcome for each), ``models``: {NAME: {METRIC: {"mean", "spread" (standard deviation over
        seeds), "values"}, and means of each of COSTS and of ``training_seconds``}}, ``retention``
        ({"value", "interval"}, what the student keeps of the ensemble's gain over hard labels;
        None without a clear gain), and ``differences``: [{"a", "b", "metric", "value", "spread",
        "values", "interval" (95%), "corrected_interval" (99.4%, for the best of the eight
        CANDIDATES)}].

    Raises
    ------
    InputError
        Without seeds, or if they have different models or data sets.
    """
    if not seeds:
        raise InputError("there is nothing to compare", expected="at least one finished seed")
    first = seeds[0].evaluation
    for other in seeds[1:]:
        for key, order in (("dataset", str), ("models", sorted)):
            a, b = (order(evaluation[key]) for evaluation in (first, other.evaluation))
            if a != b:
                raise InputError(f"the seeds differ in their {key}", got=b, expected=a)
    names = list(first["models"])
    pairs = [(name, "generalist") for name in names if name != "generalist"]
    pairs += [pair for pair in PAIRS if pair not in pairs and set(pair) <= set(names)]
    drawn = {metric: _draw_examples(seeds, names, metric, n_bootstrap) for metric in METRICS}
    return {
        "dataset": first["dataset"],
        "n_classes": first["n_classes"],
        "n_test": [seed.evaluation["n_test"] for seed in seeds],
        "n_groups": [count_groups(seed.groups, seed.evaluation["n_test"]) for seed in seeds],
        "seeds": [seed.evaluation["seed"] for seed in seeds],
        "gate": [seed.gate for seed in seeds],
        "models": {name: _model(seeds, name) for name in names},
        "retention": _retention(seeds, drawn["top1"]),
        "differences": [
            _difference(seeds, a, b, metric, drawn[metric][a] - drawn[metric][b])
            for a, b in pairs
            for metric in METRICS
        ],
    }


def examples_of(run: Run, split: str) -> str:
    """The same for two runs if and only if their examples of this split are."""
    return " ".join(hash_files(run.folder, [f"prepare-data/{split}.*.npy"]).values())


def groups_of(run: Run, split: str) -> NDArray[np.int64] | None:
    """The unit of chance of each example, int64 (n,); None where each is one of its own."""
    file = run.path("prepare-data", f"{split}.groups.npy")
    return np.array(read_array(file)) if file.is_file() else None


def _model(seeds: Sequence[SeedScores], name: str) -> dict[str, Any]:
    entries = [seed.evaluation["models"][name] for seed in seeds]
    result: dict[str, Any] = {
        metric: _summary([entry[metric] for entry in entries]) for metric in ("top1", "top5", "nll")
    }
    if all(entry["top1_any_valid"] is not None for entry in entries):
        result["top1_any_valid"] = _summary([entry["top1_any_valid"] for entry in entries])
    for cost in COSTS:
        result[cost] = float(np.mean([entry[cost] for entry in entries]))
    result["training_seconds"] = float(np.mean([seed.seconds[name] for seed in seeds]))
    return result


def _summary(values: Sequence[float]) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "spread": spread, "values": [float(v) for v in values]}


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
) -> dict[str, Any]:
    gaps = _gaps(seeds, a, b, metric)
    summary = _summary(gaps)

    def interval(level: float) -> list[float]:
        drawn = drawn_over_seeds(gaps, examples, level)
        return list(percentile_interval(drawn, level, LIMITS[metric]))

    return {
        "a": a,
        "b": b,
        "metric": metric,
        "value": summary["mean"],
        "spread": summary["spread"],
        "values": summary["values"],
        "interval": interval(LEVEL),
        "corrected_interval": interval(CORRECTED_LEVEL),
    }


def _retention(
    seeds: Sequence[SeedScores], drawn: Mapping[str, NDArray[np.float64]]
) -> dict[str, Any] | None:
    """Share of the gain over hard labels, both drawn with the same seeds and examples.

    Its interval leaves out draws without a gain, at most a fortieth of them.
    """
    hard = "student_hard_labels"
    if not {"student", "ensemble", hard} <= set(drawn):
        return None
    gaps = {name: _gaps(seeds, name, hard, "top1") for name in ("student", "ensemble")}
    kept, gain = (drawn_over_seeds(gaps[name], drawn[name] - drawn[hard], LEVEL) for name in gaps)
    if percentile_interval(gain, LEVEL)[0] <= 0:
        return None
    ratio = share_kept(kept, gain)
    value = float(np.mean(gaps["student"]) / np.mean(gaps["ensemble"]))
    return {"value": value, "interval": list(percentile_interval(ratio, LEVEL))}


def _gaps(seeds: Sequence[SeedScores], a: str, b: str, metric: str) -> list[float]:
    """Of each seed, a - b."""
    return [float((seed.scores[metric][a] - seed.scores[metric][b]).mean()) for seed in seeds]
