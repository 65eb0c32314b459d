"""Bootstrap intervals over test examples.

All models answer the same examples, so everything is paired: one resample of the examples gives
the mean of every model's scores at once, and the interval of a difference (or a ratio) comes from
the differences within resamples. Intervals are percentile intervals (Efron and Tibshirani, "An
Introduction to the Bootstrap", chapter 13): for a score that never varies they have no width.

Examples that are one observation form a group (:mod:`specialists.uncertainty.row_groups`), and
groups are drawn whole. The mean of a resample is the ratio of the drawn groups' sums, of values and
of examples, so that groups may differ in size. The percentiles of resamples of few groups are too
close together. Below 20 groups means are therefore drawn from a distribution with the quantiles of
Student's t (:func:`t_interval`).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from specialists.errors import InputError
from specialists.uncertainty.row_groups import MIN_GROUPS, count_groups, group_sums

Interval = tuple[float, float]
Floats = NDArray[np.float64]

INDICES_PER_BLOCK = 2**22
MAX_PATTERN_COLUMNS = 62
ANY_REAL: Interval = (-np.inf, np.inf)
LEVEL = 0.95
SHARE: Interval = (0.0, 1.0)
DIFFERENCE_OF_SHARES: Interval = (-1.0, 1.0)


def bootstrap_means(
    values: ArrayLike, n_resamples: int = 1000, seed: int = 0, groups: ArrayLike | None = None
) -> Floats:
    """Mean of every column in each of ``n_resamples`` resamples of the groups of rows.

    Parameters
    ----------
    values : array of shape (n,) or (n, k)
        Scores of n examples under k models. Boolean scores are resampled as counts of their
        distinct rows, which has the same distribution and costs nothing.
    groups : int array of shape (n,), optional
        Rows that are drawn together share a number; None: each row is drawn alone.

    Returns
    -------
    float64 array of shape (n_resamples, k)
        Paired: row i of every column is of the same draw. NaN where there is only one group.

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
    n_groups = count_groups(groups, len(table))
    if n_groups < MIN_GROUPS:
        return _drawn_from_t(*group_sums(table, groups), n_resamples, rng)
    if n_groups == len(table) and table.dtype == bool and table.shape[1] <= MAX_PATTERN_COLUMNS:
        return _resample_patterns(table, n_resamples, rng)
    return _resample_groups(*group_sums(table, groups), n_resamples, rng)


def _resample_patterns(table: NDArray[np.bool_], n_resamples: int, rng: Generator) -> Floats:
    codes = table @ (1 << np.arange(table.shape[1], dtype=np.int64))
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    n = len(table)
    drawn = rng.multinomial(n, counts / n, size=n_resamples)
    return drawn @ table[first].astype(np.float64) / n


