"""Data from any source -> ``RUN/prepare-data``: splits, class names, encoded inputs."""

from __future__ import annotations

from pipelines.stage import Stage
from specialists.runs import Run


def execute(run: Run) -> None:
    """Load, split and encode the data set."""
    from specialists.datasets import prepare

    prepare(run)


STAGE = Stage(
    name="prepare-data",
    sections=("seed", "data"),
    inputs=(),
    execute=execute,
    files=("data.table", "data.arrays", "data.images"),
)
