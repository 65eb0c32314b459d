"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone."""

from __future__ import annotations

from .context import RunContext
from .runs import Run
from .soft_targets import STAGE, write_soft_targets
from .student_training import spec_of_size, student_tasks, train_and_choose
from .terminal import log


def execute(run: Run) -> None:
    """Store soft targets, train a student of each temperature and weight, keep the best."""
    context = RunContext.open(run.folder)
    write_soft_targets(context)
    if context.config.student.teacher == "live" and context.augment is None:
        log.info(f"{STAGE}: a live teacher says what is stored, since data.augment is off")
    train_and_choose(context, student_tasks(context, spec_of_size(context)), run.jobs)
