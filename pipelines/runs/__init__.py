"""A run's folder: its settings and lock, resumable results, and whether they still stand."""

from .folder import Run, claimed, refuse_missing
from .units import attempt, build_unit, end_attempt, is_same_attempt
from .verification import check_result, does_not_stand

__all__ = [
    "Run",
    "attempt",
    "build_unit",
    "check_result",
    "claimed",
    "does_not_stand",
    "end_attempt",
    "is_same_attempt",
    "refuse_missing",
]
