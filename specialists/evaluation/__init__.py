"""How good are the models on data that nothing was fitted to, and what explains it?

``evaluate`` gives the content of ``evaluation.json`` and ``details`` what the report adds, both
pure functions of predictions and labels; ``evaluate_models`` applies them to a run, and
``compare_seeds`` joins the evaluations of several runs.
"""

from specialists.evaluation.artifacts import evaluate_models
from specialists.evaluation.comparison import evaluate, score_models
from specialists.evaluation.details import details
from specialists.evaluation.scores import Scores
from specialists.evaluation.seeds import SeedScores, compare_seeds

__all__ = [
    "Scores",
    "SeedScores",
    "compare_seeds",
    "details",
    "evaluate",
    "evaluate_models",
    "score_models",
]
