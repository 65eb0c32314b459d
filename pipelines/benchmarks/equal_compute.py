"""At equal computing, are specialists better than a wider, longer trained or averaged generalist?

    python -m pipelines.benchmarks.equal_compute FOLDER CONFIG [--seeds 3] [key=value ...]
    python -m pipelines.benchmarks.equal_compute runs/onet onet data.arrays=PATH/onet_minilm.npz
    python -m pipelines.benchmarks.equal_compute runs/glyphs glyphs --seeds 1 --widths 1/4,1/2,2x

Test accuracy and NLL against FLOPs of training and of one prediction, of generalists of several
widths (a quarter to four times the run's own, or those that ``--widths`` names, each by the run's
recipe until validation stops improving), the generalist trained on, a wide one, the mean of up to
four independent ones, the specialists joined by the KL rule (n = 1, 3, all; the weight chosen on
validation data) and `ensemble`. FLOPs are counted as :mod:`pipelines.benchmarks.measured` says;
specialists include their generalist, the generalists that found their clusters or that they started
from and, whatever their n, all of them.

FOLDER/seed-S are runs as ``specialists compare --out FOLDER`` makes them: what stands is used, and
an interrupted benchmark goes on. The result is FOLDER/equal_compute.{json,md,svg}.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specialists.catalogue import AVERAGED, CONTINUED, WIDE
from specialists.config import CombinationConfig, Config
from specialists.ensemble import CombinationRule, MemberPredictions, score
from specialists.figures import ComputePoint, accuracy_against_compute, to_svg_file
from specialists.networks import ARCHITECTURES, load_network
from specialists.report.numbers import compact
from specialists.runs import read_json, write_json, write_text
from specialists.training import TrainingCost

from ..classifiers import ClassifierTask, train_classifiers
from ..combine_predictions import chosen_rule, open_ensemble
from ..compare import claimed_comparison, seed_folder
from ..messages import told_in_one_message
from ..terminal import log
from ..train_generalist import width_task
from .measured import (
    Measured,
    Seed,
    command_line,
    difference,
    finished,
    markdown,
    mean_and_spread,
    units,
    with_interval,
)

BASE = "generalist"
FACTORS = {"1/4": 0.25, "1/2": 0.5, "2x": 2.0, "4x": 4.0}
MAX_AVERAGED = 4
SPECIALISTS: dict[str, int | None] = {"n = 1": 1, "n = 3": 3, "all": None}
HEADER = (
    "model",
    "",
    "top-1",
    "it - `generalist`",
    "NLL",
    "NLL, it - `generalist`",
    "training FLOPs",
    "x",
    "inference FLOPs",
    "x",
)
LEGEND = {AVERAGED: "generalists averaged", "ensemble_paper": "specialists, KL"}

FIGURE = "Top-1 accuracy against FLOPs of training and of inference, mean and range over seeds"

Rows = dict[str, Measured]


def equal_compute(
    folder: Path,
    source: str,
    overrides: Sequence[str],
    n_seeds: int,
    widths: Sequence[str] = tuple(FACTORS),
) -> str:
    """Run and measure every seed; writes and returns the table."""
    first = Config.from_toml(source, overrides).seed
    numbers = range(first, first + n_seeds)
    with claimed_comparison(folder, numbers):
        seeds: list[Rows] = []
        for seed in numbers:
            config = Config.from_toml(source, [*overrides, f"seed={seed}"])
            with finished(seed_folder(folder, seed), config) as run:
                log.info(f"equal compute: seed {seed} in {run.folder}")
                seeds.append(measure(Seed(run), widths))
        text = f"{heading(seed_folder(folder, first), n_seeds)}\n\n{table(seeds)}\n"
        write_json(folder / "equal_compute.json", summary(seeds))
        figure = accuracy_against_compute(points(seeds), LEGEND)
        write_text(folder / "equal_compute.svg", to_svg_file(figure, FIGURE))
        write_text(folder / "equal_compute.md", text)
    return text


def heading(run: Path, n_seeds: int) -> str:
    """What the table is about, in Markdown."""
    about = read_json(run / "prepare-data" / "dataset.json")
    return (
        f"# {about['name']}: {len(about['class_names']):,} classes, "
        f"{n_seeds} seed{'s' * (n_seeds > 1)}\n\n"
        f"{units(n_seeds)} x: over the generalist's."
    )


def measure(seed: Seed, widths: Sequence[str]) -> Rows:
    """Train what is missing of one seed's models; each on the test set, by name."""
    rows = {BASE: seed.stored(BASE, f"width {seed.width}")}
    for mark, task in width_tasks(seed, widths).items():
        train_classifiers([task], seed.run.jobs, f"generalist, {mark}")
        (found,) = seed.averaged([task.folder], f"width {task.spec.width}")
        rows[f"{BASE}, {mark}"] = found
    rows |= _controls(seed, rows[BASE])
    return rows | _specialists(seed)


