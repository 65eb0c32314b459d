"""Which model should be used?

Alternatives to the generalist are the ensemble, what the same computing could have bought (training
longer, going wider, averaging generalists), the student, and its network with hard labels. One of
them counts as clearly better if its interval of the difference lies above 0, at the level that is
corrected for their number. Recommended is the cheapest in inference of those that are not clearly
worse than the best; of equal costs the simplest.
"""

from __future__ import annotations

from specialists.baselines import SAME_COST
from specialists.catalogue import BY_SIMPLICITY, ENSEMBLE, GENERALIST, STUDENT
from specialists.evaluation import Comparison


def alternatives(comparison: Comparison) -> list[str]:
    """The models that were tried beside the generalist, without specialists that stay out."""
    tried = [name for name in BY_SIMPLICITY if name in comparison.models]
    return [name for name in tried if name != ENSEMBLE or not comparison.is_refused]


def recommended(comparison: Comparison) -> str | None:
    """The model to use; None: the generalist, since nothing is clearly better.

    Of equal costs, too, only those count that are not clearly worse than the best of these.
    """
    clear = [name for name in alternatives(comparison) if comparison.is_clear(name, GENERALIST)]
    if not clear:
        return None
    good = _not_clearly_worse(comparison, clear)
    costs = {name: comparison.models[name].inference_flops for name in good}
    limit = SAME_COST * min(costs.values())
    cheapest = [name for name in good if costs[name] <= limit]
    return min(_not_clearly_worse(comparison, cheapest), key=BY_SIMPLICITY.index)


def _not_clearly_worse(comparison: Comparison, names: list[str]) -> list[str]:
    """The best by its gain, and those that it does not clearly beat."""
    best = max(names, key=lambda name: comparison.gain(name).value)
    return [name for name in names if name == best or not comparison.is_clear(best, name)]


def largest_gain(comparison: Comparison, than: str | None) -> str | None:
    """The model with the largest gain; beside a model ``than``, if it gains more for no more.

    Beside one, ensemble and student, which are always named, do not count.
    """
    names, least = alternatives(comparison), 0.0
    if than is not None:
        least = comparison.gain(than).value
        limit = SAME_COST * comparison.models[than].inference_flops
        names = [
            name
            for name in names
            if name not in (ENSEMBLE, STUDENT) and comparison.models[name].inference_flops <= limit
        ]
    gains = {name: comparison.gain(name).value for name in names}
    larger = [name for name in names if gains[name] > least]
    return max(larger, key=gains.__getitem__, default=None)
