"""Which recipe for specialists do validation data prefer?

    python -m pipelines.benchmarks.recipes FOLDER CONFIG [key=value ...]
        --try "fresh: specialists.start=fresh" --try "wide: specialists.widen=3" [--seeds 3]

For each seed one generalist is trained and its clusters are found; each recipe changes settings and
trains specialists of its own from there. No test row is looked at. Validation rows are cut into two
halves: on each half the rule of the combination is chosen as the configuration says, and what it
gains on the generalist is measured on the other. Differences in points and nats, with paired 95%
bootstrap intervals over validation rows; where seeds split the data anew, rows of each seed are
drawn by themselves. Finished stages are kept, so that recipes and seeds can be added.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.benchmarks.measured import (
    LAST_STAGE,
    command_line,
    finished,
    markdown,
    share_stage,
)
from pipelines.messages import told_in_one_message
from specialists.config import Config
from specialists.ensemble import (
    Ensemble,
    Rule,
    Votes,
    affordable,
    choose,
    gather_votes,
    judge_candidates,
)
from specialists.ensemble.candidates import log_likelihood
from specialists.runs import Run, read_json
from specialists.runtime import derive_seed
from specialists.uncertainty import bootstrap_means, percentile_interval
from specialists.workspace import Workspace

SHARED_STAGES = ("prepare-data", "train-generalist", "cluster-classes")
BASE = "as configured"
HEADER = ("recipe", "top-1", "NLL", "cost", "training", "rules")


@dataclass(frozen=True)
class Outcome:
    """What a recipe's specialists gain on their generalist on one seed's validation rows.

    Parameters
    ----------
    labels : int64 array of shape (n,)
        In the order of the gains.
    top1, log_likelihood : float64 arrays of shape (n,)
        Of each row, the ensemble's minus the generalist's; log-likelihood in nats.
    inference, training : float
        Mean inference FLOPs and training examples over the generalist's.
    rules : tuple of str
        What each half chose.
    """

    labels: NDArray[np.int64]
    top1: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    inference: float
    training: float
    rules: tuple[str, ...]


def compare(
    folder: Path,
    config: str,
    overrides: Sequence[str],
    recipes: Mapping[str, list[str]],
    seeds: int,
) -> str:
    """A Markdown table with one row a recipe; the first is the configuration as it stands."""
    found: dict[str, list[Outcome]] = {BASE: [], **{name: [] for name in recipes}}
    for seed in range(seeds):
        base = folder / f"seed-{seed}" / BASE.replace(" ", "-")
        for number, (name, changes) in enumerate({BASE: [], **recipes}.items()):
            place = base if number == 0 else base.with_name(name.replace(" ", "-"))
            if number:
                for stage in SHARED_STAGES:
                    share_stage(base, place, stage)
            settings = Config.from_toml(config, [f"seed={seed}", *overrides, *changes])
            with finished(place, settings) as run:
                found[name].append(outcome(run))
    return markdown([HEADER, *(_row(name, outcomes) for name, outcomes in found.items())])


def outcome(run: Run) -> Outcome:
    """Of a run up to its combined predictions."""
    workspace = Workspace.open(run.folder)
    votes = gather_votes(workspace, Ensemble.open(workspace), "validation")
    labels, settings = workspace.dataset.validation.labels, workspace.config.combination
    generator = torch.Generator().manual_seed(derive_seed(0, "halves of the validation rows"))
    order = torch.randperm(len(labels), generator=generator)
    halves = order.tensor_split(2)
    gains, costs, rules = [], [], []
    for chosen_on, measured_on in (halves, halves[::-1]):
        candidates = judge_candidates(rows_of(votes, chosen_on), labels[chosen_on], settings)
        rule = Rule.from_dict(choose(affordable(candidates), settings))
        there = rows_of(votes, measured_on)
        gains.append(_gain(there, labels[measured_on], rule))
        costs.append(there.flops(rule) / there.generalist_flops)
        rules.append(rule.in_short())
    examples = read_json(run.path(LAST_STAGE, "costs.json"))
    training = [examples[name]["training_examples"] for name in ("ensemble", "generalist")]
    top1, likelihood = (torch.cat(parts).numpy() for parts in zip(*gains, strict=True))
    costs = float(np.mean(costs)), training[0] / training[1]
    return Outcome(labels[torch.cat(halves[::-1])].numpy(), top1, likelihood, *costs, tuple(rules))


def rows_of(votes: Votes, index: Tensor) -> Votes:
    """The same of some rows."""
    specialists = [specialist[index] for specialist in votes.specialists]
    return replace(votes, generalist=votes.generalist[index], specialists=specialists)


def _gain(votes: Votes, labels: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    joined = votes.joined(rule)
    right, before = ((q.argmax(1) == labels).double() for q in (joined, votes.generalist))
    more = log_likelihood(joined, labels) - log_likelihood(votes.generalist, labels)
    return right - before, more


def _row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    rules = dict.fromkeys(rule for own in outcomes for rule in own.rules)
    return [
        name,
        _mean(outcomes, [own.top1 for own in outcomes], 100, 2),
        _mean(outcomes, [-own.log_likelihood for own in outcomes], 1, 4),
        f"{np.mean([own.inference for own in outcomes]):.2f}x",
        f"{np.mean([own.training for own in outcomes]):.1f}x",
        "; ".join(rules),
    ]


def _mean(
    outcomes: Sequence[Outcome], gains: Sequence[NDArray[np.float64]], scale: float, digits: int
) -> str:
    """Mean over seeds of some gains, with its interval."""
    if all(np.array_equal(own.labels, outcomes[0].labels) for own in outcomes):
        drawn = bootstrap_means(np.mean(gains, axis=0))
    else:
        drawn = np.mean([bootstrap_means(gain, seed=i) for i, gain in enumerate(gains)], axis=0)
    low, high = percentile_interval(drawn)
    value = np.mean([gain.mean() for gain in gains])
    numbers = (f"{scale * number:+.{digits}f}" for number in (value, low, high))
    return "{} [{}, {}]".format(*numbers)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line (module docstring)."""
    parser = command_line("recipes")
    parser.add_argument("--try", dest="recipes", action="append", default=[], metavar="NAME: SETS")
    return parser.parse_intermixed_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    given = parse(arguments)
    pairs = (recipe.partition(":") for recipe in given.recipes)
    recipes = {name.strip(): changes.split() for name, _, changes in pairs}
    print(compare(given.folder, given.config, given.overrides, recipes, given.seeds))


if __name__ == "__main__":
    with told_in_one_message():
        main()
