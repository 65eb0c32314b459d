"""The terms of which a student's objective is a sum."""

from specialists.distillation.terms.binary import BinaryLabels, BinaryTargets
from specialists.distillation.terms.layers import Attention, Hint
from specialists.distillation.terms.registry import TERMS, read_terms
from specialists.distillation.terms.relations import Angles, Distances, Similarity
from specialists.distillation.terms.response import (
    DecoupledTargets,
    Labels,
    LogitMatching,
    SoftTargets,
    StandardisedTargets,
)
from specialists.distillation.terms.term import BatchView, KeptTargets, Term

__all__ = [
    "TERMS",
    "Angles",
    "Attention",
    "BatchView",
    "BinaryLabels",
    "BinaryTargets",
    "DecoupledTargets",
    "Distances",
    "Hint",
    "KeptTargets",
    "Labels",
    "LogitMatching",
    "Similarity",
    "SoftTargets",
    "StandardisedTargets",
    "Term",
    "read_terms",
]
