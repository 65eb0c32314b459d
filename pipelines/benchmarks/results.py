"""What finished comparisons and runs measured, as the table of README.md.

    python -m pipelines.benchmarks.results COMPARISON_OR_RUN ...

One row a folder, of ``specialists compare`` (means over seeds with their spread, which is the
standard deviation) or of one run: top-1 of the models in per cent, the ensemble's difference to
each baseline in points with its 95% interval, what a prediction costs over the generalist's, and
what the student keeps of the ensemble's gain over hard labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from specialists.catalogue import (
    BASELINES,
    DEFERRED,
    ENSEMBLE,
    GENERALIST,
    HARD_LABELS,
    SAME_INFERENCE,
    STUDENT,
)
from specialists.errors import InputError
from specialists.evaluation.findings import PairedDifference, find_difference
from specialists.evaluation.several_seeds import ShareKept, Summary
from specialists.files import read_json
from specialists.json_record import JsonRecord

from ..messages import told_in_one_message
from .markdown_tables import Line, markdown_table, with_interval

NOT_KNOWN = "not known"  # in comparisons of an earlier version


def _mean(score: float | Summary) -> float:
    return score.mean if isinstance(score, Summary) else score


@dataclass(frozen=True)
class ModelCells(JsonRecord):
    """What the table says of a model; a comparison has summaries over seeds."""

    top1: float | Summary
    nll: float | Summary
    inference_flops: float

    @property
    def percent(self) -> str:
        if not isinstance(self.top1, Summary) or self.top1.spread is None:
            return f"{100 * _mean(self.top1):.1f}"
        return f"{100 * self.top1.mean:.2f} ± {100 * self.top1.spread:.2f}"

    @property
    def nats(self) -> str:
        return f"{_mean(self.nll):.3f}"


@dataclass(frozen=True)
class EvaluationRecord(JsonRecord):
    """What the table needs of an evaluation or a comparison, also of earlier versions."""

    n_classes: int
    models: Mapping[str, ModelCells]
    differences: tuple[PairedDifference, ...]
    retention: float | ShareKept | Literal["not known"] | None = NOT_KNOWN
    admission: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def cost(self, name: str) -> str:
        """Of a prediction, over the generalist's."""
        ratio = self.models[name].inference_flops / self.models[GENERALIST].inference_flops
        return f"({ratio:.2f}x)"


def row(folder: Path) -> Line:
    """The cells of one comparison or run, under the folder's name."""
    compared = folder / "comparison.json"
    file = compared if compared.is_file() else folder / "evaluation.json"
    try:
        return _line(folder.resolve().name, EvaluationRecord.from_dict(read_json(file)))
    except (KeyError, InputError) as error:
        raise InputError(
            "this is not the result of a finished comparison or run", where=file, got=error
        ) from error


def _line(name: str, result: EvaluationRecord) -> Line:
    models = result.models
    return {
        "data": name,
        "seeds": str(len(result.seeds)),
        "classes": f"{result.n_classes:,}",
        "generalist": models[GENERALIST].percent,
        "`ensemble` (cost)": f"{models[ENSEMBLE].percent} {result.cost(ENSEMBLE)}",
        **{f"- `{b}` (cost)": _difference(result, b) for b in (GENERALIST, *BASELINES)},
        "NLL, nats": f"{models[GENERALIST].nats} -> {models[ENSEMBLE].nats}",
        "`student` (cost)": f"{models[STUDENT].percent} {result.cost(STUDENT)}",
        "`student_hard_labels`": models[HARD_LABELS].percent,
        "student keeps": _kept(result.retention),
    }


def _kept(retention: float | ShareKept | str | None) -> str:
    """Of the ensemble's gain over hard labels; a run's evaluation has no interval of it."""
    if isinstance(retention, ShareKept):
        low, high = retention.interval
        return f"{retention.value:.0%} [{low:.0%}, {high:.0%}]"
    if retention is None:
        return "no clear gain"
    return retention if isinstance(retention, str) else f"{retention:.0%}"


def _difference(result: EvaluationRecord, baseline: str) -> str:
    gap = find_difference(result.differences, ENSEMBLE, baseline)
    if gap is not None:
        return f"{with_interval(gap.value, gap.interval)} {result.cost(baseline)}"
    if baseline in (SAME_INFERENCE, DEFERRED) and set(result.admission) == {"refused"}:
        return "the generalist itself"
    return "not trained"


if __name__ == "__main__":
    with told_in_one_message():
        parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.results")
        parser.add_argument("folders", nargs="+", type=Path)
        print(markdown_table([row(folder) for folder in parser.parse_args().folders]))
