"""Are confusable clusters better than random ones of the same sizes, for the final ensemble?

    python -m pipelines.benchmarks.random_clusters runs/random-clusters languages
    python -m pipelines.benchmarks.random_clusters FOLDER onet data.arrays=PATH/onet_minilm.npz

For each of ``SEEDS`` one generalist is trained, and specialists twice: on the clusters of the
configuration, and on clusters with the same sizes whose classes are drawn at random. Each side's
rule is chosen on validation data by itself, without the gate, behind which both sides may be their
generalist. The table holds test figures in per cent, differences in points and nats, with paired
95% bootstrap intervals over examples. In the last row an example that is tested with every seed is
drawn for all of them at once; where each seed splits the data anew, examples are drawn for each
seed by itself. Finished stages are kept, so that an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.messages import told_in_one_message
from pipelines.settings import write_config
from pipelines.stages import run_stages
from specialists.config import Config
from specialists.runs import Run, read_array, read_json
from specialists.uncertainty import bootstrap_means, percentile_interval

SEEDS = (0, 1, 2)
LAST_STAGE = "combine-predictions"
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

Scores = dict[str, NDArray[np.float64]]


def compare(folder: Path, config: str, overrides: list[str]) -> str:
    """Run both kinds for every seed; a Markdown table."""
    cells, found = [], []
    for seed in SEEDS:
        confusable, random = (
            _run(folder / f"seed-{seed}" / kind, config, [*overrides, f"seed={seed}"], kind)
            for kind in ("confusable", "random")
        )
        scores = {"confusable": _scores(confusable, "ensemble")}
        scores["random"] = _scores(random, "ensemble")
        scores["generalist"] = _scores(confusable, "generalist")
        found.append(scores)
        shares = f"{_share(confusable):.0%}, {_share(random):.0%}"
        cells.append([str(seed), shares, *_cells([scores])])
        costs = [_cost(confusable), _cost(random)]
        cells[-1][3:5] = [f"{c} ({x:.2f}x)" for c, x in zip(cells[-1][3:5], costs, strict=True)]
    cells.append(["mean", "", *_cells(found)])
    rows = [list(HEADER), ["---"] * len(HEADER), *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _run(folder: Path, config: str, overrides: list[str], kind: str) -> Run:
    """A finished run; the one with random clusters starts from the other's generalist."""
    run = Run(folder)
    if kind == "random":
        overrides = [*overrides, "clusters.shuffled=true"]
        for stage in SHARED_STAGES:
            if not run.path(stage).exists():
                shutil.copytree(
                    folder.parent / "confusable" / stage, run.path(stage), copy_function=os.link
                )
    with run.lock():
        write_config(run, Config.from_toml(config, ["combination.gate=off", *overrides]))
        run_stages(run, until=LAST_STAGE)
    return run


def _scores(run: Run, name: str) -> Scores:
    """Of each test example whether it is right, its negative log-likelihood, and its label."""
    labels = read_array(run.path("prepare-data", "test.labels.npy"))
    log_probs = read_array(run.path(LAST_STAGE, f"test.{name}.npy"))
    nll = -log_probs[np.arange(len(labels)), labels].astype(np.float64)
    right = (log_probs.argmax(1) == labels).astype(np.float64)
    return {"right": right, "nll": nll, "labels": np.asarray(labels, dtype=np.float64)}


def _share(run: Run) -> float:
    return read_json(run.path("cluster-classes", "clusters.json"))["share_of_confusions"]


def _cost(run: Run) -> float:
    costs = read_json(run.path(LAST_STAGE, "costs.json"))
    return costs["ensemble"]["inference_flops"] / costs["generalist"]["inference_flops"]


def _cells(seeds: list[dict[str, Scores]]) -> list[str]:
    """Means over some seeds, and the differences between the two kinds of clusters."""
    top1 = [
        f"{100 * np.mean([scores[name]['right'].mean() for scores in seeds]):.2f}"
        for name in ("generalist", "confusable", "random")
    ]
    return [*top1, _difference(seeds, "right", 100), _difference(seeds, "nll", 1)]


def _difference(seeds: list[dict[str, Scores]], key: str, scale: float) -> str:
    gaps = [scores["confusable"][key] - scores["random"][key] for scores in seeds]
    same_examples = all(
        np.array_equal(scores["generalist"]["labels"], seeds[0]["generalist"]["labels"])
        for scores in seeds
    )
    if same_examples:
        drawn = bootstrap_means(np.mean(gaps, axis=0))
    else:
        drawn = np.mean([bootstrap_means(gap, seed=i) for i, gap in enumerate(gaps)], axis=0)
    low, high = (scale * end for end in percentile_interval(drawn))
    value = scale * np.mean([gap.mean() for gap in gaps])
    digits = 2 if scale > 1 else 4
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


if __name__ == "__main__":
    with told_in_one_message():
        parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.random_clusters")
        parser.add_argument("folder", type=Path)
        parser.add_argument("config")
        parser.add_argument("overrides", nargs="*", metavar="key=value")
        given = parser.parse_args()
        print(compare(given.folder, given.config, given.overrides))
