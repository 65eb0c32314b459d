"""The real pipeline on very little data, by the command that README.md shows first."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "threads": 1,
    "jobs": 1,
    "data.max_examples": 4000,
    "generalist.epochs": 1,
    "generalist.width": 16,
    "generalist.n_buckets": 4096,
    "clusters.n_clusters": 30,
    "specialists.n_buckets": 4096,
    "student.epochs": 1,
    "student.temperatures": "[1.0]",
    "student.alphas": "[0.7]",
    "evaluation.n_bootstrap": 20,
}
RUN = ["run", *(part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}"))]


def start(arguments: list[str], folder: Path) -> subprocess.Popen:
    """``specialists ARGUMENTS``, started in ``folder``."""
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def specialists(arguments: list[str], folder: Path) -> str:
    """What ``specialists ARGUMENTS`` tells; it must succeed."""
    with start(arguments, folder) as process:
        told, errors = process.communicate()
    assert process.returncode == 0, errors
    return told
