"""At equal computing, are specialists better than a wider, longer trained or averaged generalist?

    python -m pipelines.benchmarks.equal_compute FOLDER CONFIG [--seeds 3] [key=value ...]
    python -m pipelines.benchmarks.equal_compute runs/onet onet data.arrays=PATH/onet_minilm.npz
    python -m pipelines.benchmarks.equal_compute runs/glyphs glyphs --seeds 1 --widths 1/4,1/2,2x

Test accuracy and NLL against FLOPs of training and of one prediction, of generalists of several
widths (a quarter to four times the run's own, or those that ``--widths`` names, each by the run's
recipe until validation stops improving), the generalist trained on, a wide one, the mean of up to
four independent ones, the specialists joined by the KL rule (n = 1, 3, all; the weight chosen on
validation data) and `ensemble`. FLOPs are counted as :mod:`pipelines.benchmarks.measured` says.
Those of specialists include their generalist, the generalists that found their clusters or that
they started from and, whatever their n, all of them.

FOLDER/seed-S are runs as ``specialists compare --out FOLDER`` makes them: what stands is used, and
an interrupted benchmark goes on. The result is FOLDER/equal_compute.{json,md,svg}.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from specialists.catalogue import AVERAGED, CONTINUED, ENSEMBLE, GENERALIST, PAPER, WIDE
from specialists.ensemble import CombinationRule, score
from specialists.figures import ComputePoint, accuracy_against_compute, to_svg_file
from specialists.files import read_json
from specialists.networks import ARCHITECTURES, read_spec
from specialists.report.numbers import compact
from specialists.training import TrainingCost

from ..baselines import budget_of
from ..classifiers import ClassifierTask, train_classifiers
from ..combine_predictions import chosen_rule, ensemble_outputs, open_ensemble
from ..compare import seed_folder
from ..messages import told_in_one_message
from ..terminal import log
from ..train_generalist import width_task
from .markdown_tables import Line, heading, markdown_table, mean_and_spread
from .measured import Measured, MeasuredRun, SeedResults
from .study import Cell, command_line, configs_by_seed, run_study, write_results

FACTORS = {"1/4": 0.25, "1/2": 0.5, "2x": 2.0, "4x": 4.0}
MAX_AVERAGED = 4
SPECIALISTS: dict[str, int | None] = {"n = 1": 1, "n = 3": 3, "all": None}
SPECIALISED = "specialists"
LEGEND = {AVERAGED: "generalists averaged", SPECIALISED: "specialists, KL"}
COLOURS = {SPECIALISED: PAPER}  # families that have another model's colour
FIGURE = "Top-1 accuracy against FLOPs of training and of inference, mean and range over seeds"


def equal_compute(
    folder: Path,
    config: str,
    overrides: Sequence[str],
    seeds: int,
    widths: Sequence[str] = tuple(FACTORS),
) -> str:
    """Run and measure every seed; writes and returns the table."""
    cells = [
        Cell("equal compute", seed_folder(folder, settings.seed), settings)
        for settings in configs_by_seed(config, overrides, seeds)
    ]
    (models,) = run_study(
        folder, cells, lambda run: measure_models(MeasuredRun(run), widths)
    ).values()
    results = SeedResults(models)
    record = results.to_dict()
    for name, values in record.items():
        values["top1_gain"], values["nll_gain"] = results.gains(name, GENERALIST).values()
    points, names = figure_points(results, COLOURS), {**LEGEND, PAPER: LEGEND[SPECIALISED]}
    figure = to_svg_file(accuracy_against_compute(points, names), FIGURE)
    about = read_json(cells[0].folder / "prepare-data" / "dataset.json")
    title = f"{about['name']}: {len(about['class_names']):,} classes"
    lines = [model_line(results, name, LEGEND) for name in results.names]
    text = heading(title, seeds, "x: over the generalist's.") + markdown_table(lines)
    return write_results(folder, "equal_compute", text, record, figure)


def measure_models(seed: MeasuredRun, widths: Sequence[str]) -> dict[str, Measured]:
    """Train what is missing of one seed's models; each on the test set, by name."""
    models = {GENERALIST: seed.stored(GENERALIST, f"width {seed.width}")}
    for mark, task in width_tasks(seed, widths).items():
        train_classifiers([task], seed.run.jobs, f"generalist, {mark}")
        name, about = f"{GENERALIST}, {mark}", f"width {task.spec.width}"
        (models[name],) = seed.averaged([task.folder], about)
    return {**models, **_baselines(seed, models[GENERALIST]), **_specialists(seed)}


def width_tasks(seed: MeasuredRun, marks: Sequence[str]) -> dict[str, ClassifierTask]:
    """A training for each width that is not the generalist's; none for a model without widths.

    Widths among which the run itself chose are trained already.
    """
    spec = read_spec(seed.context.path("train-generalist"))
    if spec.model not in ARCHITECTURES:
        log.info(f"equal compute: {spec.model} does not come in widths")
        return {}
    tasks = {}
    for mark in marks:
        width = max(1, round(FACTORS[mark] * spec.width))
        tasks[mark] = width_task(seed.context, width)
        if width not in (seed.context.config.generalist.widths or ()):
            folder = seed.context.path("equal-compute", f"width-{width}")
            tasks[mark] = dataclasses.replace(tasks[mark], folder=folder)
    return tasks


