"""Did it help, over several seeds? One table of models and their paired differences.

A seed's run is a folder whose evaluation stands. What is compared is the mean over seeds: where all
seeds have the same test examples, an example's score is its mean over seeds and examples are
resampled; where each seed splits the data anew, each seed's examples are resampled by themselves
and the resampled means averaged. Intervals are 95% percentile bootstrap intervals (see
:mod:`specialists.uncertainty`): they cover the choice of test examples, the spread over seeds
stands beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specialists.errors import InputError
from specialists.evaluation.artifacts import STAGE
from specialists.evaluation.comparison import COMPARISONS
from specialists.runs import Run, read_array, read_json
from specialists.uncertainty import bootstrap_means, percentile_interval

METRICS = ("top1", "nll")
TRAINED_IN = {
    "generalist": ("train-generalist",),
    "ensemble": ("train-generalist", "train-specialists"),
    "ensemble_paper": ("train-generalist", "train-specialists"),
    "ensemble_all": ("train-generalist", "train-specialists"),
    "generalist_continued": ("train-generalist", f"{STAGE}/controls/generalist_continued"),
    "generalist_wide": (f"{STAGE}/controls/generalist_wide",),
    "generalist_ensemble": ("train-generalist", f"{STAGE}/controls/generalist_ensemble-*"),
    "student": ("distill-student/trials/soft-*",),
    "student_hard_labels": ("distill-student/trials/hard-*",),
}


@dataclass(frozen=True)
class SeedScores:
    """What one seed's models did on its test examples.

    Parameters
    ----------
    evaluation : dict
        ``evaluation.json``.
    labels : int array of shape (n,)
    scores : mapping of metric to mapping of model name to float array of shape (n,)
    seconds : mapping of model name to seconds of training
    gate : {"admitted", "refused", "not tested"}
        Whether the specialists may answer.
    """

    evaluation: Mapping[str, Any]
    labels: NDArray[np.int64]
    scores: Mapping[str, Mapping[str, NDArray[np.float64]]]
    seconds: Mapping[str, float]
    gate: str = "not tested"

    @classmethod
    def read(cls, run: Run) -> SeedScores:
        """Of a finished run."""
        evaluation = read_json(run.folder / "evaluation.json")
        arrays = {metric: read_array(run.path(STAGE, f"{metric}.npy")) for metric in METRICS}
        names = list(evaluation["models"])
        return cls(
            evaluation,
            np.asarray(read_array(run.path("prepare-data", "test.labels.npy"))),
            {
                metric: dict(zip(names, values.astype(np.float64), strict=True))
                for metric, values in arrays.items()
            },
            {name: _seconds(run.folder, TRAINED_IN.get(name, ())) for name in names},
            read_json(run.path("combine-predictions", "choice.json"))["gate"]["outcome"],
        )


def compare_seeds(seeds: Sequence[SeedScores], n_bootstrap: int = 1000) -> dict[str, Any]:
    """Means over seeds of every model, and paired differences.

    Returns
    -------
    dict
        JSON-able: ``dataset``, ``seeds``, ``gate`` (its outcome for each), ``models``: {NAME:
        {METRIC: {"mean", "spread" (standard deviation over seeds), "values"}, ``inference_flops``, ``training_examples``,
        ``training_seconds`` (means)}}, and ``differences``: [{"a", "b", "metric", "value",
        "spread", "values", "interval"}].

    Raises
    ------
    InputError
        Without seeds, or if they have different models or data sets.
    """
    if not seeds:
        raise InputError("there is nothing to compare", expected="at least one finished seed")
    first = seeds[0].evaluation
    for other in seeds[1:]:
        for key in ("dataset", "models"):
            a, b = (sorted(e[key]) for e in (first, other.evaluation))
            if a != b:
                raise InputError(f"the seeds differ in their {key}", got=b, expected=a)
    names = list(first["models"])
    pairs = [(name, "generalist") for name in names if name != "generalist"]
    pairs += [pair for pair in COMPARISONS if pair not in pairs and set(pair) <= set(names)]
    return {
        "dataset": first["dataset"],
        "n_classes": first["n_classes"],
        "n_test": [seed.evaluation["n_test"] for seed in seeds],
        "seeds": [seed.evaluation["seed"] for seed in seeds],
        "gate": [seed.gate for seed in seeds],
        "models": {name: _model(seeds, name) for name in names},
        "differences": [
            _difference(seeds, a, b, metric, n_bootstrap) for a, b in pairs for metric in METRICS
        ],
    }


def _model(seeds: Sequence[SeedScores], name: str) -> dict[str, Any]:
    entries = [seed.evaluation["models"][name] for seed in seeds]
    result: dict[str, Any] = {
        metric: _summary([entry[metric] for entry in entries]) for metric in ("top1", "top5", "nll")
    }
    if all(entry["top1_any_valid"] is not None for entry in entries):
        result["top1_any_valid"] = _summary([entry["top1_any_valid"] for entry in entries])
    for cost in ("parameters", "inference_flops", "training_examples"):
        result[cost] = float(np.mean([entry[cost] for entry in entries]))
    result["training_seconds"] = float(np.mean([seed.seconds[name] for seed in seeds]))
    return result


def _summary(values: Sequence[float]) -> dict[str, Any]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "spread": spread, "values": [float(v) for v in values]}


def _difference(
    seeds: Sequence[SeedScores], a: str, b: str, metric: str, n_bootstrap: int
) -> dict[str, Any]:
    gaps = [seed.scores[metric][a] - seed.scores[metric][b] for seed in seeds]
    if all(np.array_equal(seed.labels, seeds[0].labels) for seed in seeds):
        means = bootstrap_means(np.mean(gaps, axis=0), n_bootstrap)
    else:
        resampled = [bootstrap_means(gap, n_bootstrap, seed=i) for i, gap in enumerate(gaps)]
        means = np.mean(resampled, axis=0)
    summary = _summary([float(gap.mean()) for gap in gaps])
    return {
        "a": a,
        "b": b,
        "metric": metric,
        "value": summary["mean"],
        "spread": summary["spread"],
        "values": summary["values"],
        "interval": list(percentile_interval(means)),
    }


def _seconds(folder: Path, patterns: Sequence[str]) -> float:
    """Training time that was logged below some folders; a model that was given took none."""
    files = [
        file
        for pattern in patterns
        for path in folder.glob(pattern)
        for file in path.rglob("timing.jsonl")
    ]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return float(sum(json.loads(line)["seconds"] for line in lines))
