"""Rows that are one observation are drawn, and flipped, together."""

import numpy as np
import pytest
from reference import flipped_groups, resampled_groups
from scipy import stats

from specialists.errors import InputError
from specialists.uncertainty import (
    DIFFERENCE_OF_SHARES,
    bootstrap_means,
    count_groups,
    difference_interval,
    drawn_over_seeds,
    mcnemar,
    means_over_seeds,
    paired_mean_test,
    percentile_interval,
    rows_in_groups,
    t_interval,
)
from specialists.uncertainty.row_groups import group_sums


def correlated(n_groups, seed=0, largest=20, spread=1.0):
    """Values whose groups, of different sizes, share most of their noise; rows in random order."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(n_groups), rng.integers(1, largest, n_groups)))
    values = spread * rng.normal(size=n_groups)[groups] + 0.3 * rng.normal(size=len(groups))
    return values, 7 * groups - 3


def t_test(values) -> float:
    """The p-value that the mean is 0, two-sided."""
    k = len(values)
    t = np.mean(values) / (np.std(values, ddof=1) / np.sqrt(k))
    return float(2 * stats.t.sf(abs(t), k - 1))


@pytest.mark.parametrize("n", [12, 60, 700])
@pytest.mark.parametrize("scores", ["right", "nll"])
def test_groups_of_one_row_give_what_rows_give(n, scores):
    rng = np.random.default_rng(n)
    a, b = rng.exponential(size=(2, n))
    if scores == "right":
        a, b = a > 1, b > 1
    alone = rng.permutation(n) + 5
    table = np.stack([a, b], axis=1)
    np.testing.assert_array_equal(
        bootstrap_means(table, 50, 3, alone), bootstrap_means(table, 50, 3)
    )
    assert difference_interval(a, b, groups=alone) == difference_interval(a, b)
    assert paired_mean_test(a, b, groups=alone) == paired_mean_test(a, b)
    assert mcnemar(a > 1, b > 1, alone) == mcnemar(a > 1, b > 1)


def test_resampled_groups_have_the_distribution_of_a_plain_loop():
    values, groups = correlated(30)
    ours = bootstrap_means(values, 20_000, 1, groups)[:, 0]
    theirs = resampled_groups(values, groups, 4000, 2)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.1 * theirs.std())
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
    ends = percentile_interval(theirs)
    assert percentile_interval(ours) == pytest.approx(ends, abs=0.15 * theirs.std())


def test_models_share_the_draws_of_groups():
    values, groups = correlated(25)
    better = np.sin(values)
    alone = bootstrap_means(values - better, 400, 3, groups)[:, 0]
    means = bootstrap_means(np.stack([values, better], axis=1), 400, 3, groups)
    np.testing.assert_allclose(means[:, 0] - means[:, 1], alone, atol=1e-12)
    low, high = difference_interval(values + 0.1, values, groups=groups)
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_a_drawn_group_brings_all_of_its_rows():
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    rows = np.arange(len(groups))
    of_largest = rows[groups == 19]
    table = np.stack([rows == row for row in of_largest], axis=1).astype(float)
    means = bootstrap_means(table, 200, 0, groups)
    assert (means > 0).any()
    np.testing.assert_allclose(means, means[:, :1].repeat(20, axis=1))


@pytest.mark.parametrize("right", [False, True])
def test_equal_groups_make_an_interval_as_wide_as_their_means_would(right):
    rng = np.random.default_rng(2)
    means = rng.normal(size=40) > 0 if right else rng.normal(size=40)
    groups = np.repeat(np.arange(40), 6)
    zeros = np.zeros_like(means)
    rows = np.repeat(means, 6), np.repeat(zeros, 6), 20_000
    low, high = difference_interval(*rows, groups=groups)
    alone = difference_interval(means, zeros, 20_000)
    assert (low, high) == pytest.approx(alone, abs=0.02)
    by_rows = difference_interval(*rows)
    assert (high - low) / (by_rows[1] - by_rows[0]) == pytest.approx(np.sqrt(6), rel=0.08)


@pytest.mark.parametrize("n_groups", [12, 19, 60, 150])
def test_intervals_over_groups_cover_and_those_over_rows_do_not(n_groups):
    hits, hits_of_rows, n_tries = 0, 0, 400
    for seed in range(n_tries):
        values, groups = correlated(n_groups, seed)
        low, high = difference_interval(values, 0 * values, 400, seed, groups=groups)
        hits += low <= 0 <= high
        error = 1.96 * values.std() / np.sqrt(len(values))
        hits_of_rows += abs(values.mean()) <= error
    assert 0.92 <= hits / n_tries <= 0.98
    assert hits_of_rows / n_tries < 0.6


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.4])
def test_signs_of_group_sums_are_enumerated(alternative, shift):
    values, groups = correlated(9)
    values = values + shift
    p = paired_mean_test(values, np.zeros_like(values), alternative=alternative, groups=groups)
    assert p == pytest.approx(flipped_groups(values, groups.tolist(), alternative))


@pytest.mark.parametrize("seed", range(6))
def test_mcnemar_flips_the_answers_of_whole_groups(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 10, 60)
    a, b = rng.random(60) < 0.7, rng.random(60) < 0.5
    expected = flipped_groups(a.astype(float) - b, groups.tolist())
    assert mcnemar(a, b, groups) == pytest.approx(expected, rel=1e-12)


def test_many_groups_have_the_t_test_of_their_sums():
    values, groups = correlated(600)
    sums = [values[groups == group].sum() for group in np.unique(groups)]
    expected = t_test(sums)
    assert paired_mean_test(values, 0 * values, groups=groups) == pytest.approx(expected)


@pytest.mark.parametrize("n_groups", [30, 700])
def test_a_test_over_groups_keeps_its_level_and_one_over_rows_does_not(n_groups):
    found = [correlated(n_groups, seed, 6) for seed in range(150)]
    p = [paired_mean_test(values, 0 * values, groups=groups) for values, groups in found]
    assert stats.binomtest(sum(x <= 0.05 for x in p), 150, 0.05).pvalue > 0.01
    blind = [t_test(values) for values, _ in found]
    assert np.mean([x <= 0.05 for x in blind]) > 0.15


def test_few_groups_of_one_size_have_students_interval_of_their_means():
    means = np.random.default_rng(4).normal(size=7)
    groups = np.repeat(np.arange(7), 5)
    values = np.repeat(means, 5)
    expected = stats.t.interval(0.9, 6, means.mean(), stats.sem(means))
    assert t_interval(values, groups, 0.9) == pytest.approx(expected)
    expected = stats.t.interval(0.95, 6, means.mean(), stats.sem(means))
    assert difference_interval(values, 0 * values, groups=groups) == pytest.approx(expected)


def test_draws_of_few_groups_have_the_quantiles_of_students_interval():
    values, groups = correlated(8)
    table = np.stack([values, values**2], axis=1)
    drawn = bootstrap_means(table, 200_000, 0, groups)
    for level in (0.8, 0.95):
        for column, own in ((drawn[:, 0], values), (drawn[:, 1] - drawn[:, 0], values**2 - values)):
            low, high = t_interval(own, groups, level)
            found = percentile_interval(column, level)
            assert found == pytest.approx((low, high), abs=0.02 * (high - low))


def test_one_group_tells_nothing():
    right = np.array([True, False, True])
    same = np.zeros(3, dtype=int)
    assert difference_interval(right, ~right, groups=same, limits=DIFFERENCE_OF_SHARES) == (-1, 1)
    assert np.isnan(bootstrap_means(right, 5, 0, same)).all()
    assert percentile_interval([np.nan, np.nan], limits=(0, 1)) == (0, 1)


def test_seeds_draw_their_own_groups_and_share_draws_of_the_same_examples():
    values, groups = correlated(40)
    apart = means_over_seeds([values, values], False, 4000, [groups, groups])[:, 0]
    shared = means_over_seeds([values, values], True, 4000, [groups, groups])[:, 0]
    rows = means_over_seeds([values, values], True, 4000)[:, 0]
    alone = bootstrap_means(values, 4000, 9, groups)[:, 0].std()
    assert shared.std() == pytest.approx(alone, rel=0.06)
    assert apart.std() == pytest.approx(alone / np.sqrt(2), rel=0.06)
    assert rows.std() < 0.6 * alone
    mixed = means_over_seeds([values, values], False, 4000, [groups, None])[:, 0]
    assert rows.std() < 2 * mixed.std() < 2 * shared.std()
    assert drawn_over_seeds([0.0, 1.0], shared).std() > 2 * shared.std()


def test_sums_are_of_groups_and_sizes_of_rows():
    sums, sizes = group_sums([[1.0, 0], [2, 1], [4, 1]], [9, -1, 9])
    assert sums.tolist() == [[2, 1], [5, 1]]
    assert sizes.tolist() == [1, 2]
    assert count_groups([9, -1, 9], 3) == 2
    assert count_groups(None, 3) == 3


def test_rows_are_told_with_their_groups_where_these_differ():
    assert rows_in_groups(1738, 312) == "1,738 rows in 312 groups"
    assert rows_in_groups(1738, 1738) == "1,738 rows"
    assert rows_in_groups(20, 1, "test examples") == "20 test examples in 1 group"


@pytest.mark.parametrize("groups", [[0, 1], [0.0, 1.0, 2.0], [[0], [1], [2]]])
def test_groups_that_do_not_fit_the_rows_are_refused(groups):
    with pytest.raises(InputError, match="one whole number for each row"):
        bootstrap_means(np.ones(3), 5, 0, groups)
