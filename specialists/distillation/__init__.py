"""A teacher's soft targets in, one compact student out."""

from specialists.distillation.by_terms import needs_network
from specialists.distillation.halving import Rung, best_first, halving_rungs, rungs_of
from specialists.distillation.missing_classes import MissingClassBias, fit_missing_bias
from specialists.distillation.objective import Objective
from specialists.distillation.raised_classes import with_raised_classes
from specialists.distillation.replayed_views import ReplayedViews
from specialists.distillation.schemes import (
    OFFLINE,
    Scheme,
    SchemeData,
    born_again,
    mutual,
    usual_terms,
    with_exits,
)
from specialists.distillation.several_teachers import JoinedTeachers, NamedTeacher
from specialists.distillation.sizes import student_spec
from specialists.distillation.sparse_losses import (
    CellDistillationLoss,
    DrawnDistillationLoss,
    cross_entropy_to_draws,
    kl_to_cells,
)
from specialists.distillation.stores import (
    SparseTargets,
    bytes_of_sparse,
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
from specialists.distillation.terms import TERMS, read_terms
from specialists.distillation.trials import (
    HARD_RATES,
    HARD_TRIALS,
    changed_recipe,
    hard_trials,
    soft_trials,
    store_temperatures,
)

__all__ = [
    "HARD_RATES",
    "HARD_TRIALS",
    "OFFLINE",
    "TERMS",
    "CellDistillationLoss",
    "DrawnDistillationLoss",
    "JoinedTeachers",
    "MissingClassBias",
    "NamedTeacher",
    "Objective",
    "OnlineTeacher",
    "ReplayedViews",
    "Rung",
    "Scheme",
    "SchemeData",
    "SparseTargets",
    "Teacher",
    "best_first",
    "born_again",
    "bytes_of_sparse",
    "changed_recipe",
    "cross_entropy_to_draws",
    "distil",
    "fit_missing_bias",
    "halving_rungs",
    "hard_trials",
    "kl_to_cells",
    "labelled_rows",
    "mutual",
    "needs_network",
    "read_draws",
    "read_terms",
    "read_top",
    "rungs_of",
    "soft_trials",
    "store_temperatures",
    "student_examples",
    "student_spec",
    "teacher_blocks",
    "teacher_predictions",
    "usual_terms",
    "with_exits",
    "with_raised_classes",
    "write_draws",
    "write_top",
]
