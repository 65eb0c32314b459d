"""How do a generalist and its specialists become one distribution?

:func:`combine` is the exact minimiser of the paper's objective, :func:`combine_sparse` the same for
so many classes that no row lists them all, :func:`combine_shortlists` that of the other direction
where each row has a subset of its own. With :func:`fit_combination` validation data choose its
weights and temperatures, with :func:`fit_dustbin` what dustbins say on the rows where specialists
are asked. Rules without an objective stand beside them: :func:`concatenate_subsets`
and :func:`within_subsets` for specialists, :func:`arithmetic_mean` and :func:`geometric_mean` for
several generalists.
"""

from specialists.combination.learned.asked_dustbins import (
    FittedDustbin,
    cross_fitted_dustbins,
    fit_dustbin,
)
from specialists.combination.learned.fitting import (
    LearnedCombination,
    cross_fitted,
    fit_combination,
)
from specialists.combination.minimiser import combine
from specialists.combination.pooling import (
    arithmetic_mean,
    concatenate_subsets,
    geometric_mean,
    within_subsets,
)
from specialists.combination.result import Combination
from specialists.combination.shortlisted import combine_shortlists
from specialists.combination.sparse.sparse_minimiser import SparseCombination, combine_sparse
from specialists.combination.subset_tables import Subsets

__all__ = [
    "Combination",
    "FittedDustbin",
    "LearnedCombination",
    "SparseCombination",
    "Subsets",
    "arithmetic_mean",
    "combine",
    "combine_shortlists",
    "combine_sparse",
    "concatenate_subsets",
    "cross_fitted",
    "cross_fitted_dustbins",
    "fit_combination",
    "fit_dustbin",
    "geometric_mean",
    "within_subsets",
]
