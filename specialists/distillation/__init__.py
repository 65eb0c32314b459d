"""Soft targets in, one compact student out."""

from specialists.distillation.live import LiveTeacher
from specialists.distillation.students import (
    best_trial,
    distill_student,
    model_outputs,
    student_outputs,
    train_student,
    train_students,
)
from specialists.distillation.targets import (
    SelectedRows,
    generalist_targets,
    labelled_rows,
    student_examples,
    write_soft_targets,
)
from specialists.distillation.tasks import (
    HARD_RATES,
    HARD_TRIALS,
    STAGE,
    STUDENTS,
    StudentTask,
    changed_recipe,
    student_spec,
    student_tasks,
)

__all__ = [
    "HARD_RATES",
    "HARD_TRIALS",
    "STAGE",
    "STUDENTS",
    "LiveTeacher",
    "SelectedRows",
    "StudentTask",
    "best_trial",
    "changed_recipe",
    "distill_student",
    "generalist_targets",
    "labelled_rows",
    "model_outputs",
    "student_examples",
    "student_outputs",
    "student_spec",
    "student_tasks",
    "train_student",
    "train_students",
    "write_soft_targets",
]
