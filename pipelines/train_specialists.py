"""Generalist and clusters -> ``RUN/train-specialists``: one small model a cluster, calibrated."""

from __future__ import annotations

from .checks import check_run
from .runs import Run
from .stage import Stage


def execute(run: Run) -> None:
    """Train what is missing of the specialists, several at a time."""
    from .specialist_tasks import train_specialists

    train_specialists(run)


STAGE = Stage(
    name="train-specialists",
    sections=("seed", "device", "precision", "data", "generalist", "specialists"),
    inputs=(
        "prepare-data/dataset.json",
        "prepare-data/train.*",
        "prepare-data/validation.*",
        "train-generalist/*",
        "cluster-classes/clusters.json",
    ),
    execute=execute,
    check=check_run,
)
