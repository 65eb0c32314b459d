"""What else the same computing could have bought: the baselines of an ensemble of specialists."""

from specialists.baselines.averages import (
    AverageCandidate,
    AveragingRule,
    averaged,
    everywhere,
    judge_averages,
)
from specialists.baselines.matching import (
    SAME_COST,
    SCHEDULES,
    Budget,
    choose_averages,
    head_share,
    widened,
)

__all__ = [
    "SAME_COST",
    "SCHEDULES",
    "AverageCandidate",
    "AveragingRule",
    "Budget",
    "averaged",
    "choose_averages",
    "everywhere",
    "head_share",
    "judge_averages",
    "widened",
]
