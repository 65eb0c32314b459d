"""What finished comparisons and runs measured, as the table of README.md.

    python -m pipelines.benchmarks.results COMPARISON_OR_RUN ...

One row a folder, of ``specialists compare`` (means over seeds with their spread, which is the
standard deviation) or of one run: top-1 of the models in per cent, the ensemble's difference to
each rival in points with its 95% interval, what a prediction costs over the generalist's, and what
the student keeps of the ensemble's gain over hard labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from specialists.baselines import BASELINES, DEFERRED, SAME_INFERENCE
from specialists.errors import InputError
from specialists.runs import read_json

from ..messages import told_in_one_message

RIVALS = ("generalist", *BASELINES)
NOT_KNOWN = "not known"  # in comparisons of an earlier version
HEADER = (
    "data",
    "seeds",
    "classes",
    "generalist",
    "`ensemble` (cost)",
    *(f"- `{rival}` (cost)" for rival in RIVALS),
    "NLL, nats",
    "`student` (cost)",
    "`student_hard_labels`",
    "student keeps",
)


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
        return _cells(folder.resolve().name, read_json(file), compared)
    except (KeyError, TypeError) as error:
        raise InputError(
            "this is not the result of a finished comparison or run", where=file, got=error
        ) from error


def _cells(name: str, found: dict[str, Any], compared: bool) -> list[str]:
    models = found["models"]
    before, after = (_value(models[name]["nll"])[0] for name in ("generalist", "ensemble"))
    return [
        name,
        str(len(found["seeds"]) if compared else 1),
        f"{found['n_classes']:,}",
        _percent(models["generalist"]),
        f"{_percent(models['ensemble'])} ({_cost(models, 'ensemble')})",
        *(_difference(found, rival) for rival in RIVALS),
        f"{before:.3f} -> {after:.3f}",
        f"{_percent(models['student'])} ({_cost(models, 'student')})",
        _percent(models["student_hard_labels"]),
        _kept(found.get("retention", NOT_KNOWN)),
    ]


def table(folders: list[Path]) -> str:
    """A Markdown table of several comparisons and runs."""
    rows = [list(HEADER), ["---"] * len(HEADER), *map(row, folders)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def _value(score: Any) -> tuple[float, float | None]:
    """Mean and spread of a comparison's score; of a run's, the score alone."""
    return (score["mean"], score["spread"]) if isinstance(score, dict) else (score, None)


def _percent(model: dict[str, Any]) -> str:
    mean, spread = _value(model["top1"])
    return f"{100 * mean:.1f}" if spread is None else f"{100 * mean:.2f} ± {100 * spread:.2f}"


def _kept(retention: Any) -> str:
    """Of the ensemble's gain over hard labels; a run's evaluation has no interval of it."""
    if retention == NOT_KNOWN:
        return retention
    if retention is None:
        return "no clear gain"
    if not isinstance(retention, dict):
        return f"{retention:.0%}"
    low, high = retention["interval"]
    return f"{retention['value']:.0%} [{low:.0%}, {high:.0%}]"


def _cost(models: dict[str, Any], name: str) -> str:
    ratio = models[name]["inference_flops"] / models["generalist"]["inference_flops"]
    return f"{ratio:.2f}x"


def _difference(found: dict[str, Any], rival: str) -> str:
    for entry in found["differences"]:
        if (entry["a"], entry["b"], entry["metric"]) == ("ensemble", rival, "top1"):
            low, high = (100 * end for end in entry["interval"])
            cost = _cost(found["models"], rival)
            return f"{100 * entry['value']:+.2f} [{low:+.2f}, {high:+.2f}] ({cost})"
    if rival in (SAME_INFERENCE, DEFERRED) and set(found.get("gate", ())) == {"refused"}:
        return "the generalist itself"
    return "not trained"


if __name__ == "__main__":
    with told_in_one_message():
        parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.results")
        parser.add_argument("folders", nargs="+", type=Path)
        print(table(parser.parse_args().folders))