def width_tasks(seed: Seed, marks: Sequence[str]) -> dict[str, ClassifierTask]:
    """A training for each width that is not the generalist's; none for a model without widths.

    Widths among which the run itself chose are trained already.
    """
    _, spec, _ = load_network(seed.workspace.path("train-generalist"))
    if spec.model not in ARCHITECTURES:
        log.info(f"equal compute: {spec.model} does not come in widths")
        return {}
    tasks = {}
    for mark in marks:
        width = max(1, round(FACTORS[mark] * spec.width))
        task = width_task(seed.workspace, width)
        if width not in (seed.workspace.config.generalist.widths or ()):
            own = seed.workspace.path("equal-compute", f"width-{width}")
            task = dataclasses.replace(task, folder=own)
        tasks[mark] = task
    return tasks


def _controls(seed: Seed, generalist: Measured) -> Rows:
    """The generalist trained on, the wide one, and two to four independent ones averaged."""
    budget = seed.budget()
    flops = (MAX_AVERAGED - 1) * budget.generalist.flops
    more = dataclasses.replace(budget, further=TrainingCost(flops=flops))
    tasks = {
        **seed.controls(budget, (CONTINUED, WIDE)),
        **seed.controls(more, (AVERAGED,)),
    }
    for name, group in tasks.items():
        train_classifiers(group, seed.run.jobs, name)
    (continued,) = seed.averaged([task.folder for task in tasks[CONTINUED]])
    total = continued.training_flops + generalist.training_flops
    rows = {CONTINUED: dataclasses.replace(continued, training_flops=total)}
    if WIDE in tasks:
        rows[WIDE] = seed.wide(tasks[WIDE])
    start = seed.workspace.path("train-generalist")
    members = seed.averaged([start, *(task.folder for task in tasks[AVERAGED])])
    for k, found in enumerate(members[1:], start=2):
        rows[f"{AVERAGED}, {k}"] = found
    return rows


def _specialists(seed: Seed) -> Rows:
    """The specialists by the KL rule for several n, and the rule that the run chose."""
    ensemble = open_ensemble(seed.workspace)
    training = seed.costs["ensemble"]["training_flops"]
    validation, test = (
        ensemble.member_predictions(seed.workspace.split(split).inputs)
        for split in ("validation", "test")
    )
    rows = {}
    for mark, n in SPECIALISTS.items():
        rule = best_weight(validation, seed, n)
        rows[f"specialists, {mark}"] = seed.measured(
            test.joined(rule).numpy(), training, test.flops(rule), f"weight {rule.weight:g}"
        )
    mark = chosen_rule(seed.workspace).in_short()
    return {**rows, "ensemble": seed.stored("ensemble", mark)}


