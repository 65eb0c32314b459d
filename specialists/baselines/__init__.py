"""What else the same computing could have bought: the fair rivals of an ensemble of specialists."""

from specialists.baselines.averages import (
    AveragingRule,
    averaged,
    deferring_rules,
    everywhere,
    judge_averages,
)
from specialists.baselines.budget import SAME_COST, Budget, budget_of
from specialists.baselines.outputs import (
    DEFERRED,
    SAME_INFERENCE,
    Member,
    baseline_outputs,
    best_schedule,
)
from specialists.baselines.trainings import AVERAGED, CONTINUED, WIDE, baseline_tasks, wide_spec

TRAINED = (CONTINUED, WIDE, AVERAGED)  # the others are made of some of their members
BASELINES = (*TRAINED, SAME_INFERENCE, DEFERRED)

__all__ = [
    "AVERAGED",
    "BASELINES",
    "CONTINUED",
    "DEFERRED",
    "SAME_COST",
    "SAME_INFERENCE",
    "TRAINED",
    "WIDE",
    "AveragingRule",
    "Budget",
    "Member",
    "averaged",
    "baseline_outputs",
    "baseline_tasks",
    "best_schedule",
    "budget_of",
    "deferring_rules",
    "everywhere",
    "judge_averages",
    "wide_spec",
]
