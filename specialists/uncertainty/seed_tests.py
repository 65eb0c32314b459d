"""Which of many models differ, if seeds and test examples are drawn, and what rank has each?

A test of two models over several seeds has to know two variances: that of the seeds, of which there
are few, and that of the groups of test examples, of which there are many. They are added, with the
degrees of freedom that such a sum has, METHOD.md (45). Noise of examples that differs from seed to
seed counts twice, as in :mod:`specialists.uncertainty.seed_bootstrap`: p-values are rather too
large.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.errors import InputError
from specialists.uncertainty.bootstrap import mean_and_error
from specialists.uncertainty.paired_tests import holm


def seed_and_group_test(
    differences: Sequence[ArrayLike],
    shared: bool,
    groups: Sequence[ArrayLike | None] | None = None,
) -> float:
    """The two-sided p that a difference is 0, over K seeds and groups of examples.

    With d the mean over seeds, W the variance of the seeds' means, V that of d over groups
    (:func:`specialists.uncertainty.t_interval`) and f its degrees of freedom,

        t = d / sqrt(W / K + V),    (W / K + V)^2 / ((W / K)^2 / (K - 1) + V^2 / f)  of freedom

    (Satterthwaite 1946, "An Approximate Distribution of Estimates of Variance Components"). Of one
    seed V stands alone. Where seeds have examples of their own, V is the sum of a V_s of each, and
    sum of V_s^2 / f_s stands for V^2 / f.

    Parameters
    ----------
    differences : sequence of K arrays of shape (n,)
        Score of one model less that of the other, of each test example, for each seed.
    shared : bool
        Whether the seeds have the same examples.
    groups : sequence of int arrays of shape (n,), optional
        A seed's groups of examples, or None where each example is one.

    Raises
    ------
    InputError
        If there is one group of examples alone, which tells nothing of their variance.

    Examples
    --------
    >>> same = [[1.0, 0.0, 2.0, 1.0]] * 2  # the seeds agree: it is the t-test over examples
    >>> round(seed_and_group_test(same, shared=True), 4)
    0.0917
    """
    from scipy import stats

    units = [None] * len(differences) if groups is None else list(groups)
    rows = [np.asarray(each, dtype=np.float64) for each in differences]
    n_seeds = len(rows)
    seeds = np.array([each.mean() for each in rows])
    if shared:
        rows, units = [np.mean(rows, axis=0)], units[:1]
    errors = [mean_and_error(each, own)[1:] for each, own in zip(rows, units, strict=True)]
    if any(k == 1 for _, k in errors):
        raise InputError("one group of examples tells nothing of their variance", got="one group")
    shares = [(error / len(errors)) ** 2 for error, _ in errors]
    of_rows = sum(shares)
    of_seeds = float(seeds.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    variance, gap = of_rows + of_seeds, float(seeds.mean())
    if variance == 0.0:
        return 0.0 if gap else 1.0
    parts = sum(share**2 / (k - 1) for share, (_, k) in zip(shares, errors, strict=True))
    parts += of_seeds**2 / max(1, n_seeds - 1)
    return float(2 * stats.t.sf(abs(gap) / np.sqrt(variance), variance**2 / parts))


def rank_ranges(
    means: ArrayLike, p_values: ArrayLike, level: float = 0.05
) -> list[tuple[int, int]]:
    """The ranks that each of m models may have, the largest mean first.

    A model is clearly better than another if the p-value of the pair, corrected for all pairs by
    :func:`holm`, is at most ``level``. The best rank is 1 plus the number of clearly better ones,
    the worst is m less the number of those that it is clearly better than. The ranges hold all true
    ranks at once with probability 1 - ``level`` (Mogstad et al. 2024, "Inference for Ranks with
    Applications to Mobility across Neighbourhoods and Academic Achievement across Countries").

    Parameters
    ----------
    means : array of shape (m,)
    p_values : array of shape (m, m)
        Uncorrected, of each pair; those above the diagonal count.

    Examples
    --------
    >>> p = [[1.0, 0.2, 0.001], [0.2, 1.0, 0.04], [0.001, 0.04, 1.0]]
    >>> rank_ranges([0.7, 0.6, 0.4], p)
    [(1, 2), (1, 3), (2, 3)]
    """
    means = np.asarray(means, dtype=np.float64)
    better = _clearly_above(means, np.asarray(p_values, dtype=np.float64), level)
    best, worst = 1 + better.sum(0), len(means) - better.sum(1)
    return list(zip(best.tolist(), worst.tolist(), strict=True))


def _clearly_above(
    means: NDArray[np.float64], p_values: NDArray[np.float64], level: float
) -> NDArray[np.bool_]:
    """[i, j]: whether model i is clearly better than model j."""
    above = np.triu_indices(len(means), 1)
    clear = np.zeros(p_values.shape, dtype=bool)
    clear[above] = np.asarray(holm(p_values[above].tolist())) <= level
    return (clear | clear.T) & (means[:, None] > means)
