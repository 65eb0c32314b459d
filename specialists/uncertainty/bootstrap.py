"""Bootstrap intervals over test examples, and over seeds and test examples.

All models answer the same examples, so everything is paired: one resample of the examples gives
the mean of every model's scores at once, and the interval of a difference (or a ratio) comes from
the differences within resamples. Intervals are percentile intervals (Efron and Tibshirani, "An
Introduction to the Bootstrap", chapter 13): for a score that never varies they have no width.

Over several seeds the bootstrap has two levels: seeds are drawn with replacement, and test examples
are: the same draw for all seeds where these have the same examples, each seed's own where each
splits the data anew (:func:`means_over_seeds`, :func:`drawn_over_seeds`). The levels are drawn
apart and not one inside the other, since a seed's mean holds noise of its examples already, which
would else count again (Davison and Hinkley 1997, "Bootstrap Methods and their Application", section
3.8 on hierarchical resampling). What noise of examples differs from seed to seed still counts
twice, so that intervals are rather too wide; what is common to all seeds counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from specialists.errors import InputError
from specialists.uncertainty.pairs import paired

Interval = tuple[float, float]

INDICES_PER_BLOCK = 2**22
MAX_PATTERN_COLUMNS = 62
ANY_REAL: Interval = (-np.inf, np.inf)
SHARE: Interval = (0.0, 1.0)
DIFFERENCE_OF_SHARES: Interval = (-1.0, 1.0)


def bootstrap_means(
    values: ArrayLike, n_resamples: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Mean of every column in each of ``n_resamples`` resamples of the rows.

    Parameters
    ----------
    values : array of shape (n,) or (n, k)
        Scores of n examples under k models. Boolean scores are resampled as counts of their
        distinct rows, which has the same distribution and costs nothing.
    n_resamples : int
    seed : int

    Returns
    -------
    float64 array of shape (n_resamples, k)

    Raises
    ------
    InputError
        Without examples, or with values that are not finite.
    """
    table = np.asarray(values)
    table = table[:, None] if table.ndim == 1 else table
    if len(table) == 0:
        raise InputError("Nothing to resample: there are no examples")
    if not np.isfinite(table).all():
        raise InputError("Scores to resample must be finite")
    rng = np.random.default_rng(seed)
    if table.dtype == bool and table.shape[1] <= MAX_PATTERN_COLUMNS:
        return _resample_patterns(table, n_resamples, rng)
    return _resample_rows(table.astype(np.float64), n_resamples, rng)


def _resample_patterns(
    table: NDArray[np.bool_], n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    codes = table @ (1 << np.arange(table.shape[1], dtype=np.int64))
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    n = len(table)
    drawn = rng.multinomial(n, counts / n, size=n_resamples)
    return drawn @ table[first].astype(np.float64) / n


def _resample_rows(
    table: NDArray[np.float64], n_resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    n = len(table)
    block = max(1, INDICES_PER_BLOCK // n)
    means = np.empty((n_resamples, table.shape[1]))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.integers(n, size=(size, n))
        weights = np.stack([np.bincount(row, minlength=n) for row in drawn])
        means[start : start + size] = weights.astype(np.float64) @ table / n
    return means


def means_over_seeds(
    tables: Sequence[ArrayLike], shared: bool, n_resamples: int = 1000
) -> NDArray[np.float64]:
    """Mean over seeds of every column, in each resample of the examples alone.

    Parameters
    ----------
    tables : sequence of arrays of shape (n,) or (n, k)
        A seed's scores of its n examples under k models.
    shared : bool
        Whether the seeds have the same examples, of which one draw then serves all.
    n_resamples : int

    Returns
    -------
    float64 array of shape (n_resamples, k)
    """
    if shared:
        mean = np.mean([np.asarray(table, dtype=np.float64) for table in tables], axis=0)
        return bootstrap_means(mean, n_resamples)
    own = [bootstrap_means(table, n_resamples, seed=i) for i, table in enumerate(tables)]
    return np.mean(own, axis=0)


def drawn_over_seeds(
    values: Sequence[float], examples: NDArray[np.float64], level: float = 0.95
) -> NDArray[np.float64]:
    """The mean over seeds where seeds are drawn anew as well, for an interval of ``level``.

    With g_k the value of seed k, g* the mean in a draw of examples and K* the drawn seeds,

        g* + c (mean of g_k over K* - mean of g_k over all K),    c = sqrt(K / (K - 1)) t / z.

    K seeds drawn from K vary (K - 1) / K times too little, which the root mends; t / z, quantiles
    of Student's t with K - 1 degrees of freedom and of the normal distribution at the interval's
    ends, is for a variance that is known from K seeds only. Of one seed only examples are drawn.

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
    k = len(values)
    if k == 1:
        return examples
    rng = np.random.default_rng([len(examples), k])
    counts = rng.multinomial(k, np.full(k, 1 / k), size=len(examples))
    deviations = counts @ np.array(values) / k - np.mean(values)
    end = (1 + level) / 2
    widening = np.sqrt(k / (k - 1)) * stats.t.ppf(end, k - 1) / stats.norm.ppf(end)
    return examples + widening * deviations


def percentile_interval(
    samples: ArrayLike, level: float = 0.95, limits: Interval = ANY_REAL
) -> Interval:
    """The central ``level`` of bootstrap ``samples``; undefined (NaN) samples are left out.

    Drawn seeds may lead out of what is possible, ``limits``; there the interval ends.
    """
    tail = 50 * (1 - level)
    ends = np.nanpercentile(np.asarray(samples, dtype=np.float64), [tail, 100 - tail])
    low, high = np.clip(ends, *limits)
    return float(low), float(high)


def share_kept(kept: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """What share of each draw's gain is kept; NaN where a draw has no gain to keep."""
    return np.divide(kept, gain, out=np.full_like(gain, np.nan), where=gain > 0)


def mean_interval(
    values: ArrayLike, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean of ``values``, shape (n,)."""
    return percentile_interval(bootstrap_means(values, n_resamples, seed)[:, 0], level)


def difference_interval(
    a: ArrayLike, b: ArrayLike, n_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Paired percentile bootstrap interval of mean(a) - mean(b), both of shape (n,)."""
    means = bootstrap_means(np.stack(paired(a, b), axis=1), n_resamples, seed)
    return percentile_interval(means[:, 0] - means[:, 1], level)