def _resample_groups(sums: Floats, sizes: Floats, n_resamples: int, rng: Generator) -> Floats:
    k = len(sizes)
    block = max(1, INDICES_PER_BLOCK // k)
    means = np.empty((n_resamples, sums.shape[1]))
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.integers(k, size=(size, k))
        weights = np.stack([np.bincount(row, minlength=k) for row in drawn]).astype(np.float64)
        means[start : start + size] = weights @ sums / (weights @ sizes)[:, None]
    return means


def _drawn_from_t(sums: Floats, sizes: Floats, n_resamples: int, rng: Generator) -> Floats:
    """Means from the multivariate t distribution of :func:`t_interval`, k - 1 degrees of freedom.

    One normal number a group moves all columns, so that any difference of columns has the t
    distribution of its own group sums.
    """
    mean, residuals = _residuals(sums, sizes)
    k = len(sizes)
    if k == 1:
        return np.full((n_resamples, sums.shape[1]), np.nan)
    normal = rng.standard_normal((n_resamples, k)) @ residuals * np.sqrt(k / (k - 1))
    scale = np.sqrt((k - 1) / rng.chisquare(k - 1, size=(n_resamples, 1)))
    return mean + normal * scale / sizes.sum()


def _residuals(sums: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """The mean over rows, and how far each group's sum lies above its rows times that mean."""
    mean = sums.sum(0) / sizes.sum()
    return mean, sums - np.multiply.outer(sizes, mean)


def t_interval(
    values: ArrayLike,
    groups: ArrayLike | None = None,
    level: float = LEVEL,
    limits: Interval = ANY_REAL,
) -> Interval:
    """Student's t interval of the mean of ``values``, shape (n,), over k groups of rows.

    With n_g rows and the sum s_g in group g, and m the mean of all n rows, the standard error of
    the ratio m is that of its linearisation (Cochran 1977, "Sampling Techniques", section 6.4),

        sqrt(k / (k - 1) * sum over g of (s_g - n_g m)^2) / n,

    and the ends lie at t quantiles with k - 1 degrees of freedom. One group tells nothing: then the
    interval is ``limits``.

    Examples
    --------
    >>> low, high = t_interval([1.0, 2.0, 3.0, 6.0])
    >>> round(low, 2), round(high, 2)
    (-0.44, 6.44)
    """
    from scipy import stats

    mean, error, k = mean_and_error(values, groups)
    if k == 1:
        return limits
    half = stats.t.ppf((1 + level) / 2, k - 1) * error
    low, high = np.clip([mean - half, mean + half], *limits)
    return float(low), float(high)


def mean_and_error(values: ArrayLike, groups: ArrayLike | None = None) -> tuple[float, float, int]:
    """The mean of ``values``, shape (n,), its standard error of :func:`t_interval`, and k groups.

    The error is NaN where there is only one group.
    """
    sums, sizes = group_sums(values, groups)
    mean, residuals = _residuals(sums, sizes)
    k = len(sizes)
    if k == 1:
        return float(mean), np.nan, k
    return float(mean), float(np.sqrt(k / (k - 1) * (residuals**2).sum()) / sizes.sum()), k


def interval_of_mean(
    values: ArrayLike,
    drawn: ArrayLike,
    groups: ArrayLike | None = None,
    limits: Interval = ANY_REAL,
) -> Interval:
    """Interval of the mean of ``values``: by ``drawn`` means or, below 20 groups, Student's t."""
    if count_groups(groups, len(np.asarray(values))) < MIN_GROUPS:
        return t_interval(values, groups, limits=limits)
    return percentile_interval(drawn, limits=limits)


def percentile_interval(
    samples: ArrayLike, level: float = LEVEL, limits: Interval = ANY_REAL
) -> Interval:
    """The central ``level`` of bootstrap ``samples``; undefined (NaN) samples are left out.

    Drawn seeds may lead beyond ``limits``, what is possible; there the interval ends. Where all
    samples are undefined, the interval is ``limits``.
    """
    drawn = np.asarray(samples, dtype=np.float64)
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return limits
    tail = 50 * (1 - level)
    low, high = np.clip(np.percentile(defined, [tail, 100 - tail]), *limits)
    return float(low), float(high)


def difference_interval(
    a: ArrayLike,
    b: ArrayLike,
    n_resamples: int = 1000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    limits: Interval = ANY_REAL,
) -> Interval:
    """Paired interval of mean(a) - mean(b), both of shape (n,); below 20 groups Student's t."""
    means = bootstrap_means(np.stack(paired(a, b), axis=1), n_resamples, seed, groups)
    gaps = paired_differences(a, b)
    return interval_of_mean(gaps, means[:, 0] - means[:, 1], groups, limits)


def paired(a: ArrayLike, b: ArrayLike) -> tuple[NDArray, NDArray]:
    """Both as arrays of one shape (n,); an InputError for anything else, n = 0 included."""
    first, second = np.asarray(a), np.asarray(b)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise InputError(
            "Paired scores must be two arrays of the same examples",
            got=f"shapes {first.shape} and {second.shape}",
            expected="two equal shapes (n,), n at least 1",
        )
    return first, second


def paired_differences(a: ArrayLike, b: ArrayLike) -> Floats:
    """The difference a - b of each example, as float64."""
    first, second = paired(a, b)
    return first.astype(np.float64) - second
