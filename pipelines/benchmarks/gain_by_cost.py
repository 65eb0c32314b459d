"""What does a gain cost, and with how many classes? The best rule of each kind at every limit.

    python -m pipelines.benchmarks.gain_by_cost FOLDER CONFIG [--seeds 3] [key=value ...]
    python -m pipelines.benchmarks.gain_by_cost runs/emoji emoji specialists.kind=both \
        --classes 500,1000,2000 --seeds 1 data.table=PATH/emoji_names.tsv.gz

Which models stand at each limit of inference: :mod:`pipelines.benchmarks.gain_models`. Test rows
measure them. ``--classes`` names numbers of classes, which are drawn anew for each seed; without it
all are there.

FOLDER/base/seed-S are runs as ``specialists compare --out FOLDER/base`` makes them, and
FOLDER/classes-N/seed-S those of fewer classes: what stands is used, and an interrupted benchmark
goes on. The results are FOLDER/gain_by_cost-N.{json,md}, and FOLDER/gain_by_cost.svg is one figure
of every number of classes that was measured there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specialists.catalogue import (
    AVERAGED,
    CONTINUED,
    ENSEMBLE,
    GENERALIST,
    PAPER,
    SAME_INFERENCE,
    STUDENT,
    WIDE,
    WORDS,
)
from specialists.figures import PricedGain, gain_against_cost, to_svg_file
from specialists.files import read_json, write_text

from ..messages import told_in_one_message
from ..runs import COMPARISON, claimed
from .equal_compute import model_line
from .gain_models import BOTH, CLUSTERS, SHARED, SMALL, measured_models
from .markdown_tables import Line, heading, markdown_table
from .measured import MeasuredRun, SeedResults
from .regime import axis_cells
from .same_limits import at_same_limits
from .study import command_line, run_study, write_results

NAME = "gain_by_cost"
COLOURS = {CLUSTERS: PAPER, SHARED: ENSEMBLE, BOTH: STUDENT, SMALL: SAME_INFERENCE}
LEGEND = {**{name: name for name in COLOURS}, AVERAGED: "generalists averaged"}
COSTS = {  # on the axes of the figure
    "inference_flops": "FLOPs of inference",
    "training_flops": "FLOPs of training",
    "training_seconds": "seconds of training",
}
FIGURE = "Gain in top-1 against the cost of inference and of training, by number of classes"
OPTIONS = {"--classes": {"type": lambda text: text.split(","), "default": ["all"]}}


def gain_by_cost(
    folder: Path,
    config: str,
    overrides: Sequence[str],
    seeds: int,
    classes: Sequence[str] = ("all",),
) -> str:
    """Run and measure every seed with each number of classes; writes and returns the tables."""
    cells = axis_cells(folder, config, overrides, "classes", seeds, classes)
    texts = []
    for point in dict.fromkeys(cell.point for cell in cells):
        some = [cell for cell in cells if cell.point == point]
        (models,) = run_study(folder, some, lambda run: measured_models(MeasuredRun(run))).values()
        about = read_json(some[0].folder / "prepare-data" / "dataset.json")
        n_classes, results = len(about["class_names"]), SeedResults(at_same_limits(models))
        record = results.to_dict()
        for name, values in record.items():
            values["top1_gain"], values["nll_gain"] = results.gains(name, GENERALIST).values()
        title = f"{about['name']}: {n_classes:,} classes"
        lines = [_line(results, name) for name in results.names]
        text = heading(title, seeds, "x: over the generalist's.") + markdown_table(lines)
        texts.append(write_results(folder, f"{NAME}-{n_classes}", text, record))
    with claimed(folder, COMPARISON):
        write_text(folder / f"{NAME}.svg", curves(folder))
    return "\n".join(texts)


def _line(results: SeedResults, name: str) -> Line:
    """A model in the table, with its time beside its FLOPs."""
    line, times = model_line(results, name, LEGEND), []
    for model, base in zip(results[name], results[GENERALIST], strict=True):
        if model.milliseconds is not None and base.milliseconds:
            times.append((model.milliseconds, model.milliseconds / base.milliseconds))
    milliseconds, ratio = np.mean(times, axis=0) if times else (None, None)
    told = "not timed" if milliseconds is None else f"{milliseconds:.0f}"
    return {**line, "1,000 rows, ms": told, "ms, x": "" if ratio is None else f"{ratio:.2f}"}


def curves(folder: Path) -> str:
    """Every number of classes that was measured in a folder, as SVG."""
    files = {int(file.stem.rpartition("-")[2]): file for file in folder.glob(f"{NAME}-*.json")}
    columns = {f"{n:,} classes": _priced(read_json(files[n])) for n in sorted(files)}
    legend = {**LEGEND, **{colour: name for name, colour in COLOURS.items()}}
    legend |= {name: WORDS[name].noun for name in (CONTINUED, WIDE)}
    return to_svg_file(gain_against_cost(columns, legend, list(COSTS.values())), FIGURE)


def _priced(models: Mapping[str, Mapping[str, Any]]) -> list[PricedGain]:
    """The points of one number of classes, from what stands in its JSON file."""
    base = models[GENERALIST]

    def relative(name: str, cost: str) -> float:
        return sum(models[name][cost]) / sum(base[cost])

    points = []
    for name, values in models.items():
        if name == GENERALIST:
            continue
        gains = values["top1_gain"]["values"]
        family = name.partition(", ")[0]
        points.append(
            PricedGain(
                COLOURS.get(family, family),
                values["top1_gain"]["value"],
                (min(gains), max(gains)),
                tuple(relative(name, cost) for cost in COSTS),
            )
        )
    return points


if __name__ == "__main__":
    with told_in_one_message():
        print(gain_by_cost(**command_line(NAME, OPTIONS)))
