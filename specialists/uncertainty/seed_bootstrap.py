"""Bootstrap over seeds and test examples.

Over several seeds the bootstrap has two levels: seeds are drawn with replacement, and so are groups
of test examples. Seeds with the same test examples share one draw of them; seeds that split the
data anew have a draw each (:func:`means_over_seeds`, :func:`drawn_over_seeds`). The levels are
drawn apart and not one inside the other: a seed's mean already holds noise of its examples, which
would otherwise count again (Davison and Hinkley 1997, "Bootstrap Methods and their Application",
section 3.8 on hierarchical resampling). Noise of examples that differs from seed to seed still
counts twice, so that intervals are rather too wide; noise that all seeds share counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.uncertainty.bootstrap import bootstrap_means


def means_over_seeds(
    tables: Sequence[ArrayLike],
    shared: bool,
    n_resamples: int = 1000,
    groups: Sequence[ArrayLike | None] | None = None,
) -> NDArray[np.float64]:
    """Mean over seeds of every column, in each resample of the examples alone.

    Parameters
    ----------
    tables : sequence of arrays of shape (n,) or (n, k)
        A seed's scores of its n examples under k models.
    shared : bool
        Whether the seeds have the same examples, of which one draw then serves all.
    groups : sequence of int arrays of shape (n,), optional
        A seed's groups of examples, or None for one whose examples are drawn alone.

    Returns
    -------
    float64 array of shape (n_resamples, k)
    """
    groups = [None] * len(tables) if groups is None else groups
    if shared:
        mean = np.mean([np.asarray(table, dtype=np.float64) for table in tables], axis=0)
        return bootstrap_means(mean, n_resamples, groups=groups[0])
    each = enumerate(zip(tables, groups, strict=True))
    means = [bootstrap_means(table, n_resamples, i, units) for i, (table, units) in each]
    return np.mean(means, axis=0)


def drawn_over_seeds(
    values: Sequence[float], examples: NDArray[np.float64], level: float = 0.95
) -> NDArray[np.float64]:
    """The mean over seeds where seeds are drawn anew as well, for an interval of ``level``.

    With g_k the value of seed k, g* the mean in a draw of examples and K* the drawn seeds,

        g* + c (mean of g_k over K* - mean of g_k over all K),    c = sqrt(K / (K - 1)) t / z.

    K seeds drawn from K have (K - 1) / K times the variance, which the root corrects. The variance
    is known from K seeds only, which t / z allows for: the quantiles at the interval's ends of
    Student's t with K - 1 degrees of freedom and of the normal distribution. Of one seed only
    examples are drawn.

    Parameters
    ----------
    values : sequence of K floats
        Of each seed.
    examples : array of shape (n_resamples,)
        From :func:`means_over_seeds`. Equally many resamples of equally many seeds draw the same
        seeds, so that ratios and differences of two results are paired.
    level : float

    Returns
    -------
    float64 array of shape (n_resamples,)
    """
    from scipy import stats

    k = len(values)
    if k == 1:
        return examples
    rng = np.random.default_rng([len(examples), k])
    counts = rng.multinomial(k, np.full(k, 1 / k), size=len(examples))
    deviations = counts @ np.array(values) / k - np.mean(values)
    end = (1 + level) / 2
    widening = np.sqrt(k / (k - 1)) * stats.t.ppf(end, k - 1) / stats.norm.ppf(end)
    return examples + widening * deviations


def share_kept(kept: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each draw's gain that is kept; NaN where a draw has no gain to keep."""
    return np.divide(kept, gain, out=np.full_like(gain, np.nan), where=gain > 0)
