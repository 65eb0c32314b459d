"""What finished runs measured, as the table of README.md.

    python -m pipelines.benchmarks.results runs/languages runs/glyphs ...

One row a run: top-1 of the models in per cent, the ensemble's difference to each rival in points
with its 95% interval, and what a prediction costs over the generalist's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from specialists.runs import read_json

RIVALS = ("generalist", "generalist_continued", "generalist_wide", "generalist_ensemble")
HEADER = (
    "data",
    "classes",
    "generalist",
    "`ensemble` (cost)",
    *(f"- `{rival}`" for rival in RIVALS),
    "NLL, nats",
    "`student` (cost)",
    "`student_hard_labels`",
)


def row(run: Path) -> list[str]:
    """The cells of one run.

    Raises
    ------
    FileNotFoundError
        If the run was not evaluated.
    """
    evaluation = read_json(run / "evaluation.json")
    models = evaluation["models"]
    return [
        evaluation["dataset"],
        f"{evaluation['n_classes']:,}",
        _percent(models["generalist"]),
        f"{_percent(models['ensemble'])} ({_cost(models, 'ensemble')})",
        *(_difference(evaluation["differences"], rival) for rival in RIVALS),
        f"{models['generalist']['nll']:.3f} -> {models['ensemble']['nll']:.3f}",
        f"{_percent(models['student'])} ({_cost(models, 'student')})",
        _percent(models["student_hard_labels"]),
    ]


def table(runs: list[Path]) -> str:
    """A Markdown table of several runs."""
    rows = [list(HEADER), ["---"] * len(HEADER), *map(row, runs)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def _percent(model: dict[str, Any]) -> str:
    return f"{100 * model['top1']:.1f}"


def _cost(models: dict[str, Any], name: str) -> str:
    ratio = models[name]["inference_flops"] / models["generalist"]["inference_flops"]
    return f"{ratio:.2f}x"


def _difference(differences: list[dict[str, Any]], rival: str) -> str:
    for entry in differences:
        if (entry["a"], entry["b"], entry["metric"]) == ("ensemble", rival, "top1"):
            low, high = (100 * end for end in entry["interval"])
            return f"{100 * entry['value']:+.2f} [{low:+.2f}, {high:+.2f}]"
    return "not trained"


if __name__ == "__main__":
    print(table([Path(argument) for argument in sys.argv[1:]]))