def best_weight(predictions: MemberPredictions, seed: Seed, n: int | None) -> CombinationRule:
    """The KL rule for this n with the weight that validation data prefer."""
    labels, settings = seed.workspace.dataset.validation.labels, seed.workspace.config.combination
    rules = [CombinationRule("kl", n, weight) for weight in settings.weights]
    return min(rules, key=lambda rule: _loss(predictions, rule, labels, settings))


def _loss(
    predictions: MemberPredictions, rule: CombinationRule, labels: Any, settings: CombinationConfig
) -> tuple[float, ...]:
    found = score(predictions.joined(rule), labels)
    return (found["nll"],) if settings.select_by == "nll" else (-found["top1"], found["nll"])


def table(seeds: Sequence[Rows]) -> str:
    """A row a model, in Markdown."""
    base = [rows[BASE] for rows in seeds]
    cells: list[Sequence[str]] = [HEADER]
    for name in seeds[0]:
        own = [rows[name] for rows in seeds]
        gain, loss = difference(own, base, "right"), difference(own, base, "nll")
        row = [_named(name), ", ".join(dict.fromkeys(one.about for one in own))]
        row.append(mean_and_spread([one.right.mean() for one in own], 100))
        row.append("" if name == BASE else with_interval(gain, 100, 2))
        row.append(mean_and_spread([one.nll.mean() for one in own], 1, 4))
        row.append("" if name == BASE else with_interval(loss, 1, 4))
        for cost in ("training_flops", "inference_flops"):
            value, unit = _mean(own, cost), _mean(base, cost)
            row += [compact(value), f"{value / unit:.2f}" if unit else ""]
        cells.append(row)
    return markdown(cells)


def summary(seeds: Sequence[Rows]) -> dict[str, Any]:
    """Every seed's figures of every model, JSON-able."""
    base = [rows[BASE] for rows in seeds]
    found = {}
    for name in seeds[0]:
        own = [rows[name] for rows in seeds]
        found[name] = {
            "about": [one.about for one in own],
            "top1": [float(one.right.mean()) for one in own],
            "nll": [float(one.nll.mean()) for one in own],
            "training_flops": [one.training_flops for one in own],
            "inference_flops": [one.inference_flops for one in own],
            "top1_gain": dataclasses.asdict(difference(own, base, "right")),
            "nll_gain": dataclasses.asdict(difference(own, base, "nll")),
        }
    return found


def points(seeds: Sequence[Rows]) -> list[ComputePoint]:
    """The figure's points: means over seeds, with the range of top-1."""
    found = []
    for name in seeds[0]:
        own = [rows[name] for rows in seeds]
        tops = [float(one.right.mean()) for one in own]
        family, _, mark = name.partition(", ")
        found.append(
            ComputePoint(
                {"specialists": "ensemble_paper"}.get(family, family),
                "1x" if name == BASE else mark,
                _mean(own, "training_flops"),
                _mean(own, "inference_flops"),
                float(np.mean(tops)),
                (min(tops), max(tops)),
            )
        )
    return found


def _mean(own: Sequence[Measured], cost: str) -> float:
    return math.fsum(getattr(one, cost) for one in own) / len(own)


def _named(name: str) -> str:
    """A row's name: `ensemble` and its like are names of evaluation.json."""
    family, comma, mark = name.partition(", ")
    names: Mapping[str, str] = {"specialists": "specialists, KL", **LEGEND}
    return f"{names.get(family, f'`{family}`')}{comma}{mark}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = command_line("equal_compute")
    parser.add_argument("--widths", type=_marks, default=tuple(FACTORS))
    return parser.parse_intermixed_args(arguments)


def _marks(text: str) -> tuple[str, ...]:
    marks = text.split(",")
    if not set(marks) <= set(FACTORS):
        raise argparse.ArgumentTypeError(f"{text} is not of {','.join(FACTORS)}")
    return tuple(mark for mark in FACTORS if mark in marks)


if __name__ == "__main__":
    given = parse()
    with told_in_one_message():
        named = (given.folder, given.config, given.overrides, given.seeds, given.widths)
        print(equal_compute(*named))
