"""Training data -> ``RUN/train-generalist``: the model of all classes, calibrated."""

from __future__ import annotations

from .checks import check_run
from .runs import Run
from .stage import Stage


def execute(run: Run) -> None:
    """Train a generalist of each candidate width and keep the best, or take the user's own."""
    from .generalists import train_generalist

    train_generalist(run)


STAGE = Stage(
    name="train-generalist",
    sections=("seed", "device", "precision", "data", "generalist"),
    inputs=("prepare-data/dataset.json", "prepare-data/train.*", "prepare-data/validation.*"),
    execute=execute,
    check=check_run,
    files=("generalist.weights", "generalist.classes", "generalist.factory"),
)
