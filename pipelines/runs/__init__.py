"""A run's folder: its settings and lock, resumable results, and whether they still stand."""

from .cleaning import forget_removed, remove_for_good
from .folder import Run, check_folder_of, claimed, locked, refuse_missing
from .folder_kinds import (
    COMPARISON,
    QUICK_REPRODUCTION,
    REPRODUCTION,
    RUN,
    belongs_to_result,
    check_claimable,
    how_to_have_a_run,
    kind_of,
)
from .removal import (
    clear,
    missing_folders,
    remove_leftovers,
    result_files,
    withdrawn_if_refused,
)
from .resumable import attempt, end_attempt, ensure_result, is_same_attempt, reopen, stands
from .verification import check_result, does_not_stand

__all__ = [
    "COMPARISON",
    "QUICK_REPRODUCTION",
    "REPRODUCTION",
    "RUN",
    "Run",
    "attempt",
    "belongs_to_result",
    "check_claimable",
    "check_folder_of",
    "check_result",
    "claimed",
    "clear",
    "does_not_stand",
    "end_attempt",
    "ensure_result",
    "forget_removed",
    "how_to_have_a_run",
    "is_same_attempt",
    "kind_of",
    "locked",
    "missing_folders",
    "refuse_missing",
    "remove_for_good",
    "remove_leftovers",
    "reopen",
    "result_files",
    "stands",
    "withdrawn_if_refused",
]
