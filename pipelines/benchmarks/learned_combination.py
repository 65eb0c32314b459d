"""Does a learned combination hold on the test set what it promised on validation data?

    python -m pipelines.benchmarks.learned_combination runs/languages runs/onet ...

For runs whose combine-predictions is done: one Markdown table a run, a row for every n and rule.
Weights are chosen, and numbers fitted, on validation data. The score of a learned combination on
the rows that it was fitted on stands before the cross-fitted one. Differences are those to KL with
weight 1, on the test set, with paired 95% bootstrap intervals over groups of rows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specialists.ensemble import CombinationRule, MemberPredictions, score
from specialists.runs import read_array
from specialists.uncertainty import difference_interval

from ..combine_predictions import open_ensemble
from ..context import RunContext
from ..messages import told_in_one_message

HEADER = (
    "n",
    "cost",
    "rule",
    "validation NLL",
    "validation top-1, %",
    "test NLL",
    "test top-1, %",
    "NLL - KL",
    "top-1 - KL, points",
)
UNFITTED = 1.0


def table(run: Path) -> str:
    """Markdown: what every rule says of both splits of a run."""
    workspace = RunContext.open(run)
    ensemble = open_ensemble(workspace)
    validation, test = (
        ensemble.member_predictions(workspace.split(name).inputs) for name in ("validation", "test")
    )
    labels = _labels(workspace, "validation"), _labels(workspace, "test")
    groups = workspace.split("test").units.numpy()
    settings = workspace.config.combination
    cells = [_generalist(validation, test, labels)]
    started = time.process_time()
    for n in (*settings.n, None):
        cells += _rows(n, settings.weights, validation, test, labels, groups)
    rows = [list(HEADER), ["---"] * len(HEADER), *cells]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    n_known, n_new = map(len, labels)
    title = (
        f"{workspace.dataset.name}: {workspace.dataset.n_classes:,} classes, "
        f"{len(validation.subsets)} specialists, {n_known:,} validation and {n_new:,} test rows; "
        f"{time.process_time() - started:.0f} s of CPU time"
    )
    return "\n".join([title, "", *lines])


def _labels(workspace: RunContext, split: str) -> Tensor:
    """From the file: a workspace shows no test labels."""
    labels = read_array(workspace.path("prepare-data", f"{split}.labels.npy"))
    return torch.tensor(labels, dtype=torch.int64)


def _generalist(
    validation: MemberPredictions, test: MemberPredictions, labels: tuple[Tensor, Tensor]
) -> list[str]:
    known, new = score(validation.generalist, labels[0]), score(test.generalist, labels[1])
    scores = [cell for scores in (known, new) for cell in (_nats(scores), _percent(scores))]
    return ["", "1.00", "generalist", *scores, "", ""]


def _rows(
    n: int | None,
    weights: tuple[float, ...],
    validation: MemberPredictions,
    test: MemberPredictions,
    labels: tuple[Tensor, Tensor],
    groups: NDArray[np.int64],
) -> list[list[str]]:
    """One row a rule with this n; its weight is the best by validation NLL."""
    best = {
        name: min(
            (CombinationRule(name, n, weight) for weight in weights),
            key=lambda rule: score(validation.joined(rule), labels[0])["nll"],
        )
        for name in ("kl", "within_subsets")
    }
    learned, unseen = validation.learn(n, labels[0], best["kl"].weight)
    unfitted = CombinationRule("kl", n, UNFITTED)
    rules = {
        f"KL, weight {UNFITTED:g}": unfitted,
        f"KL, best weight ({best['kl'].weight:g})": best["kl"],
        "learned": learned,
        f"within subsets ({best['within_subsets'].weight:g})": best["within_subsets"],
        "side by side": CombinationRule("side_by_side", n),
    }
    base = _by_row(test.joined(unfitted), labels[1])
    cost = f"{test.flops(unfitted) / test.generalist_flops:.2f}"
    rows = []
    for name, rule in rules.items():
        known, said = score(validation.joined(rule), labels[0]), test.joined(rule)
        nll, top1 = _nats(known), _percent(known)
        if rule is learned:
            honest = score(unseen, labels[0])
            nll, top1 = f"{nll} / {_nats(honest)}", f"{top1} / {_percent(honest)}"
        new = score(said, labels[1])
        cells = ["all" if n is None else str(n), cost, name, nll, top1, _nats(new), _percent(new)]
        differences = ["", ""]
        if rule != unfitted:
            differences = _differences(_by_row(said, labels[1]), base, groups)
        rows.append(cells + differences)
    return rows


def _by_row(log_probs: Tensor, labels: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each row the NLL, at most 100 nats, and whether the answer is right."""
    nll = -log_probs.gather(1, labels[:, None]).squeeze(1).clamp_min(-100.0)
    return nll.double().numpy(), (log_probs.argmax(1) == labels).double().numpy()


def _differences(
    found: tuple[NDArray[np.float64], NDArray[np.float64]],
    base: tuple[NDArray[np.float64], NDArray[np.float64]],
    groups: NDArray[np.int64],
) -> list[str]:
    cells = []
    for a, b, scale, digits in zip(found, base, (1, 100), (4, 2), strict=True):
        low, high = (scale * end for end in difference_interval(a, b, groups=groups))
        value = scale * (a - b).mean()
        cells.append(f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]")
    return cells


def _nats(scores: dict[str, float]) -> str:
    return f"{scores['nll']:.4f}"


def _percent(scores: dict[str, float]) -> str:
    return f"{100 * scores['top1']:.2f}"


if __name__ == "__main__":
    with told_in_one_message():
        parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.learned_combination")
        parser.add_argument("runs", nargs="+", type=Path)
        for run in parser.parse_args().runs:
            print(table(run), end="\n\n", flush=True)
