"""Does a learned combination hold on the test set what it promised on validation data?

    python -m pipelines.benchmarks.learned_combination runs/languages runs/onet ...

For runs whose combine-predictions is done: one Markdown table a run, a row for every n and rule.
Weights are chosen, and numbers fitted, on validation data. The score of a rule with such numbers on
the rows that it was fitted on stands before the cross-fitted one. Differences are those to KL with
weight 1, on the test set, with paired 95% bootstrap intervals over groups of rows.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch

from specialists.ensemble import CombinationRule, log_likelihood, score
from specialists.files import read_array
from specialists.predictions import Predictions
from specialists.uncertainty import difference_interval

from ..combine_predictions import open_ensemble
from ..context import RunContext
from ..messages import told_in_one_message
from .markdown_tables import Line, markdown_table, with_interval

HEADER = (
    *("n", "cost", "rule", "validation NLL", "validation top-1, %"),
    *("test NLL", "test top-1, %", "NLL - KL", "top-1 - KL, points"),
)
UNFITTED = 1.0


class SplitPredictions:
    """What a run's members predict for a split, and the truth, test labels included."""

    def __init__(self, context: RunContext, split: str) -> None:
        labels = read_array(context.path("prepare-data", f"{split}.labels.npy"))
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self.groups = context.split(split).units.numpy()
        inputs = context.split(split).inputs
        self.members = open_ensemble(context).member_predictions(inputs)

    def nats_and_percent(self, predictions: Predictions) -> tuple[str, str]:
        """NLL and top-1."""
        scores = score(predictions, self.labels)
        return f"{scores['nll']:.4f}", f"{100 * scores['top1']:.2f}"

    def differences(self, predictions: Predictions, base: Predictions) -> tuple[str, str]:
        """Of NLL in nats and of top-1 in points, with their intervals."""
        right = [(q.predicted() == self.labels).double() for q in (predictions, base)]
        nll = [-log_likelihood(q, self.labels) for q in (predictions, base)]
        cells = []
        for (a, b), scale, digits in ((nll, 1, 4), (right, 100, 2)):
            interval = difference_interval(a.numpy(), b.numpy(), groups=self.groups)
            cells.append(with_interval(float((a - b).mean()), interval, scale, digits))
        return cells[0], cells[1]


def rules_table(run: Path) -> str:
    """Markdown: what every rule says of both splits of a run."""
    context = RunContext.open(run)
    validation, test = (SplitPredictions(context, split) for split in ("validation", "test"))
    settings = context.config.combination
    started = time.process_time()
    alone = (rows.nats_and_percent(rows.members.generalist) for rows in (validation, test))
    lines = [dict(zip(HEADER, ("", "1.00", "generalist", *chain(*alone), "", ""), strict=True))]
    for n in (*settings.n, None):
        lines += _lines(n, settings.weights, validation, test)
    title = (
        f"{context.dataset.name}: {context.dataset.n_classes:,} classes, "
        f"{len(test.members.subsets)} specialists, {len(validation.labels):,} validation and "
        f"{len(test.labels):,} test rows; {time.process_time() - started:.0f} s of CPU time"
    )
    return f"{title}\n\n{markdown_table(lines)}"


def _lines(
    n: int | None, weights: tuple[float, ...], validation: SplitPredictions, test: SplitPredictions
) -> list[Line]:
    """One line a rule with this n; its weight is the best by validation NLL."""

    def best(method: str) -> CombinationRule:
        rules = (CombinationRule(method, n, weight) for weight in weights)
        return min(
            rules, key=lambda r: score(validation.members.joined(r), validation.labels)["nll"]
        )

    kl, within = best("kl"), best("within_subsets")
    learned, cross_fitted = validation.members.learn(n, validation.labels, kl.weight)
    unseen = {"learned": cross_fitted}
    unfitted = CombinationRule("kl", n, UNFITTED)
    rules = {
        f"KL, weight {UNFITTED:g}": unfitted,
        f"KL, best weight ({kl.weight:g})": kl,
        "learned": learned,
        f"within subsets ({within.weight:g})": within,
        "side by side": CombinationRule("side_by_side", n),
    }
    if n is not None:
        dustbin, answers = validation.members.fit_dustbins(n, validation.labels)
        name = f"KL, dustbins fitted ({kl.weight:g})"
        rules[name], unseen[name] = replace(kl, dustbin=dustbin), answers.joined(kl)
    base = test.members.joined(unfitted)
    cost = f"{test.members.flops(unfitted) / test.members.generalist_flops:.2f}"
    lines = []
    for name, rule in rules.items():
        predictions = test.members.joined(rule)
        scores = validation.nats_and_percent(validation.members.joined(rule))
        if name in unseen:
            both = zip(scores, validation.nats_and_percent(unseen[name]), strict=True)
            scores = tuple(" / ".join(pair) for pair in both)
        differences = ("", "") if rule == unfitted else test.differences(predictions, base)
        first = ("all" if n is None else str(n), cost, name)
        cells = (*first, *scores, *test.nats_and_percent(predictions), *differences)
        lines.append(dict(zip(HEADER, cells, strict=True)))
    return lines


if __name__ == "__main__":
    with told_in_one_message():
        parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.learned_combination")
        parser.add_argument("runs", nargs="+", type=Path)
        for run in parser.parse_args().runs:
            print(rules_table(run), end="\n\n", flush=True)
