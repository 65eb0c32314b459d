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

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specialists.catalogue import TRAINED, WIDE
from specialists.config import Config
from specialists.figures import Gain, gain_along_axis, to_svg_file
from specialists.runs import COMPARISON, read_json, write_json, write_text

from ..classifiers import train_classifiers
from ..messages import told_in_one_message
from ..run_settings import write_config
from ..runs import Run, claimed
from ..stages import run_stages
from ..terminal import log
from .measured import (
    Measured,
    Seed,
    command_line,
    difference,
    finished,
    markdown,
    mean_and_spread,
    share_stage,
    units,
    with_interval,
)
from .regime_axes import AXES, Base, Point

RIVALS = ("generalist", *TRAINED[1:])
UNITS = {
    "examples": "training examples a class (log scale)",
    "classes": "classes (log scale)",
    "width": "width of the generalist (log scale)",
    "augmentation": "augmentation",
}

Rows = dict[str, Measured]


@dataclass(frozen=True)
class Place:
    """What was found at a point, over seeds.

    Parameters
    ----------
    label : str
    x : float
        Examples a class, classes, width, or the point's number.
    n_classes, examples : float
        Mean numbers of classes and of training examples a class.
    seeds : sequence of mappings of name to Measured
    """

    label: str
    x: float
    n_classes: float
    examples: float
    seeds: Sequence[Rows]


def regime(
    folder: Path,
    source: str,
    overrides: Sequence[str],
    axis: str,
    n_seeds: int,
    wanted: Sequence[str] | None = None,
) -> str:
    """Run and measure every point with every seed; writes and returns the table."""
    first = Config.from_toml(source, overrides).seed
    configs = [
        Config.from_toml(source, [*overrides, f"seed={seed}"])
        for seed in range(first, first + n_seeds)
    ]
    with claimed(folder, COMPARISON):
        base = prepare_base(folder, configs[0])
        found = []
        for number, point in enumerate(AXES[axis](base, wanted)):
            seeds = [_measured(folder, axis, point, config) for config in configs]
            found.append(_place(axis, number, point.label, seeds))
        text = f"{heading(folder, first, axis, n_seeds)}\n{table(axis, found)}\n"
        write_json(folder / f"regime-{axis}.json", summary(found))
        write_text(folder / f"regime-{axis}.svg", figure(axis, found))
        write_text(folder / f"regime-{axis}.md", text)
    return text


def prepare_base(folder: Path, config: Config) -> Base:
    """The data of the configuration as it is, which tell the kind of input and the classes."""
    run = Run(folder / "base" / f"seed-{config.seed}")
    with run.lock():
        write_config(run, config)
        run_stages(run, until="prepare-data")
    about = read_json(run.path("prepare-data", "dataset.json"))
    return Base(config, about["kind"], len(about["class_names"]))


def _measured(folder: Path, axis: str, point: Point, config: Config) -> tuple[Rows, Run, int]:
    """One run's models, the run, and its generalist's width."""
    name = "base" if point.change is None else f"{axis}-{point.label.replace('/', '-')}"
    place = folder / name / f"seed-{config.seed}"
    if point.same_data:
        prepare_base(folder, config)
        share_stage(folder / "base" / place.name, place, "prepare-data")
    log.info(f"regime: {axis} {point.label}, seed {config.seed} in {place}")
    with finished(place, config if point.change is None else point.change(config)) as run:
        seed = Seed(run)
        return measure(seed), run, seed.width


def measure(seed: Seed) -> Rows:
    """The ensemble and its rivals, which are trained where they do not yet stand."""
    rows = {name: seed.stored(name) for name in ("generalist", "ensemble")}
    tasks = seed.controls(seed.budget(), TRAINED[1:])
    for name, group in tasks.items():
        if group:
            train_classifiers(group, seed.run.jobs, name)
        if name == WIDE:
            rows[name] = seed.wide(group)
            continue
        folders = [seed.workspace.path("train-generalist"), *(task.folder for task in group)]
        rows[name] = seed.averaged(folders, f"{len(folders)}")[-1]
    return rows


def _place(axis: str, number: int, label: str, found: Sequence[tuple[Rows, Run, int]]) -> Place:
    abouts = [read_json(run.path("prepare-data", "dataset.json")) for _, run, _ in found]
    n_classes = float(np.mean([len(about["class_names"]) for about in abouts]))
    examples = [about["rows"]["train"] / len(about["class_names"]) for about in abouts]
    mean = float(np.mean(examples))
    width = float(np.mean([width for _, _, width in found]))
    x = {"examples": mean, "classes": n_classes, "width": width, "augmentation": number}[axis]
    return Place(label, x, n_classes, mean, [rows for rows, _, _ in found])


