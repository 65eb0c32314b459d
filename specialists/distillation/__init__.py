"""A teacher's soft targets in, one compact student out."""

from specialists.distillation.sizes import student_spec
from specialists.distillation.student_training import distil, student_examples
from specialists.distillation.teachers import (
    OnlineTeacher,
    Teacher,
    labelled_rows,
    teacher_blocks,
    teacher_predictions,
)
from specialists.distillation.trials import HARD_RATES, HARD_TRIALS, best_trial, changed_recipe

__all__ = [
    "HARD_RATES",
    "HARD_TRIALS",
    "OnlineTeacher",
    "Teacher",
    "best_trial",
    "changed_recipe",
    "distil",
    "labelled_rows",
    "student_examples",
    "student_spec",
    "teacher_blocks",
    "teacher_predictions",
]
