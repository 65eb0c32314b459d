"""Which specialists are asked, the rule that combines them, and the ensemble that predicts."""

from specialists.ensemble.admission import KeptRows, admit_specialists
from specialists.ensemble.candidates import score_rules
from specialists.ensemble.choice import Choice, choose_rule
from specialists.ensemble.decision import AdmissionDecision, admitted_in_words
from specialists.ensemble.judging import (
    Candidate,
    affordable,
    choose,
    log_likelihood,
    score,
)
from specialists.ensemble.member_predictions import MemberPredictions
from specialists.ensemble.members import Ensemble, cost_sample
from specialists.ensemble.rules import PAPER, CombinationRule, active_specialists, join
from specialists.ensemble.shared_members import SharedMembers, SharedRule

__all__ = [
    "PAPER",
    "AdmissionDecision",
    "Candidate",
    "Choice",
    "CombinationRule",
    "Ensemble",
    "KeptRows",
    "MemberPredictions",
    "SharedMembers",
    "SharedRule",
    "active_specialists",
    "admit_specialists",
    "admitted_in_words",
    "affordable",
    "choose",
    "choose_rule",
    "cost_sample",
    "join",
    "log_likelihood",
    "score",
    "score_rules",
]
