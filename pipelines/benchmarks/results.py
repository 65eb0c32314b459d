"""What finished comparisons and runs measured, as the table of README.md.

    python -m pipelines.benchmarks.results COMPARISON_OR_RUN ...

One row a folder, of ``specialists compare`` (means over seeds with their spread, which is the
standard deviation) or of one run: top-1 of the models in per cent, the ensemble's difference to
each rival in points with its 95% interval, what a prediction costs over the generalist's, and what
the student keeps of the ensemble's gain over hard labels.
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
from specialists.json_record import JsonRecord
from specialists.runs import read_json

from ..messages import told_in_one_message

NOT_KNOWN = "not known"  # in comparisons of an earlier version
HEADER = (
    "data",
    "seeds",
    "classes",
    "generalist",
    "`ensemble` (cost)",
    *(f"- `{name}` (cost)" for name in (GENERALIST, *BASELINES)),
    "NLL, nats",
    "`student` (cost)",
    "`student_hard_labels`",
    "student keeps",
)


@dataclass(frozen=True)
class Model(JsonRecord):
    """What the table says of a model; a comparison has summaries over seeds."""

    top1: float | Summary
    nll: float | Summary
    inference_flops: float


@dataclass(frozen=True)
class Result(JsonRecord):
    """What the table needs of an evaluation or a comparison, also of earlier versions."""

    n_classes: int
    models: Mapping[str, Model]
    differences: tuple[PairedDifference, ...]
    retention: float | ShareKept | Literal["not known"] | None = NOT_KNOWN
    gate: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def cost(self, name: str) -> str:
        """Of a prediction, over the generalist's."""
        ratio = self.models[name].inference_flops / self.models[GENERALIST].inference_flops
        return f"{ratio:.2f}x"


def row(folder: Path) -> list[str]:
    """The cells of one comparison or run, under the folder's name.

    Raises
    ------
    FileNotFoundError
        If it holds neither ``comparison.json`` nor ``evaluation.json``.
    InputError
        If what it holds is something else.
    """
    compared = (folder / "comparison.json").is_file()
    file = folder / ("comparison.json" if compared else "evaluation.json")
    try:
        return _cells(folder.resolve().name, Result.from_dict(read_json(file)))
    except (KeyError, InputError) as error:
        raise InputError(
            "this is not the result of a finished comparison or run", where=file, got=error
        ) from error


def _cells(name: str, result: Result) -> list[str]:
    models = result.models
    before, after = (_value(models[name].nll)[0] for name in (GENERALIST, ENSEMBLE))
    return [
        name,
        str(len(result.seeds)),
        f"{result.n_classes:,}",
        _percent(models[GENERALIST]),
        f"{_percent(models[ENSEMBLE])} ({result.cost(ENSEMBLE)})",
        *(_difference(result, baseline) for baseline in (GENERALIST, *BASELINES)),
        f"{before:.3f} -> {after:.3f}",
        f"{_percent(models[STUDENT])} ({result.cost(STUDENT)})",
        _percent(models[HARD_LABELS]),
        _kept(result.retention),
    ]


def table(folders: list[Path]) -> str:
    """A Markdown table of several comparisons and runs."""
    rows = [list(HEADER), ["---"] * len(HEADER), *map(row, folders)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def _value(score: float | Summary) -> tuple[float, float | None]:
    """Mean and spread of a comparison's score; of a run's, the score alone."""
    return (score.mean, score.spread) if isinstance(score, Summary) else (score, None)


def _percent(model: Model) -> str:
    mean, spread = _value(model.top1)
    return f"{100 * mean:.1f}" if spread is None else f"{100 * mean:.2f} ± {100 * spread:.2f}"


def _kept(retention: float | ShareKept | str | None) -> str:
    """Of the ensemble's gain over hard labels; a run's evaluation has no interval of it."""
    if isinstance(retention, str):
        return retention
    if retention is None:
        return "no clear gain"
    if not isinstance(retention, ShareKept):
        return f"{retention:.0%}"
    low, high = retention.interval
    return f"{retention.value:.0%} [{low:.0%}, {high:.0%}]"


def _difference(result: Result, baseline: str) -> str:
    found = find_difference(result.differences, ENSEMBLE, baseline)
    if found is not None:
        low, high = (100 * end for end in found.interval)
        return f"{100 * found.value:+.2f} [{low:+.2f}, {high:+.2f}] ({result.cost(baseline)})"
    if baseline in (SAME_INFERENCE, DEFERRED) and set(result.gate) == {"refused"}:
        return "the generalist itself"
    return "not trained"


if __name__ == "__main__":
    with told_in_one_message():
        parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.results")
        parser.add_argument("folders", nargs="+", type=Path)
        print(table(parser.parse_args().folders))
