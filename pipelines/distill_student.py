"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone."""

from __future__ import annotations

from specialists.runs import Run

from .checks import check_run
from .stage import Stage


def execute(run: Run) -> None:
    """Cache soft targets, train a student of each temperature and weight, keep the best."""
    from specialists.distillation import distill_student

    distill_student(run)


STAGE = Stage(
    name="distill-student",
    sections=("seed", "device", "precision", "data", "generalist", "specialists", "student"),
    inputs=(
        "prepare-data/dataset.json",
        "prepare-data/train.*",
        "prepare-data/validation.*",
        "train-generalist/*",
        "cluster-classes/clusters.json",
        "train-specialists/specialist-*/*",
        "combine-predictions/choice.json",
        "combine-predictions/validation.*",
    ),
    execute=execute,
    check=check_run,
    files=("student.unlabelled",),
)
