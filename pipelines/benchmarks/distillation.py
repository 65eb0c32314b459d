"""Which method of distillation is worth its cost? All of them, with one student and one budget.

    python -m pipelines.benchmarks.distillation FOLDER FILE.npz [FILE.npz ...] [--seeds 6 ...]
        [--jobs N] [--methods NAME ...] [--dry-run] [--quick]
    python -m pipelines.benchmarks.distillation runs/distillation onet_minilm.npz mnist.npz

Methods: :mod:`pipelines.benchmarks.distillation_methods`; sizes and lengths, by the kind of input:
:mod:`pipelines.benchmarks.distillation_plan`. Every method takes the same number of steps, with the
settings that as many short trials choose for each on validation rows
(:mod:`pipelines.benchmarks.distillation_trials`). Teachers are trained once for each seed. Three
seeds are few: where seeds differ more than rows, tests have two degrees of freedom, and Holm's
procedure multiplies the smallest p by the number of methods.

Each training is a folder in FOLDER/models. What stands is kept, one that was interrupted goes on,
and seeds can be added; ``--seeds 6 3`` gives the first file six and the second three. When all
stand, the page is made again in seconds. ``--dry-run`` times a few steps of each method and says
how long the rest would take; ``--quick`` trains next to nothing, to see that it runs.

The results are FOLDER/distillation.{json,md} and the figure FOLDER/distillation.svg; ``python -m
pipelines.benchmarks.results FOLDER "this command"`` makes a section of data/RESULTS.md of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from specialists.figures import to_svg_file
from specialists.runtime import n_cores
from specialists.runtime.spoken_time import HOUR

from ..messages import told_in_one_message
from ..runs import COMPARISON, locked
from ..terminal import say
from .distillation_costs import StepTimes, planned_seconds, step_seconds
from .distillation_page import DistillationTable, distillation_page, gains_figure
from .distillation_plan import DistillationBench, benches
from .study import positive, write_results

NAME = "distillation"
FIGURE = "What each method of distillation gains over hard labels, with 95% intervals."
TRIED_STEPS = 8


def distillation(folder: Path, works: Sequence[DistillationBench]) -> str:
    """Train and measure what does not stand; writes and returns the page."""
    with locked(folder, COMPARISON):
        tables = []
        for bench in works:
            StepTimes(bench).ensure()
            tuned = bench.make()
            tables.append(DistillationTable.from_bench(tuned, StepTimes(bench).read()))
    record = {table.name: table.to_dict() for table in tables}
    figure = to_svg_file(gains_figure(tables), FIGURE)
    return write_results(folder, NAME, distillation_page(tables), record, figure)


def forecast(works: Sequence[DistillationBench]) -> str:
    """CPU hours of what does not stand, a line for each data set; nothing is written."""
    lines, total = [], 0.0
    for bench in works:
        times = StepTimes(bench).kept() or step_seconds(bench, TRIED_STEPS, n_rounds=1)
        seconds = list(planned_seconds(bench, times))
        total += sum(seconds)
        name = bench.work.data.dataset.name
        lines.append(f"{name}: {len(seconds)} trainings, {sum(seconds) / HOUR:.1f} CPU hours")
    return "\n".join([*lines, f"together: {total / HOUR:.1f} CPU hours"])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command above."""
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.benchmarks.{NAME}")
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.npz")
    parser.add_argument(
        "--seeds", type=positive, nargs="+", default=[6], help="of each file, or all"
    )
    parser.add_argument("--jobs", type=positive, default=n_cores(), help="trainings at a time")
    parser.add_argument("--methods", nargs="+", default=(), help="beside hard labels; all")
    parser.add_argument("--dry-run", action="store_true", help="say how long it takes")
    parser.add_argument("--quick", action="store_true", help="train next to nothing")
    given = parser.parse_intermixed_args(arguments)
    works = benches(given.folder, given.files, given.seeds, given.jobs, given.methods, given.quick)
    say(forecast(works) if given.dry_run else distillation(given.folder, works))


if __name__ == "__main__":
    with told_in_one_message():
        main()
