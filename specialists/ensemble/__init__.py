"""Active specialists per example, the rule that joins them, and what they predict."""

from specialists.ensemble.candidates import (
    Candidate,
    Votes,
    affordable,
    choose,
    deferral_limit,
    judge_candidates,
    score,
)
from specialists.ensemble.gate import Decision, admitted_in_words, pass_gate
from specialists.ensemble.members import Ensemble
from specialists.ensemble.rules import PAPER, Rule, active_specialists, confidence, join, mean_flops
from specialists.ensemble.selection import (
    combine_predictions,
    cost_sample,
    ensemble_outputs,
    gather_votes,
)

__all__ = [
    "PAPER",
    "Candidate",
    "Decision",
    "Ensemble",
    "Rule",
    "Votes",
    "active_specialists",
    "admitted_in_words",
    "affordable",
    "choose",
    "combine_predictions",
    "confidence",
    "cost_sample",
    "deferral_limit",
    "ensemble_outputs",
    "gather_votes",
    "join",
    "judge_candidates",
    "mean_flops",
    "pass_gate",
    "score",
]
