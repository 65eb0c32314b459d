"""Paired tests of two models' scores, and what many tests at once do to their p-values.

Tests are two-sided by default: exact McNemar for right/wrong answers, the sign-flip
permutation test and the paired t-test for real-valued scores such as the negative log-likelihood.
:func:`holm` corrects for how many were tried.

Examples that are one observation form a group (:mod:`specialists.uncertainty.row_groups`). Tests
then see the sum of each group's differences, as if it were one example's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from specialists.uncertainty.bootstrap import paired, paired_differences
from specialists.uncertainty.row_groups import group_sums

Alternative = Literal["two-sided", "greater"]

SIGNS_PER_BLOCK = 2**22
MAX_EXACT_FLIPS = 14
MAX_PERMUTED_GROUPS = 500


def mcnemar(a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None) -> float:
    """Exact two-sided p that a and b are right equally often.

    Only the examples on which they differ count; under the null hypothesis each of them favours
    either model with probability 1/2 (McNemar 1947, exact binomial form). Of groups, only those
    count in which the models have different numbers of right answers. Each favours either model
    with probability 1/2, by as many answers as it did.

    Parameters
    ----------
    a, b : bool arrays of shape (n,)
    groups : int array of shape (n,), optional
        Examples of one group share a number; None: each is a group.

    Examples
    --------
    >>> round(mcnemar([True] * 5 + [False], [False] * 5 + [False]), 4)
    0.0625
    >>> mcnemar([True] * 5 + [False], [False] * 5 + [False], groups=[0, 0, 1, 1, 2, 2])
    0.25
    """
    from scipy import stats

    first, second = (np.asarray(x, dtype=bool) for x in paired(a, b))
    gains, _ = group_sums(first.astype(np.int64) - second, groups)
    steps, counts = np.unique(np.abs(gains[gains != 0]).astype(np.int64), return_counts=True)
    # Distribution of the answers by which one model leads, summed over the groups that favour it.
    chance = np.ones(1)
    for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
        spaced = np.zeros(step * count + 1)
        spaced[::step] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chance = np.convolve(chance, spaced)
    total = len(chance) - 1
    extreme = np.abs(2 * np.arange(total + 1) - total) >= abs(int(gains.sum()))
    return min(1.0, float(chance[extreme].sum()))


def paired_t(a: ArrayLike, b: ArrayLike, alternative: Alternative = "two-sided") -> float:
    """The paired t-test's p that mean(a) = mean(b), or that mean(a) is not above mean(b).

    Differences that never vary have a p of 0, or 1 where they point the other way or are 0.
    """
    from scipy import stats

    difference = paired_differences(a, b)
    n = len(difference)
    spread = float(difference.std(ddof=1)) if n > 1 else 0.0
    if spread == 0.0:
        counts = difference[0] > 0 or (alternative == "two-sided" and difference[0] != 0)
        return 0.0 if n > 1 and counts else 1.0
    t = difference.mean() / (spread / np.sqrt(n))
    if alternative == "greater":
        return float(stats.t.sf(t, n - 1))
    return float(2 * stats.t.sf(abs(t), n - 1))


def sign_flip(
    a: ArrayLike,
    b: ArrayLike,
    n_flips: int = 9999,
    seed: int = 0,
    alternative: Alternative = "two-sided",
) -> float:
    """The sign-flip permutation test's p that a - b is symmetric about 0.

    All 2^n flips are tried for n <= 14; otherwise ``n_flips`` random ones, and
    p = (1 + flips at least as extreme) / (1 + n_flips), which is never 0 (Phipson and Smyth 2010).
    With ``alternative="greater"`` only a larger sum is more extreme.
    """
    difference = paired_differences(a, b)
    n = len(difference)
    extremity = np.abs if alternative == "two-sided" else np.positive
    bound = extremity(difference.sum()) - 1e-12 * np.abs(difference).sum()
    if n <= MAX_EXACT_FLIPS:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return float((extremity(signs @ difference) >= bound).mean())
    rng = np.random.default_rng(seed)
    block = max(1, SIGNS_PER_BLOCK // n)
    extreme = 0
    for start in range(0, n_flips, block):
        signs = 1.0 - 2.0 * rng.integers(2, size=(min(block, n_flips - start), n), dtype=np.int8)
        extreme += int((extremity(signs @ difference) >= bound).sum())
    return (1 + extreme) / (1 + n_flips)


def paired_mean_test(
    a: ArrayLike,
    b: ArrayLike,
    seed: int = 0,
    alternative: Alternative = "two-sided",
    groups: ArrayLike | None = None,
) -> float:
    """The p that mean(a) = mean(b), or is not above it: by sign flips up to 500 groups, else t."""
    sums, _ = group_sums(paired_differences(a, b), groups)
    if len(sums) <= MAX_PERMUTED_GROUPS:
        return sign_flip(sums, np.zeros_like(sums), seed=seed, alternative=alternative)
    return paired_t(sums, np.zeros_like(sums), alternative)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many were tried: the chance of any false finding is bounded.

    The i-th smallest of k is multiplied by k - i + 1 and is at least those before it (Holm 1979).

    Examples
    --------
    >>> holm([0.04, 0.01, 0.5])
    [0.08, 0.03, 0.5]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()
