"""A teacher's soft targets in, one compact student out."""

from specialists.distillation.sizes import student_spec
from specialists.distillation.students import Student, best_trial, distil, student_examples
from specialists.distillation.teachers import (
    OnlineTeacher,
    SelectedRows,
    Teacher,
    labelled_rows,
    teacher_blocks,
    teacher_log_probs,
)
from specialists.distillation.trials import HARD_RATES, HARD_TRIALS, changed_recipe

__all__ = [
    "HARD_RATES",
    "HARD_TRIALS",
    "OnlineTeacher",
    "SelectedRows",
    "Student",
    "Teacher",
    "best_trial",
    "changed_recipe",
    "distil",
    "labelled_rows",
    "student_examples",
    "student_spec",
    "teacher_blocks",
    "teacher_log_probs",
]
