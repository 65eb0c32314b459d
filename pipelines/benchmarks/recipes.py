"""Which recipe for specialists do validation data prefer?

    python -m pipelines.benchmarks.recipes FOLDER CONFIG [key=value ...]
        --try "fresh: specialists.start=fresh" --try "wide: specialists.widen=3" [--seeds 3]

For each seed one generalist is trained and its clusters are found; each recipe changes settings of
what comes after the generalist and trains specialists of its own from there. No test row is looked
at. Validation rows are cut into two halves: on each half the rule of the combination is chosen as
the configuration says, and what it gains on the generalist is measured on the other. Differences in
points and nats, with paired 95% bootstrap intervals over seeds and groups of validation rows.
Finished stages are kept, so that recipes and seeds can be added. The result is
FOLDER/recipes.{json,md}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.config import Config
from specialists.ensemble import affordable, choose, score_rules
from specialists.errors import InputError
from specialists.predictions import concatenated
from specialists.runtime import derive_seed

from ..combine_predictions import ensemble_outputs, open_ensemble
from ..context import RunContext
from ..messages import told_in_one_message
from ..runs import Run
from .markdown_tables import Line, markdown_table
from .measured import Measured, MeasuredRun, SeedResults
from .study import Cell, command_line, configs_by_seed, run_study, write_results

SHARED_STAGES = ("prepare-data", "train-generalist", "cluster-classes")
SHARED_SETTINGS = ("seed", "data", "generalist")
BASE = "as configured"
OPTIONS = {
    "--try": {"dest": "recipes", "action": "append", "default": [], "metavar": "NAME: SETS"},
}


def compare_recipes(
    folder: Path,
    config: str,
    overrides: Sequence[str],
    recipes: Mapping[str, list[str]],
    seeds: int,
) -> str:
    """A Markdown table with one row a recipe; the first is the configuration as it stands."""
    cells = []
    for base in configs_by_seed(config, overrides, seeds):
        place = folder / f"seed-{base.seed}"
        cells.append(start := Cell(BASE, place / _slug(BASE), base))
        for name, changes in recipes.items():
            settings = changed(base, config, [*overrides, f"seed={base.seed}"], name, changes)
            cells.append(Cell(name, place / _slug(name), settings, start, SHARED_STAGES))
    measured = run_study(folder, cells, outcome)
    results = {name: SeedResults(models) for name, models in measured.items()}
    text = markdown_table([_line(name, each) for name, each in results.items()])
    record = {
        name: {"models": each.to_dict(), "gains": each.gains(ENSEMBLE, GENERALIST)}
        for name, each in results.items()
    }
    return write_results(folder, "recipes", text, record)


def changed(
    base: Config, config: str, overrides: Sequence[str], name: str, changes: Sequence[str]
) -> Config:
    """One seed's configuration with a recipe, which may not change the shared generalist."""
    try:
        settings = Config.from_toml(config, [*overrides, *changes])
    except InputError as error:
        raise InputError(f"recipe {name} of --try: {error}") from error
    if any(getattr(settings, part) != getattr(base, part) for part in SHARED_SETTINGS):
        raise InputError(
            "recipes share their data and generalist, and this one changes them",
            where=f"--try {name}",
            got=" ".join(changes),
            expected=f"settings other than those of {', '.join(SHARED_SETTINGS)}",
        )
    return settings


def outcome(run: Run) -> dict[str, Measured]:
    """The generalist and the ensemble on validation rows that did not choose its rule."""
    context = RunContext.open(run.folder)
    validation, settings = context.dataset.validation, context.config.combination
    labels, units = validation.labels, validation.units
    predictions = open_ensemble(context).member_predictions(validation.inputs)
    generator = torch.Generator().manual_seed(derive_seed(0, "halves of the validation rows"))
    halves = torch.randperm(len(labels), generator=generator).tensor_split(2)
    parts, flops, rules = [], [], []
    for chosen_on, measured_on in (halves, halves[::-1]):
        candidates = score_rules(
            predictions.select(chosen_on), labels[chosen_on], settings, units[chosen_on]
        )
        rule = choose(affordable(candidates), settings).rule
        other_half = predictions.select(measured_on)
        parts.append(other_half.joined(rule))
        flops.append(other_half.flops(rule))
        rules.append(rule.in_short())
    order = torch.cat(halves[::-1])
    seed, stored = MeasuredRun(run, "validation", order), ensemble_outputs(run, "validation")
    generalist = replace(stored[GENERALIST], predictions=predictions.generalist[order])
    ensemble = replace(
        stored[ENSEMBLE],
        predictions=concatenated(parts),
        inference_flops=float(np.mean(flops)),
    )
    return {
        GENERALIST: seed.measured(generalist),
        ENSEMBLE: seed.measured(ensemble, "; ".join(rules)),
    }


def _line(name: str, results: SeedResults) -> Line:
    ensembles, generalists = (
        [model.training.examples for model in results[each]] for each in (ENSEMBLE, GENERALIST)
    )
    return {
        "recipe": name,
        "top-1": results.points(ENSEMBLE, GENERALIST),
        "NLL": results.nats(ENSEMBLE, GENERALIST),
        "cost": results.relative_inference(ENSEMBLE),
        "training": f"{np.mean(np.divide(ensembles, generalists)):.1f}x",
        "rules": results.about(ENSEMBLE, "; "),
    }


def read_recipes(given: Sequence[str]) -> dict[str, list[str]]:
    """Names and settings of ``--try``; no two may share a folder."""
    recipes: dict[str, list[str]] = {}
    slugs = {_slug(BASE)}
    for recipe in given:
        name, _, changes = (part.strip() for part in recipe.partition(":"))
        if not name or not changes or "/" in name or name.startswith("."):
            raise InputError(
                "a recipe is a name, a colon and settings, and its name that of a folder",
                where="--try",
                got=recipe,
                expected='"wide: specialists.widen=3"',
            )
        if _slug(name) in slugs:
            raise InputError(
                "two recipes have the same name",
                where="--try",
                got=name,
                expected=f'names that differ, also from "{BASE}"',
            )
        slugs.add(_slug(name))
        recipes[name] = changes.split()
    return recipes


def _slug(name: str) -> str:
    return name.replace(" ", "-")


if __name__ == "__main__":
    with told_in_one_message():
        given = command_line("recipes", OPTIONS)
        print(compare_recipes(**{**given, "recipes": read_recipes(given["recipes"])}))
