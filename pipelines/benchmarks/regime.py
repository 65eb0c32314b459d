"""Where do specialists gain: with few or many examples, classes, hidden units, with augmentation?

    python -m pipelines.benchmarks.regime FOLDER CONFIG --axis examples [--seeds 3] [key=value ...]
    python -m pipelines.benchmarks.regime runs/regime-onet onet --axis width --points 32,64,128 \
        data.arrays=PATH/onet_minilm.npz

The gain of `ensemble` over `generalist`, over `generalist_wide` and over the independent
generalists that the same training FLOPs would pay for, along one axis:

    examples      1/8, 1/4, 1/2, 1 of each class's training rows
    classes       128, 512, all, drawn anew for each seed; a fixed number of clusters shrinks with
                  them, so that a cluster keeps its size
    width         1/8, 1/4, 1/2, 1/1, 2/1 of the widest generalist that the configuration may choose
    augmentation  off, on

``--points`` names others, with commas; of classes and widths, numbers or, with a slash, shares.
Validation and test keep all rows of the classes that are kept. The configuration as it is stands in
FOLDER/base/seed-S (a folder of ``specialists compare --out FOLDER/base``), all axes share it; other
points stand in FOLDER/AXIS-POINT/seed-S. Finished stages are kept. The result is
FOLDER/regime-AXIS.{json,md,svg}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from specialists.catalogue import AVERAGED, ENSEMBLE, GENERALIST, WIDE
from specialists.config import Config
from specialists.figures import Gain, gain_along_axis, to_svg_file
from specialists.files import read_json

from ..baselines import budget_of
from ..classifiers import train_classifiers
from ..messages import told_in_one_message
from ..runs import COMPARISON, Run, claimed
from .markdown_tables import Line, heading, markdown_table
from .measured import Measured, MeasuredRun, SeedResults
from .regime_axes import AXES, Base, Point
from .study import Cell, command_line, configs_by_seed, run_study, run_until, write_results

REFERENCES = (GENERALIST, WIDE, AVERAGED)
UNITS = {
    "examples": "training examples a class (log scale)",
    "classes": "classes (log scale)",
    "width": "width of the generalist (log scale)",
    "augmentation": "augmentation",
}
OPTIONS = {
    "--axis": {"choices": list(AXES), "required": True},
    "--points": {"type": lambda text: text.split(",")},
}
TICKS = {"examples": "{:.3g}", "classes": "{:,.0f}", "width": "{:,.0f}"}


@dataclass(frozen=True)
class Place:
    """What was measured at a point."""

    label: str
    x: float  # examples a class, classes, width, or the point's number
    scale: dict[str, float]  # means over seeds: "classes", "examples" (of a class), "width"
    results: SeedResults


def regime(
    folder: Path,
    config: str,
    overrides: Sequence[str],
    axis: str,
    seeds: int,
    points: Sequence[str] | None = None,
) -> str:
    """Run and measure every point with every seed; writes and returns the table."""
    cells = axis_cells(folder, config, overrides, axis, seeds, points)
    places = []
    for number, (label, measured) in enumerate(run_study(folder, cells, measure_point).items()):
        models, scales = zip(*measured, strict=True)
        scale = {name: float(np.mean([each[name] for each in scales])) for name in scales[0]}
        places.append(Place(label, scale.get(axis, number), scale, SeedResults(models)))
    note = "Inference in brackets, over the generalist's."
    about = read_json(cells[0].folder / "prepare-data" / "dataset.json")
    text = heading(f"{about['name']}: the gain by {axis}", seeds, note)
    text += markdown_table([_line(axis, place) for place in places])
    return write_results(folder, f"regime-{axis}", text, summary(places), figure(axis, places))


def axis_cells(
    folder: Path,
    config: str,
    overrides: Sequence[str],
    axis: str,
    seeds: int,
    points: Sequence[str] | None = None,
) -> list[Cell]:
    """The runs of every point of an axis with every seed; prepares the data of the first."""
    configs = configs_by_seed(config, overrides, seeds)
    with (
        claimed(folder, COMPARISON),
        run_until(folder / "base" / f"seed-{configs[0].seed}", configs[0], "prepare-data") as run,
    ):
        about = read_json(run.path("prepare-data", "dataset.json"))
    base = Base(configs[0], about["kind"], len(about["class_names"]))
    return [
        _cell(folder, axis, point, settings)
        for point in AXES[axis](base, points)
        for settings in configs
    ]


def _cell(folder: Path, axis: str, point: Point, config: Config) -> Cell:
    base = Cell("base", folder / "base" / f"seed-{config.seed}", config)
    if point.change is None:
        return replace(base, point=point.label)
    place = folder / f"{axis}-{point.label.replace('/', '-')}" / base.folder.name
    cell = Cell(point.label, place, point.change(config))
    return replace(cell, start=base, shared=("prepare-data",)) if point.same_data else cell


def measure_point(run: Run) -> tuple[dict[str, Measured], dict[str, float]]:
    """The ensemble and what it is compared with, trained where it does not stand; the scale."""
    seed = MeasuredRun(run)
    models = {name: seed.stored(name) for name in (GENERALIST, ENSEMBLE)}
    for name, tasks in seed.baselines(budget_of(seed.context), REFERENCES[1:]).items():
        if tasks:
            train_classifiers(tasks, run.jobs, name)
        if name == WIDE:
            models[name] = seed.wide(tasks)
            continue
        folders = [seed.context.path("train-generalist"), *(task.folder for task in tasks)]
        models[name] = seed.averaged(folders, f"{len(folders)}")[-1]
    dataset = seed.context.dataset
    scale = {"classes": dataset.n_classes, "examples": len(dataset.train) / dataset.n_classes}
    return models, {**scale, "width": seed.width}


def _line(axis: str, place: Place) -> Line:
    results = place.results
    line = {
        f"by {axis}": place.label,
        "classes": f"{place.scale['classes']:,.0f}",
        "examples a class": f"{place.scale['examples']:.1f}",
        "`generalist`": results.top1(GENERALIST),
        "`ensemble`": f"{results.top1(ENSEMBLE)} ({results.relative_inference(ENSEMBLE)})",
    }
    for name in _references(place):
        cost = "" if name == GENERALIST else f" ({results.relative_inference(name)})"
        line[f"- `{name}`"] = results.points(ENSEMBLE, name) + cost
    return {**line, "NLL - `generalist`": results.nats(ENSEMBLE, GENERALIST)}


def _references(place: Place) -> list[str]:
    """A model that does not come in widths has no wide one."""
    return [name for name in REFERENCES if name in place.results.names]


def summary(places: Sequence[Place]) -> list[dict[str, object]]:
    """Every point's figures, for JSON."""
    return [
        {
            "label": place.label,
            "x": place.x,
            "n_classes": place.scale["classes"],
            "examples": place.scale["examples"],
            "models": place.results.to_dict(),
            "gains": {
                f"{name}, {metric}": gain
                for name in _references(place)
                for metric, gain in place.results.gains(ENSEMBLE, name).items()
            },
        }
        for place in places
    ]


def figure(axis: str, places: Sequence[Place]) -> str:
    """The gains as SVG."""
    gains: dict[str, list[Gain | None]] = {}
    for name in _references(places[0]):
        estimates = [place.results.estimate("right", ENSEMBLE, name) for place in places]
        gains[name] = [Gain(estimate.value, estimate.interval) for estimate in estimates]
    logarithmic = axis in TICKS
    ticks = [TICKS[axis].format(p.x) if logarithmic else p.label for p in places]
    drawn = gain_along_axis([p.x for p in places], ticks, gains, UNITS[axis], logarithmic)
    return to_svg_file(drawn, f"Gain of the ensemble in top-1 by {axis}, 95% intervals")


if __name__ == "__main__":
    with told_in_one_message():
        print(regime(**command_line("regime", OPTIONS)))
