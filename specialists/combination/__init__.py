"""How do a generalist and its specialists become one distribution?

:func:`combine` is the exact minimiser of the paper's objective, :func:`combine_sparse` the same for
so many classes that no row lists them all, and :func:`gradient_descent` the paper's own method.
With :func:`fit_combination` validation data choose its weights and temperatures.
Rules without an objective stand beside them: :func:`side_by_side` and :func:`within_subsets` for
specialists, :func:`arithmetic_mean` and :func:`geometric_mean` for several generalists.
"""

from specialists.combination.gradient import gradient_descent
from specialists.combination.learned import LearnedCombination, cross_fitted, fit_combination
from specialists.combination.minimiser import combine
from specialists.combination.pooling import (
    arithmetic_mean,
    geometric_mean,
    side_by_side,
    within_subsets,
)
from specialists.combination.solution import Combination
from specialists.combination.sparse import SparseCombination, combine_sparse
from specialists.combination.subsets import Subsets

__all__ = [
    "Combination",
    "LearnedCombination",
    "SparseCombination",
    "Subsets",
    "arithmetic_mean",
    "combine",
    "combine_sparse",
    "cross_fitted",
    "fit_combination",
    "geometric_mean",
    "gradient_descent",
    "side_by_side",
    "within_subsets",
]
