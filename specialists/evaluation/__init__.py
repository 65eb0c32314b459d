"""How good are the models on data that nothing was fitted to, and what explains it?

``evaluate`` gives the content of ``evaluation.json``, ``details`` what the report adds, both pure
functions of predictions and labels.
"""

from specialists.evaluation.comparison import evaluate, score_models
from specialists.evaluation.details import details
from specialists.evaluation.scores import Scores

__all__ = ["Scores", "details", "evaluate", "score_models"]
