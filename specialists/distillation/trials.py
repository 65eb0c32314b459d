"""The recipes among which validation chooses.

Soft targets are tried at each temperature T and weight alpha of a small grid; students without
them at as many learning rates and label smoothings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from specialists.config import Recipe, StudentConfig
from specialists.distillation.terms import SoftTargets, read_terms
from specialists.training import FitResult

HARD_RATES = (1.0, 0.5, 2.0, 0.7, 1.4, 0.25, 4.0, 0.35, 2.8)
HARD_TRIALS = tuple(itertools.product(HARD_RATES, (0.0, 0.1, 0.2)))  # MOST_TRIALS of the config


def soft_trials(settings: StudentConfig) -> list[tuple[float, float | None]]:
    """Temperature and weight of the soft targets in each trial; one trial where terms are given.

    Then the temperature is that of the terms' soft targets, and the weights stand in the terms.
    """
    if not settings.terms:
        return list(itertools.product(settings.temperatures, settings.alphas))
    terms = read_terms(settings.terms)
    soft = (term.temperature for term in terms if isinstance(term, SoftTargets))
    return [(next(soft, 1.0), None)]


def changed_recipe(
    recipe: Recipe, *, rate: float = 1.0, smoothing: float | None = None, passes: float = 1.0
) -> Recipe:
    """A resolved recipe at ``rate`` times its learning rates, for ``passes`` times its epochs.

    Patience, which is counted in epochs, changes alike. ``smoothing`` replaces its label smoothing.
    """
    changes: dict[str, Any] = {
        name: rate * value
        for name in ("learning_rate", "embedding_learning_rate")
        if (value := getattr(recipe, name)) is not None
    }
    if smoothing is not None:
        changes["label_smoothing"] = smoothing
    if passes != 1:
        changes["epochs"] = max(1, round(passes * (recipe.epochs or 1)))
        if recipe.patience is not None:
            changes["patience"] = math.ceil(passes * recipe.patience)
    return recipe.model_copy(update=changes)


def best_trial(results: Sequence[FitResult], among: Sequence[int]) -> int:
    """The index with the highest validation top-1; of several, the one with the least loss."""
    return max(among, key=lambda i: (results[i].top1, -results[i].loss))