def _baselines(seed: MeasuredRun, generalist: Measured) -> dict[str, Measured]:
    """The generalist trained on, the wide one, and two to four independent ones averaged."""
    budget = budget_of(seed.context)
    further = TrainingCost(flops=(MAX_AVERAGED - 1) * budget.generalist.flops)
    tasks = {
        **seed.baselines(budget, (CONTINUED, WIDE)),
        **seed.baselines(dataclasses.replace(budget, further=further), (AVERAGED,)),
    }
    for name, group in tasks.items():
        train_classifiers(group, seed.run.jobs, name)
    (continued,) = seed.averaged([task.folder for task in tasks[CONTINUED]])
    training = continued.training + generalist.training
    models = {CONTINUED: dataclasses.replace(continued, training=training)}
    if WIDE in tasks:
        models[WIDE] = seed.wide(tasks[WIDE])
    start = seed.context.path("train-generalist")
    means = seed.averaged([start, *(task.folder for task in tasks[AVERAGED])])
    return models | {f"{AVERAGED}, {k}": mean for k, mean in enumerate(means[1:], start=2)}


def _specialists(seed: MeasuredRun) -> dict[str, Measured]:
    """The specialists by the KL rule for several n, and the rule that the run chose."""
    ensemble, settings = open_ensemble(seed.context), seed.context.config.combination
    stored = ensemble_outputs(seed.run, "test")[ENSEMBLE]
    validation, test = (
        ensemble.member_predictions(seed.context.split(split).inputs)
        for split in ("validation", "test")
    )

    def loss(rule: CombinationRule) -> tuple[float, ...]:
        scores = score(validation.joined(rule), seed.context.dataset.validation.labels)
        return (scores["nll"],) if settings.select_by == "nll" else (-scores["top1"], scores["nll"])

    models = {}
    for mark, n in SPECIALISTS.items():
        rule = min((CombinationRule("kl", n, weight) for weight in settings.weights), key=loss)
        joined, inference = test.joined(rule), test.flops(rule)
        outputs = dataclasses.replace(stored, predictions=joined, inference_flops=inference)
        models[f"{SPECIALISED}, {mark}"] = seed.measured(outputs, f"weight {rule.weight:g}")
    return {**models, ENSEMBLE: seed.measured(stored, chosen_rule(seed.context).in_short())}


def model_line(results: SeedResults, name: str, legend: Mapping[str, str]) -> Line:
    """A model in the table; ``legend`` says what families are called."""
    is_base = name == GENERALIST
    family, comma, mark = name.partition(", ")
    line = {
        "model": f"{legend.get(family, f'`{family}`')}{comma}{mark}",
        "": results.about(name),
        "top-1": results.top1(name),
        "it - `generalist`": "" if is_base else results.points(name, GENERALIST),
        "NLL": mean_and_spread([model.nll.mean() for model in results[name]], 1, 4),
        "NLL, it - `generalist`": "" if is_base else results.nats(name, GENERALIST),
    }
    for what in ("training", "inference"):
        value, base = (results.mean(f"{what}_flops", each) for each in (name, GENERALIST))
        line |= {f"{what} FLOPs": compact(value), f"{what}, x": _times(value, base)}
    seconds, base = (results.mean("training_seconds", each) for each in (name, GENERALIST))
    return line | {"training, s": f"{seconds:.0f}", "seconds, x": _times(seconds, base)}


def _times(value: float, base: float) -> str:
    """A ratio; nothing over a generalist that was not trained here."""
    return f"{value / base:.2f}" if base else ""


def figure_points(results: SeedResults, colours: Mapping[str, str]) -> list[ComputePoint]:
    """The figure's points: means over seeds, with the range of top-1.

    ``colours`` name the models whose colours some families have.
    """
    places = []
    for name in results.names:
        top1 = [float(model.right.mean()) for model in results[name]]
        family, _, mark = name.partition(", ")
        places.append(
            ComputePoint(
                colours.get(family, family),
                "1x" if name == GENERALIST else mark,
                results.mean("training_flops", name),
                results.mean("inference_flops", name),
                float(np.mean(top1)),
                (min(top1), max(top1)),
            )
        )
    return places


def _marks(text: str) -> tuple[str, ...]:
    marks = text.split(",")
    if not set(marks) <= set(FACTORS):
        raise argparse.ArgumentTypeError(f"{text} is not of {','.join(FACTORS)}")
    return tuple(mark for mark in FACTORS if mark in marks)


OPTIONS = {"--widths": {"type": _marks, "default": tuple(FACTORS)}}

if __name__ == "__main__":
    with told_in_one_message():
        print(equal_compute(**command_line("equal_compute", OPTIONS)))
