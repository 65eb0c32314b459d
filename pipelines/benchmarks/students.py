"""What does the student keep of its ensemble, and what teaches it?

    python -m pipelines.benchmarks.students runs/languages [--out students.md] [--sizes 1 0.25]
        [--temperatures 1 2 4] [--alphas 0.7 1]
    python -m pipelines.benchmarks.students runs/seeds/seed-0 runs/seeds/seed-1 ...

For runs whose combine-predictions is done. Students of the generalist's size, a quarter and a
sixteenth of it learn from hard labels, from smoothed ones, from the generalist and from the
ensemble, which are also asked live about every batch; with all labels, and with a tenth of them:
for as many epochs at one and at five times the learning rate; for as many steps as on all rows; and
with the other inputs, without labels. Every row has equally many tuning trials, and validation
chooses. Finished trials lie in RUN/students and are kept. The test set is read once, at the end,
for the chosen trials.

Intervals are paired 95% bootstrap intervals over groups of test examples, with several runs over
runs and groups (:mod:`specialists.uncertainty`), and there the spread (standard deviation over
runs) stands beside the mean. Retention is (student - hard) / (ensemble - hard), where `hard` is the
student of the same size that learns from the same labels as long.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specialists.distillation import best_trial
from specialists.errors import InputError
from specialists.runs import read_array, read_json, write_text
from specialists.uncertainty import (
    DIFFERENCE_OF_SHARES,
    SHARE,
    drawn_over_seeds,
    means_over_seeds,
    percentile_interval,
    share_kept,
)

from ..classifiers import Member
from ..context import RunContext
from ..distill_student import train_students
from ..finished_run import examples_of, groups_of
from ..messages import told_in_one_message
from ..predict import check_target
from ..runs import Run
from .student_trials import (
    ENSEMBLE,
    GENERALIST,
    PARTS,
    Plan,
    Row,
    needed,
    student_trials,
)

HEADER = (
    "size",
    "taught by",
    "parameters",
    "top-1, %",
    "- generalist, points",
    "retention",
    "chosen",
)
RIGHT_OF = (GENERALIST, ENSEMBLE)
Name = Row | str


@dataclass(frozen=True)
class Found:
    """What one run's students did on its test examples.

    Parameters
    ----------
    dataset : str
    examples : str
        The same for two runs if and only if their test sets are.
    n_test : int
    right : mapping of a row, or "generalist" or "ensemble", to a float array of shape (n,)
    parameters : mapping of the same
    chosen : mapping of a row to the settings of its chosen trial
    refused : bool
        Whether the gate kept the specialists out, so that the ensemble is its generalist.
    """

    dataset: str
    examples: str
    n_test: int
    right: dict[Name, NDArray[np.float64]]
    parameters: dict[Name, int]
    chosen: dict[Row, dict[str, Any]]
    refused: bool
    groups: NDArray[np.int64] | None = None


def measure(run: Run, plan: Plan) -> Found:
    """Train what does not yet stand, choose by validation, and ask the test set once."""
    needed(run.folder)  # before the lock makes a folder of a mistyped name
    with run.lock():
        workspace = RunContext.open(run.folder)
        trials = student_trials(workspace, plan)
        tasks = [task for row in trials.values() for task in row]
        results = train_students(tasks, run.jobs)
        best, start = {}, 0
        for row, own in trials.items():
            best[row] = tasks[best_trial(results, range(start, start + len(own)))]
            start += len(own)
        return _on_test_set(run, best)


def _on_test_set(run: Run, best: dict[Row, Any]) -> Found:
    workspace = RunContext.open(run.folder, test_labels=True)
    labels = workspace.dataset.test.labels.numpy()
    costs = read_json(run.path("combine-predictions", "costs.json"))
    right: dict[Name, NDArray[np.float64]] = {}
    parameters: dict[Name, int] = {}
    for name in RIGHT_OF:
        log_probs = read_array(run.path("combine-predictions", f"test.{name}.npy"))
        right[name] = (log_probs.argmax(1) == labels).astype(np.float64)
        parameters[name] = costs[name]["parameters"]
    for row, task in best.items():
        outputs = Member(workspace, task.folder).outputs(row.slug, "test")
        right[row] = (outputs.log_probs.argmax(1) == labels).astype(np.float64)
        parameters[row] = outputs.parameters
    chosen = {row: task.settings() for row, task in best.items()}
    choice = read_json(run.path("combine-predictions", "choice.json"))
    refused = choice["gate"]["outcome"] == "refused"
    return Found(
        workspace.dataset.name,
        examples_of(run, "test"),
        len(labels),
        right,
        parameters,
        chosen,
        refused,
        groups_of(run, "test"),
    )


def table(found: Sequence[Found]) -> str:
    """Markdown: a line for the generalist, the ensemble and every student."""
    if len({(run.dataset, *map(str, run.right)) for run in found}) != 1:
        raise InputError("these runs cannot be compared", got="different data sets or students")
    scores = _Scores(found)
    rows = [list(HEADER), ["---"] * len(HEADER)]
    for name in found[0].right:
        size, teacher = ("", f"`{name}`") if isinstance(name, str) else _described(name)
        mean = np.mean([run.parameters[name] for run in found])
        rows.append(
            [
                size,
                teacher,
                f"{mean:,.0f}",
                scores.top1(name),
                "" if name == GENERALIST else scores.difference(name, GENERALIST),
                scores.retention(name) if isinstance(name, Row) else "",
                _chosen(found, name) if isinstance(name, Row) else "",
            ]
        )
    title = f"## {found[0].dataset}: {len(found)} run{'s' * (len(found) > 1)}, " + (
        f"{', '.join(f'{run.n_test:,}' for run in found)} test rows"
    )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    refused = sum(run.refused for run in found)
    if refused:
        lines += ["", f"In {refused} of {len(found)} runs held-out rows kept the specialists out: "]
        lines[-1] += "there `ensemble` is its generalist."
    return "\n".join([title, "", *lines])


class _Scores:
    """Means of all models over runs, and in resamples that all models share."""

    def __init__(self, found: Sequence[Found]) -> None:
        names = list(found[0].right)
        self.column = {name: i for i, name in enumerate(names)}
        right = [np.stack([run.right[name] for name in names], axis=1) for run in found]
        self.by_run = np.stack([values.mean(axis=0) for values in right])
        self.mean = self.by_run.mean(axis=0)
        shared = len({run.examples for run in found}) == 1
        self.examples = means_over_seeds(right, shared, groups=[run.groups for run in found])

    def top1(self, name: Name) -> str:
        """Mean, spread over several runs, interval; per cent."""
        i = self.column[name]
        spread = ""
        if len(self.by_run) > 1:
            spread = f" ± {100 * self.by_run[:, i].std(ddof=1):.2f}"
        drawn = drawn_over_seeds(self.by_run[:, i].tolist(), self.examples[:, i])
        low, high = (100 * end for end in percentile_interval(drawn, limits=SHARE))
        return f"{100 * self.mean[i]:.2f}{spread} [{low:.2f}, {high:.2f}]"

    def difference(self, a: Name, b: Name) -> str:
        """Mean of a - b, spread over several runs, interval; points."""
        gaps, drawn = self._gaps(a, b)
        low, high = (100 * end for end in percentile_interval(drawn, limits=DIFFERENCE_OF_SHARES))
        spread = f" ± {100 * gaps.std(ddof=1):.2f}" if len(gaps) > 1 else ""
        return f"{100 * gaps.mean():+.2f}{spread} [{low:+.2f}, {high:+.2f}]"

    def retention(self, row: Row) -> str:
        """Share of what the ensemble gains over hard labels, or why there is none."""
        if row == row.rival or row.rival not in self.column:
            return ""
        gains, gain = self._gaps(ENSEMBLE, row.rival)
        if percentile_interval(gain)[0] <= 0:
            return f"undefined: ensemble - hard is {self.difference(ENSEMBLE, row.rival)}"
        kept_gains, kept = self._gaps(row, row.rival)
        low, high = percentile_interval(share_kept(kept, gain))
        return f"{kept_gains.mean() / gains.mean():.0%} [{low:.0%}, {high:.0%}]"

    def _gaps(self, a: Name, b: Name) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each run a - b, and the mean of that where runs and examples are drawn anew."""
        i, j = self.column[a], self.column[b]
        gaps = self.by_run[:, i] - self.by_run[:, j]
        return gaps, drawn_over_seeds(gaps.tolist(), self.examples[:, i] - self.examples[:, j])


