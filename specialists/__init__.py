"""Specialist-ensemble distillation of classifiers with many classes.

A generalist's predictions show which classes it confuses; specialists with a dustbin class learn
those subsets; an exact KL-minimising combination joins them; one compact student learns from the
joined predictions. Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network"
(2015). ``load(RUN).predict_proba(x)`` uses a trained model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from specialists.version import __version__

if TYPE_CHECKING:
    from specialists.predictor import Predictor

__all__ = ["__version__", "load"]


def load(path: str | Path, model: str = "student", trust_code: bool = False) -> Predictor:
    """A trained model of a run; see :func:`specialists.predictor.load`."""
    from specialists import predictor

    return predictor.load(path, model, trust_code)
