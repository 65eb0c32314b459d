"""Which recipe for specialists do validation data prefer?

    python -m pipelines.benchmarks.recipes FOLDER CONFIG [key=value ...]
        --try "fresh: specialists.start=fresh" --try "wide: specialists.widen=3" [--seeds 3]

For each seed one generalist is trained and its clusters are found; each recipe changes settings of
what comes after the generalist and trains specialists of its own from there. No test row is looked
at. Validation rows are cut into two halves: on each half the rule of the combination is chosen as
the configuration says, and what it gains on the generalist is measured on the other. Differences in
points and nats, with paired 95% bootstrap intervals over seeds and groups of validation rows.
Finished stages are kept, so that recipes and seeds can be added.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specialists.config import Config
from specialists.ensemble import (
    CombinationRule,
    MemberPredictions,
    affordable,
    choose,
    log_likelihood,
    score_rules,
)
from specialists.errors import InputError
from specialists.runs import COMPARISON, read_json
from specialists.runtime import derive_seed
from specialists.uncertainty import ANY_REAL, DIFFERENCE_OF_SHARES

from ..combine_predictions import open_ensemble
from ..context import RunContext
from ..finished_run import examples_of, groups_of
from ..messages import told_in_one_message
from ..runs import Run, claimed
from .measured import (
    LAST_STAGE,
    command_line,
    finished,
    markdown,
    mean_over_seeds,
    share_stage,
    with_interval,
)

SHARED_STAGES = ("prepare-data", "train-generalist", "cluster-classes")
SHARED_SETTINGS = ("seed", "data", "generalist")
BASE = "as configured"
HEADER = ("recipe", "top-1", "NLL", "cost", "training", "rules")


@dataclass(frozen=True)
class Outcome:
    """What a recipe's specialists gain on their generalist on one seed's validation rows.

    Parameters
    ----------
    examples : str
        The same for two seeds if and only if their validation rows are.
    top1, log_likelihood : float64 arrays of shape (n,)
        Of each row, the ensemble's minus the generalist's; log-likelihood in nats.
    inference, training : float
        Mean inference FLOPs and training examples over the generalist's.
    rules : tuple of str
        What each half chose.
    groups : int64 array of shape (n,), optional
        Rows that are one observation share a number; None: each is one.
    """

    examples: str
    top1: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    inference: float
    training: float
    rules: tuple[str, ...]
    groups: NDArray[np.int64] | None = None


def compare(
    folder: Path,
    config: str,
    overrides: Sequence[str],
    recipes: Mapping[str, list[str]],
    seeds: int,
) -> str:
    """A Markdown table with one row a recipe; the first is the configuration as it stands."""
    first = Config.from_toml(config, overrides).seed
    planned = [
        settings_of(config, [*overrides, f"seed={seed}"], recipes)
        for seed in range(first, first + seeds)
    ]
    found: dict[str, list[Outcome]] = {name: [] for name in planned[0]}
    with claimed(folder, COMPARISON):
        for own in planned:
            base = folder / f"seed-{own[BASE].seed}" / _slug(BASE)
            for name, settings in own.items():
                place = base.with_name(_slug(name))
                if name != BASE:
                    for stage in SHARED_STAGES:
                        share_stage(base, place, stage)
                with finished(place, settings) as run:
                    found[name].append(outcome(run))
    return markdown([HEADER, *(_row(name, outcomes) for name, outcomes in found.items())])


def settings_of(
    config: str, overrides: Sequence[str], recipes: Mapping[str, list[str]]
) -> dict[str, Config]:
    """One seed's configurations by name, the one without a recipe first.

    Raises
    ------
    InputError
        For settings that there are not, or on which the shared generalist depends.
    """
    base = Config.from_toml(config, overrides)
    found = {BASE: base}
    for name, changes in recipes.items():
        try:
            found[name] = Config.from_toml(config, [*overrides, *changes])
        except InputError as error:
            raise InputError(f"recipe {name} of --try: {error}") from error
        for part in SHARED_SETTINGS:
            if getattr(found[name], part) != getattr(base, part):
                raise InputError(
                    "recipes share their data and generalist, and this one changes them",
                    where=f"--try {name}",
                    got=" ".join(changes),
                    expected=f"settings other than those of {', '.join(SHARED_SETTINGS)}",
                )
    return found


def outcome(run: Run) -> Outcome:
    """Of a run up to its combined predictions."""
    workspace = RunContext.open(run.folder)
    validation, settings = workspace.dataset.validation, workspace.config.combination
    labels = validation.labels
    predictions = open_ensemble(workspace).member_predictions(validation.inputs)
    generator = torch.Generator().manual_seed(derive_seed(0, "halves of the validation rows"))
    order = torch.randperm(len(labels), generator=generator)
    halves = order.tensor_split(2)
    gains, costs, rules = [], [], []
    for chosen_on, measured_on in (halves, halves[::-1]):
        candidates = score_rules(predictions.select(chosen_on), labels[chosen_on], settings)
        rule = choose(affordable(candidates), settings).rule
        there = predictions.select(measured_on)
        gains.append(_gain(there, labels[measured_on], rule))
        costs.append(there.flops(rule) / there.generalist_flops)
        rules.append(rule.in_short())
    seen = read_json(run.path(LAST_STAGE, "costs.json"))
    training = [seen[name]["training_examples"] for name in ("ensemble", "generalist")]
    top1, likelihood = (torch.cat(parts).numpy() for parts in zip(*gains, strict=True))
    costs = float(np.mean(costs)), training[0] / training[1]
    examples, groups = examples_of(run, "validation"), groups_of(run, "validation")
    if groups is not None:
        groups = groups[torch.cat(halves[::-1]).numpy()]
    return Outcome(examples, top1, likelihood, *costs, tuple(rules), groups)


def _gain(
    predictions: MemberPredictions, labels: Tensor, rule: CombinationRule
) -> tuple[Tensor, Tensor]:
    joined = predictions.joined(rule)
    right, before = ((q.argmax(1) == labels).double() for q in (joined, predictions.generalist))
    more = log_likelihood(joined, labels) - log_likelihood(predictions.generalist, labels)
    return right - before, more


def _row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    rules = dict.fromkeys(rule for own in outcomes for rule in own.rules)
    shared = len({own.examples for own in outcomes}) == 1
    groups = [own.groups for own in outcomes]
    top1 = mean_over_seeds([own.top1 for own in outcomes], shared, DIFFERENCE_OF_SHARES, groups)
    nll = mean_over_seeds([-own.log_likelihood for own in outcomes], shared, ANY_REAL, groups)
    return [
        name,
        with_interval(top1, 100, 2),
        with_interval(nll, 1, 4),
        f"{np.mean([own.inference for own in outcomes]):.2f}x",
        f"{np.mean([own.training for own in outcomes]):.1f}x",
        "; ".join(rules),
    ]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line (module docstring)."""
    parser = command_line("recipes")
    parser.add_argument("--try", dest="recipes", action="append", default=[], metavar="NAME: SETS")
    return parser.parse_intermixed_args(arguments)


def read_recipes(given: Sequence[str]) -> dict[str, list[str]]:
    """Names and settings of ``--try``.

    Raises
    ------
    InputError
        For a recipe without a name or settings, or whose folder is that of another.
    """
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    given = parse(arguments)
    recipes = read_recipes(given.recipes)
    print(compare(given.folder, given.config, given.overrides, recipes, given.seeds))


if __name__ == "__main__":
    with told_in_one_message():
        main()
