"""The one training loop."""

from specialists.training.examples import BalancedExamples, Batch, Examples, TensorExamples
from specialists.training.loading import Loader
from specialists.training.loop import Loss, Trainer
from specialists.training.metrics import EpochMetrics, FitResult, logged_seconds
from specialists.training.optimisers import Optimisers
from specialists.training.training_cost import TrainingCost, flops_per_example
from specialists.training.validation import ValidationLoss

__all__ = [
    "BalancedExamples",
    "Batch",
    "EpochMetrics",
    "Examples",
    "FitResult",
    "Loader",
    "Loss",
    "Optimisers",
    "TensorExamples",
    "Trainer",
    "TrainingCost",
    "ValidationLoss",
    "flops_per_example",
    "logged_seconds",
]
