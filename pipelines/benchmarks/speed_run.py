"""What does a whole run of `languages` with all baselines cost? Lines of the speed benchmark.

An older version, of which a checkout is given, runs the same settings first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from specialists.files import disk_use

from .markdown_tables import Line

COMMAND = "from pipelines.__main__ import main; main()"
QUICK = {
    "data.max_examples": 4000,
    "generalist.epochs": 1,
    "generalist.n_buckets": 4096,
    "specialists.epochs": 1,
    "specialists.n_buckets": 4096,
    "student.epochs": 1,
    "student.temperatures": "[1.0]",
    "student.alphas": "[1.0]",
    "clusters.n_clusters": 3,
    "clusters.coverage": 1,
    "evaluation.n_bootstrap": 20,
}
ALL_BASELINES = '["generalist_continued", "generalist_wide", "generalist_ensemble"]'


@dataclass(frozen=True)
class RunCost:
    """Seconds of the processor, peak memory of one process in bytes, bytes on the disk."""

    seconds: float
    memory: int
    disk: int
    verdict: str


def whole_run(quick: bool, before: Path | None = None) -> list[Line]:
    """A line a version, and their ratios."""
    checkouts = {"before": before, "after": Path(__file__).parents[2]}
    costs = {name: _cost(path, quick) for name, path in checkouts.items() if path is not None}
    lines = [_line(name, cost) for name, cost in costs.items()]
    if before is not None:
        old, new = costs["before"], costs["after"]
        ratios = (old.seconds / new.seconds, old.memory / new.memory, old.disk / new.disk)
        cells = ["ratio", *(f"{ratio:.2f}" for ratio in ratios), ""]
        lines.append(dict(zip(lines[0], cells, strict=True)))
    return lines


def _line(name: str, cost: RunCost) -> Line:
    return {
        "languages, all baselines": name,
        "CPU minutes": f"{cost.seconds / 60:.1f}",
        "peak memory of a process, MB": f"{cost.memory / 1e6:,.0f}",
        "disk, MB": f"{cost.disk / 1e6:,.0f}",
        "verdict": cost.verdict,
    }


def _cost(checkout: Path, quick: bool) -> RunCost:
    settings = {"evaluation.baselines": ALL_BASELINES, **(QUICK if quick else {})}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        command = [sys.executable, "-c", COMMAND, "run", "languages", "--out", str(run), *options]
        paths = os.pathsep.join([str(checkout), *filter(None, sys.path)])
        with subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            told = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise RuntimeError(f"the run of {checkout} failed:\n{told[-2000:]}")
        verdict = told.partition("The report: ")[2].splitlines()[1].partition(":")[0]
        seconds = used.ru_utime + used.ru_stime
        return RunCost(seconds, 1024 * used.ru_maxrss, disk_use(run), verdict)
