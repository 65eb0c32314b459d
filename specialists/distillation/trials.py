"""The recipes among which validation chooses.

Soft targets are tried at each temperature T and weight alpha of a small grid, or in what a search
names; students without them at as many learning rates and label smoothings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from specialists.config import Recipe, StudentConfig, student_candidates
from specialists.distillation.terms import SoftTargets, read_terms
from specialists.errors import InputError

Changed = TypeVar("Changed", bound=Recipe)

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


def store_temperatures(settings: StudentConfig, seed: int) -> tuple[float, ...]:
    """The temperatures at which candidates take stored soft targets, each once."""
    trials = (soft_trials(each)[0] for each in student_candidates(settings, seed))
    return tuple(dict.fromkeys(temperature for temperature, _ in trials))


def hard_trials(candidates: Sequence[StudentConfig], passes: float = 1.0) -> list[StudentConfig]:
    """A recipe without soft targets for each candidate, all different.

    Candidates with one recipe, which only differ in their soft targets, give way to the first of
    ``HARD_TRIALS``: they keep its epochs and the rest. ``passes`` multiplies the epochs.

    Raises an InputError if there are too many of them.
    """
    left: dict[str, Any] = {}
    taken: set[str] = set()
    recipes = []
    for candidate in candidates:
        trials = left.setdefault(_recipe_key(candidate), iter(HARD_TRIALS))
        for rate, smoothing in trials:
            recipe = changed_recipe(candidate, rate=rate, smoothing=smoothing, passes=passes)
            if (key := _recipe_key(recipe)) not in taken:
                break
        else:
            raise InputError(
                "hard labels cannot be tuned by as many trials as soft targets",
                got=f"{len(candidates)} candidates that differ by little but their soft targets",
                expected=f"at most {len(HARD_TRIALS)} for each learning rate and number of epochs",
                fix="--set student.tuning.candidates to fewer",
            )
        taken.add(key)
        recipes.append(recipe)
    return recipes


def _recipe_key(recipe: Recipe) -> str:
    return recipe.model_dump_json(include=set(Recipe.model_fields))


def changed_recipe(
    recipe: Changed, *, rate: float = 1.0, smoothing: float | None = None, passes: float = 1.0
) -> Changed:
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
