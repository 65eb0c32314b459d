"""What does the student keep of its ensemble, and what teaches it?

    python -m pipelines.benchmarks.students runs/languages [--out students.md] [--sizes 1 0.25]
        [--temperatures 1 2 4] [--alphas 0.7 1]
    python -m pipelines.benchmarks.students runs/seeds/seed-0 runs/seeds/seed-1 ...

For runs whose combine-predictions is done. Students of the generalist's size, a quarter and a
sixteenth of it learn from hard labels, from smoothed ones, from the generalist and from the
ensemble, which are also asked online about every batch; with all labels, and with a tenth of them:
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
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.distillation import best_first
from specialists.errors import InputError
from specialists.files import read_json, write_text
from specialists.uncertainty import percentile_interval, share_kept

from ..classifiers import Member
from ..context import RunContext
from ..messages import told_in_one_message
from ..predict import check_target
from ..runs import Run
from ..student_search import train_students
from ..student_task import StudentTask
from .markdown_tables import Line, markdown_table
from .measured import Estimate, Measured, MeasuredRun, SeedResults
from .student_trials import PARTS, StudentPlan, StudentRow, check_is_combined, student_trials

TITLE = "## "  # how a page begins


@dataclass(frozen=True)
class Taught:
    """What one run's students did on its test examples.

    ``models`` has the keys "generalist", "ensemble" and every row's slug. A row's ``about`` is the
    settings of its chosen trial.
    """

    dataset: str
    models: dict[str, Measured]
    rows: Mapping[str, StudentRow]  # by their slugs
    refused: bool  # by the admission test, so that the ensemble is its generalist


def measure_students(run: Run, plan: StudentPlan) -> Taught:
    """Train what does not yet stand, choose by validation, and ask the test set once."""
    check_is_combined(run.folder)  # before the lock makes a folder of a mistyped name
    with run.lock():
        trials = student_trials(RunContext.open(run.folder), plan)
        fits = iter(train_students(list(itertools.chain(*trials.values())), run.jobs))
        best = {}
        for row, tasks in trials.items():
            candidates = list(itertools.islice(fits, len(tasks)))
            best[row] = tasks[best_first(candidates)[0]]
        return on_test_set(run, best)


def on_test_set(run: Run, best: Mapping[StudentRow, StudentTask]) -> Taught:
    """The generalist, the ensemble and the chosen trial of each row."""
    seed = MeasuredRun(run)
    models = {name: seed.stored(name) for name in (GENERALIST, ENSEMBLE)}
    for row, task in best.items():
        outputs = Member(seed.context, task.folder).outputs(row.slug, "test")
        models[row.slug] = seed.measured(outputs, _settings(task))
    choice = read_json(run.path("combine-predictions", "choice.json"))
    rows = {row.slug: row for row in best}
    return Taught(
        seed.context.dataset.name, models, rows, choice["admission"]["outcome"] == "refused"
    )


def _settings(task: StudentTask) -> str:
    rate = f"rate {task.recipe.learning_rate:.3g}"
    if task.temperature is not None:
        return f"T {task.temperature:g}, alpha {task.alpha:g}, {rate}"
    smoothing = task.recipe.label_smoothing
    return f"{rate}, smoothing {smoothing:g}" if smoothing else rate


def students_table(runs: Sequence[Taught]) -> str:
    """Markdown: a line for the generalist, the ensemble and every student."""
    if len({(run.dataset, *run.models) for run in runs}) != 1:
        raise InputError("these runs cannot be compared", got="different data sets or students")
    results = SeedResults([run.models for run in runs])
    sizes = ", ".join(f"{len(model.right):,}" for model in results[GENERALIST])
    title = f"{TITLE}{runs[0].dataset}: {len(runs)} run{'s' * (len(runs) > 1)}, {sizes} test rows"
    lines = [_line(results, name, runs[0].rows.get(name)) for name in results.names]
    text = f"{title}\n\n{markdown_table(lines)}"
    refused = sum(run.refused for run in runs)
    if not refused:
        return text
    return (
        f"{text}\n\nIn {refused} of {len(runs)} runs held-out rows kept the specialists out: "
        "there `ensemble` is its generalist."
    )


def _line(results: SeedResults, name: str, row: StudentRow | None) -> Line:
    to_generalist = results.estimate("right", name, GENERALIST)
    return {
        "size": "" if row is None else str(Fraction(row.size).limit_denominator(1000)),
        "taught by": f"`{name}`" if row is None else row.in_words(),
        "parameters": f"{results.mean('parameters', name):,.0f}",
        "top-1, %": _percent(results.estimate("right", name)),
        "- generalist, points": "" if name == GENERALIST else _percent(to_generalist, "+"),
        "retention": "" if row is None else _retention(results, row),
        "chosen": "" if row is None else _chosen(results[name]),
    }


def _percent(estimate: Estimate, sign: str = "") -> str:
    """Mean, spread over several runs, interval."""
    value, *ends = (f"{100 * x:{sign}.2f}" for x in (estimate.value, *estimate.interval))
    several = len(estimate.values) > 1
    spread = f" ± {100 * np.std(estimate.values, ddof=1):.2f}" if several else ""
    return f"{value}{spread} [{', '.join(ends)}]"


def _retention(results: SeedResults, row: StudentRow) -> str:
    """Share of what the ensemble gains over hard labels, or why there is none."""
    hard = row.without_teacher
    if row == hard or hard.slug not in results.names:
        return ""
    gain = results.estimate("right", ENSEMBLE, hard.slug)
    if percentile_interval(gain.drawn)[0] <= 0:
        return f"undefined: ensemble - hard is {_percent(gain, '+')}"
    kept = results.estimate("right", row.slug, hard.slug)
    if percentile_interval(kept.drawn)[0] <= 0:
        return f"nothing clear: it - hard is {_percent(kept, '+')}"
    low, high = percentile_interval(share_kept(kept.drawn, gain.drawn))
    return f"{kept.value / gain.value:.0%} [{low:.0%}, {high:.0%}]"


def _chosen(students: Sequence[Measured]) -> str:
    counts = Counter(student.about for student in students)
    if len(students) == 1:
        return students[0].about
    return "; ".join(f"{words} ({n} of {len(students)})" for words, n in counts.most_common())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; write it to a file too, if one is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, help="Markdown file")
    parser.add_argument("--jobs", type=int, help="trials at a time")
    parser.add_argument("--sizes", nargs="+", type=float, default=StudentPlan.sizes)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--temperatures", nargs="+", type=float, default=StudentPlan.temperatures)
    parser.add_argument("--alphas", nargs="+", type=float, default=StudentPlan.alphas)
    given = parser.parse_args(arguments)
    (folder, times), *_ = Counter(folder.resolve() for folder in given.runs).most_common()
    if times > 1:
        raise InputError(
            "a run is given more than once, which would make it several seeds",
            got=folder,
            expected="runs with different seeds",
        )
    if given.out is not None:
        check_target(given.out, given.runs[0], given.runs[0], (TITLE,))
    plan = StudentPlan(given.sizes, given.temperatures, given.alphas, parts=given.parts)
    text = students_table(
        [measure_students(Run(folder, given.jobs), plan) for folder in given.runs]
    )
    print(text, flush=True)
    if given.out is not None:
        write_text(given.out, text + "\n")


if __name__ == "__main__":
    with told_in_one_message():
        main()
