"""A teacher's soft targets in, one compact student out."""

from specialists.distillation.missing_classes import MissingClassBias, fit_missing_bias
from specialists.distillation.sizes import student_spec
from specialists.distillation.sparse_losses import (
    CellDistillationLoss,
    DrawnDistillationLoss,
    cross_entropy_to_draws,
    kl_to_cells,
)
from specialists.distillation.stores import (
    SparseTargets,
    read_draws,
    read_top,
    write_draws,
    write_top,
)
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
    "CellDistillationLoss",
    "DrawnDistillationLoss",
    "MissingClassBias",
    "OnlineTeacher",
    "SparseTargets",
    "Teacher",
    "best_trial",
    "changed_recipe",
    "cross_entropy_to_draws",
    "distil",
    "fit_missing_bias",
    "kl_to_cells",
    "labelled_rows",
    "read_draws",
    "read_top",
    "student_examples",
    "student_spec",
    "teacher_blocks",
    "teacher_predictions",
    "write_draws",
    "write_top",
]
