"""Covariance of predictions, streaming: exact, or sketched for very many classes."""

from specialists.covariance.sketched import PredictionSketch
from specialists.covariance.streaming import PredictionCovariance, confusion_mass, normalised

__all__ = ["PredictionCovariance", "PredictionSketch", "confusion_mass", "normalised"]
