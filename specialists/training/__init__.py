"""The one training loop."""

from specialists.training.examples import BalancedExamples, Batch, Examples, TensorExamples
from specialists.training.loading import Loader
from specialists.training.loop import FitResult, Hardware, Trainer
from specialists.training.optimisers import Optimisers
from specialists.training.validation import ValidationLoss

__all__ = [
    "BalancedExamples",
    "Batch",
    "Examples",
    "FitResult",
    "Hardware",
    "Loader",
    "Optimisers",
    "TensorExamples",
    "Trainer",
    "ValidationLoss",
]