def heading(folder: Path, seed: int, axis: str, n_seeds: int) -> str:
    """What the table holds."""
    about = read_json(folder / "base" / f"seed-{seed}" / "prepare-data" / "dataset.json")
    return (
        f"# {about['name']}: the gain by {axis}, {n_seeds} seed{'s' * (n_seeds > 1)}\n\n"
        f"{units(n_seeds)} Inference in brackets, over the generalist's.\n"
    )


def table(axis: str, places: Sequence[Place]) -> str:
    """A row a point, in Markdown."""
    rivals = [name for name in RIVALS if all(name in p.seeds[0] for p in places)]
    header = [f"by {axis}", "classes", "examples a class", "`generalist`", "`ensemble`"]
    cells = [[*header, *(f"- `{rival}`" for rival in rivals), "NLL - `generalist`"]]
    for place in places:
        own = {name: [rows[name] for rows in place.seeds] for name in place.seeds[0]}
        row = [place.label, f"{place.n_classes:,.0f}", f"{place.examples:.1f}"]
        row.append(_top1(own["generalist"]))
        row.append(f"{_top1(own['ensemble'])} ({_cost(own, 'ensemble')})")
        for rival in rivals:
            gain = with_interval(difference(own["ensemble"], own[rival], "right"), 100, 2)
            row.append(gain if rival == "generalist" else f"{gain} ({_cost(own, rival)})")
        row.append(with_interval(difference(own["ensemble"], own["generalist"], "nll"), 1, 4))
        cells.append(row)
    return markdown(cells)


def summary(places: Sequence[Place]) -> list[dict[str, Any]]:
    """Every point's figures, JSON-able."""
    return [
        {
            "label": place.label,
            "x": place.x,
            "n_classes": place.n_classes,
            "examples": place.examples,
            "models": {
                name: {
                    "about": [rows[name].about for rows in place.seeds],
                    "top1": [float(rows[name].right.mean()) for rows in place.seeds],
                    "nll": [float(rows[name].nll.mean()) for rows in place.seeds],
                    "inference_flops": [rows[name].inference_flops for rows in place.seeds],
                }
                for name in place.seeds[0]
            },
            "gains": {
                f"{name}, {metric}": dataclasses.asdict(_against(place, name, metric))
                for name in place.seeds[0]
                if name != "ensemble"
                for metric in ("right", "nll")
            },
        }
        for place in places
    ]


def figure(axis: str, places: Sequence[Place]) -> str:
    """The gains as SVG."""
    rivals = [name for name in RIVALS if any(name in place.seeds[0] for place in places)]
    gains = {rival: [_gain(place, rival) for place in places] for rival in rivals}
    numbers = {"examples": "{:.3g}", "classes": "{:,.0f}", "width": "{:,.0f}"}
    ticks = [numbers[axis].format(p.x) if axis in numbers else p.label for p in places]
    drawn = gain_along_axis([p.x for p in places], ticks, gains, UNITS[axis], axis in numbers)
    return to_svg_file(drawn, f"Gain of the ensemble in top-1 by {axis}, 95% intervals")


def _gain(place: Place, rival: str) -> Gain | None:
    if rival not in place.seeds[0]:
        return None
    found = _against(place, rival, "right")
    return Gain(found.value, found.interval)


def _against(place: Place, rival: str, metric: str):
    pairs = [(rows["ensemble"], rows[rival]) for rows in place.seeds]
    return difference([a for a, _ in pairs], [b for _, b in pairs], metric)


def _top1(own: Sequence[Measured]) -> str:
    return mean_and_spread([one.right.mean() for one in own], 100)


def _cost(own: Mapping[str, Sequence[Measured]], name: str) -> str:
    pairs = zip(own[name], own["generalist"], strict=True)
    return f"{np.mean([a.inference_flops / b.inference_flops for a, b in pairs]):.2f}x"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command_line("regime")
    parser.add_argument("--axis", choices=list(AXES), required=True)
    parser.add_argument("--points", type=lambda text: text.split(","))
    return parser.parse_intermixed_args(arguments)


if __name__ == "__main__":
    given = parse()
    named = (given.folder, given.config, given.overrides, given.axis, given.seeds, given.points)
    with told_in_one_message():
        print(regime(*named))
