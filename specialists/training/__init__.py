"""The one training loop."""

from specialists.training.examples import BalancedExamples, Batch, TensorExamples
from specialists.training.loop import Loss, Trainer
from specialists.training.metrics import FitResult, logged_seconds
from specialists.training.training_cost import TrainingCost, flops_per_example
from specialists.training.validation import ValidationLoss

__all__ = [
    "BalancedExamples",
    "Batch",
    "FitResult",
    "Loss",
    "TensorExamples",
    "Trainer",
    "TrainingCost",
    "ValidationLoss",
    "flops_per_example",
    "logged_seconds",
]
