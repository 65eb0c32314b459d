"""How good are the models on data that nothing was fitted to, and what explains it?

``evaluate`` measures models and ``details`` adds what a report shows, both pure functions of
predictions and labels; ``compare_seeds`` joins the evaluations of several runs.
``knowledge_transfer`` says what of a teacher got across to its students.
"""

from specialists.evaluation.details import Details, details
from specialists.evaluation.findings import Difference, Evaluation, ModelScores
from specialists.evaluation.inference_times import (
    InferenceTimes,
    Milliseconds,
    mean_times,
    measure_times,
)
from specialists.evaluation.knowledge_transfer import ProbedRows, knowledge_transfer
from specialists.evaluation.one_run import evaluate, score_models
from specialists.evaluation.searches import TunedCandidate
from specialists.evaluation.several_seeds import Comparison, ModelSummary, SeedScores, compare_seeds
from specialists.evaluation.shared_gains import shared_gains
from specialists.evaluation.transferred import ClassTransfer, ModelTransfer, Transfer

__all__ = [
    "ClassTransfer",
    "Comparison",
    "Details",
    "Difference",
    "Evaluation",
    "InferenceTimes",
    "Milliseconds",
    "ModelScores",
    "ModelSummary",
    "ModelTransfer",
    "ProbedRows",
    "SeedScores",
    "Transfer",
    "TunedCandidate",
    "compare_seeds",
    "details",
    "evaluate",
    "knowledge_transfer",
    "mean_times",
    "measure_times",
    "score_models",
    "shared_gains",
]
