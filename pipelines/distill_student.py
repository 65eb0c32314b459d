"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone."""

from __future__ import annotations

from .checks import check_run
from .runs import Run
from .stage import Stage
from .terminal import log


def execute(run: Run) -> None:
    """Cache soft targets, train a student of each temperature and weight, keep the best."""
    from .context import RunContext
    from .soft_targets import write_soft_targets
    from .student_tasks import spec_of_size, student_tasks
    from .student_training import train_and_choose

    workspace = RunContext.open(run.folder)
    write_soft_targets(workspace)
    if workspace.config.student.teacher == "live" and workspace.augment is None:
        log.info(f"{STAGE.name}: a live teacher says what is stored, since data.augment is off")
    train_and_choose(workspace, student_tasks(workspace, spec_of_size(workspace)), run.jobs)


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
