"""Are confusable clusters better than random ones of the same sizes, for the final ensemble?

    python -m pipelines.benchmarks.random_clusters runs/random-clusters languages [--seeds 3]
    python -m pipelines.benchmarks.random_clusters FOLDER onet data.arrays=PATH/onet_minilm.npz

For each seed one generalist is trained, and specialists twice: on the clusters of the
configuration, and on clusters with the same sizes whose classes are drawn at random. Each side's
rule is chosen on validation data by itself, without the gate, behind which both sides may be their
generalist. The table holds test figures in per cent, differences in points and nats, with paired
95% bootstrap intervals over groups of examples, in the last row over seeds and groups. Finished
stages are kept, so that an interrupted comparison goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specialists.config import Config
from specialists.files import read_json

from ..messages import told_in_one_message
from ..runs import COMPARISON, Run, claimed
from .measured import (
    Measured,
    Seed,
    command_line,
    difference,
    finished,
    markdown,
    share_stage,
    with_interval,
)

SHARED_STAGES = ("prepare-data", "train-generalist")
HEADER = (
    "seed",
    "confusions inside (confusable, random)",
    "generalist",
    "confusable (cost)",
    "random (cost)",
    "top-1, confusable - random",
    "NLL, confusable - random",
)

Rows = dict[str, Measured]


def compare(folder: Path, config: str, overrides: Sequence[str], n_seeds: int) -> str:
    """Run both kinds for every seed; a Markdown table."""
    cells, found = [], []
    first = Config.from_toml(config, overrides).seed
    for seed in range(first, first + n_seeds):
        confusable, random = (
            _run(folder / f"seed-{seed}" / kind, config, [*overrides, f"seed={seed}"], kind)
            for kind in ("confusable", "random")
        )
        rows = {
            "generalist": confusable.stored("generalist"),
            "confusable": confusable.stored("ensemble"),
            "random": random.stored("ensemble"),
        }
        found.append(rows)
        shares = ", ".join(f"{_share(run.run):.0%}" for run in (confusable, random))
        cells.append([str(seed), shares, *_cells([rows])])
        cells[-1][3:5] = [
            f"{top1} ({rows[kind].inference_flops / rows['generalist'].inference_flops:.2f}x)"
            for top1, kind in zip(cells[-1][3:5], ("confusable", "random"), strict=True)
        ]
    return markdown([HEADER, *cells, ["mean", "", *_cells(found)]])


def _run(folder: Path, config: str, overrides: Sequence[str], kind: str) -> Seed:
    """A finished run; the one with random clusters starts from the other's generalist."""
    if kind == "random":
        overrides = [*overrides, "clusters.shuffled=true"]
        for stage in SHARED_STAGES:
            share_stage(folder.parent / "confusable", folder, stage)
    with finished(folder, Config.from_toml(config, ["combination.gate=off", *overrides])) as run:
        return Seed(run)


def _share(run: Run) -> float:
    return read_json(run.path("cluster-classes", "clusters.json"))["share_of_confusions"]


def _cells(seeds: Sequence[Rows]) -> list[str]:
    """Means over some seeds, and the differences between the two kinds of clusters."""
    top1 = [
        f"{100 * np.mean([rows[name].right.mean() for rows in seeds]):.2f}"
        for name in ("generalist", "confusable", "random")
    ]
    sides = [[rows[kind] for rows in seeds] for kind in ("confusable", "random")]
    right, nll = (difference(sides[0], sides[1], metric) for metric in ("right", "nll"))
    return [*top1, with_interval(right, 100, 2), with_interval(nll, 1, 4)]


if __name__ == "__main__":
    with told_in_one_message():
        given = command_line("random_clusters").parse_intermixed_args()
        with claimed(given.folder, COMPARISON):
            print(compare(given.folder, given.config, given.overrides, given.seeds))