def _described(row: Row) -> tuple[str, str]:
    return row.size_in_words(), row.in_words()


def _chosen(found: Sequence[Found], row: Row) -> str:
    counts = Counter(_in_words(run.chosen[row]) for run in found)
    if len(found) == 1:
        return next(iter(counts))
    return "; ".join(f"{words} ({n} of {len(found)})" for words, n in counts.most_common())


def _in_words(settings: dict[str, Any]) -> str:
    rate = f"rate {settings['learning_rate']:.3g}"
    if settings["temperature"] is not None:
        return f"T {settings['temperature']:g}, alpha {settings['alpha']:g}, {rate}"
    smoothing = settings["label_smoothing"]
    return f"{rate}, smoothing {smoothing:g}" if smoothing else rate


def _check_once(folders: Sequence[Path]) -> None:
    seen = Counter(folder.resolve() for folder in folders)
    for folder, times in seen.items():
        if times > 1:
            raise InputError(
                "a run is given more than once, which would make it several seeds",
                got=folder,
                expected="runs with different seeds",
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; write it to a file too, if one is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, help="Markdown file")
    parser.add_argument("--jobs", type=int, help="trials at a time")
    parser.add_argument("--sizes", nargs="+", type=float, default=Plan.sizes)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--temperatures", nargs="+", type=float, default=Plan.temperatures)
    parser.add_argument("--alphas", nargs="+", type=float, default=Plan.alphas)
    given = parser.parse_args(arguments)
    _check_once(given.runs)
    if given.out is not None:
        check_target(given.out, given.runs[0], given.runs[0])
    plan = Plan(given.sizes, given.temperatures, given.alphas, parts=given.parts)
    text = table([measure(Run(folder, given.jobs), plan) for folder in given.runs])
    print(text, flush=True)
    if given.out is not None:
        write_text(given.out, text + "\n")


if __name__ == "__main__":
    with told_in_one_message():
        main()
