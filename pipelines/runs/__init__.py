"""A run's folder: its settings and lock, resumable results, and whether they still stand."""

from .folder import Run, claimed, refuse_missing
from .resumable import attempt, end_attempt, ensure_result, is_same_attempt
from .verification import check_result, does_not_stand

__all__ = [
    "Run",
    "attempt",
    "check_result",
    "claimed",
    "does_not_stand",
    "end_attempt",
    "ensure_result",
    "is_same_attempt",
    "refuse_missing",
]
