"""Generalist and specialists -> ``RUN/combine-predictions``: one distribution an example."""

from __future__ import annotations

from specialists.runs import Run

from .checks import check_run
from .stage import Stage


def execute(run: Run) -> None:
    """Choose the combination on validation data; combine validation and test predictions."""
    from specialists.ensemble import combine_predictions

    combine_predictions(run)


STAGE = Stage(
    name="combine-predictions",
    sections=("seed", "device", "precision", "data", "generalist", "specialists", "combination"),
    inputs=(
        "prepare-data/dataset.json",
        "prepare-data/validation.*",
        "prepare-data/gate.*",
        "prepare-data/test.inputs*",
        "train-generalist/*",
        "cluster-classes/clusters.json",
        "cluster-classes/costs.json",
        "train-specialists/specialist-*/*",
        "train-specialists/independent-*/*",
    ),
    execute=execute,
    check=check_run,
)
