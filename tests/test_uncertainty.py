"""Intervals cover, tests agree with scipy and with enumeration, and large sets stay fast."""

import itertools
import time

import numpy as np
import pytest
from scipy import stats

from specialists.errors import InputError
from specialists.uncertainty import (
    bootstrap_means,
    difference_interval,
    drawn_over_seeds,
    holm,
    mcnemar,
    means_over_seeds,
    paired_mean_test,
    percentile_interval,
    share_kept,
)
from specialists.uncertainty.paired_tests import paired_t, sign_flip


def mean_interval(values, n_resamples=1000, seed=0):
    return difference_interval(values, np.zeros_like(values), n_resamples, seed)


def _skewed(n, seed=0):
    return np.random.default_rng(seed).exponential(size=n)


def test_the_interval_of_a_mean_agrees_with_scipy():
    values = _skewed(400)
    ours = mean_interval(values, n_resamples=20_000, seed=1)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=2
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.005)


def test_boolean_scores_get_the_binomial_distribution_of_their_count():
    right = np.arange(200) < 60
    low, high = mean_interval(right, n_resamples=20_000)
    expected = stats.binom.ppf([0.025, 0.975], 200, 0.3) / 200
    assert (low, high) == pytest.approx(expected, abs=0.0051)


def test_counts_and_resampled_rows_give_the_same_distribution():
    rng = np.random.default_rng(3)
    right = rng.random((300, 3)) < [0.2, 0.5, 0.8]
    counted = bootstrap_means(right, 20_000, seed=4)
    drawn = bootstrap_means(right.astype(float), 20_000, seed=5)
    assert counted.mean(0) == pytest.approx(drawn.mean(0), abs=1e-3)
    assert np.cov(counted.T) == pytest.approx(np.cov(drawn.T), abs=3e-5)


def test_a_difference_is_paired():
    noise = _skewed(500)
    low, high = difference_interval(noise + 0.1, noise)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)


def test_the_paired_interval_agrees_with_resampling_the_differences():
    a, b = _skewed(300, 1), _skewed(300, 2)
    paired = difference_interval(a, b, n_resamples=20_000)
    assert paired == pytest.approx(mean_interval(a - b, n_resamples=20_000, seed=9), abs=0.01)


def test_nominal_intervals_cover_the_mean():
    intervals = [mean_interval(_skewed(200, seed), 400, seed) for seed in range(300)]
    coverage = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.89 <= coverage <= 0.98


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x > 1])
def test_a_seed_fixes_the_resamples(make):
    values = make(_skewed(100))
    assert (bootstrap_means(values, 50, 7) == bootstrap_means(values, 50, 7)).all()
    assert (bootstrap_means(values, 50, 7) != bootstrap_means(values, 50, 8)).any()


def test_a_thousand_resamples_of_45000_examples_take_less_than_two_seconds():
    values = _skewed(45_000)
    started = time.process_time()
    mean_interval(values, 1000)
    assert time.process_time() - started < 2


def test_undefined_resamples_are_left_out():
    assert percentile_interval([np.nan, 1.0, 1.0]) == (1.0, 1.0)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (9, 3), (5, 5), (40, 22)])
def test_mcnemar_is_the_exact_binomial_tail(only_a, only_b):
    a = np.array([1] * only_a + [0] * only_b + [1, 0], dtype=bool)
    b = np.array([0] * only_a + [1] * only_b + [1, 0], dtype=bool)
    tail = stats.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)
    assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail))


def test_the_paired_t_test_agrees_with_scipy():
    a, b = _skewed(50, 1), _skewed(50, 2)
    assert paired_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)


@pytest.mark.parametrize(("shift", "p"), [(0.0, 1.0), (0.5, 0.0)])
def test_differences_without_spread_need_no_division(shift, p):
    assert paired_t(np.ones(9) + shift, np.ones(9)) == p


def test_sign_flips_of_few_examples_are_enumerated():
    d = np.array([0.4, -0.1, 0.9, 0.3, 0.25])
    flips = [abs(np.dot(s, d)) for s in itertools.product([1, -1], repeat=5)]
    assert sign_flip(d, np.zeros(5)) == np.mean([f >= abs(d.sum()) - 1e-9 for f in flips])


def test_sign_flips_of_many_examples_agree_with_scipy():
    a, b = _skewed(60, 1), _skewed(60, 5)
    reference = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", rng=1
    ).pvalue
    assert sign_flip(a, b) == pytest.approx(reference, abs=0.02)


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_a_one_sided_t_test_agrees_with_scipy(seed):
    a, b = _skewed(50, 1), _skewed(50, seed)
    expected = stats.ttest_rel(a, b, alternative="greater").pvalue
    assert paired_t(a, b, alternative="greater") == pytest.approx(expected)


@pytest.mark.parametrize(("shift", "p"), [(0.0, 1.0), (0.5, 0.0), (-0.5, 1.0)])
def test_one_sided_differences_without_spread_need_no_division(shift, p):
    assert paired_t(np.ones(9) + shift, np.ones(9), alternative="greater") == p


def test_one_sided_sign_flips_of_few_examples_are_enumerated():
    d = np.array([0.4, -0.1, 0.9, 0.3, 0.25])
    flips = [np.dot(s, d) for s in itertools.product([1, -1], repeat=5)]
    for sign in (1, -1):
        found = sign_flip(sign * d, np.zeros(5), alternative="greater")
        assert found == np.mean([f >= sign * d.sum() - 1e-9 for f in flips])


@pytest.mark.parametrize("seed", [2, 5])
def test_one_sided_sign_flips_of_many_examples_agree_with_scipy(seed):
    a, b = _skewed(60, 1), _skewed(60, seed)
    reference = stats.permutation_test(
        (a, b),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        alternative="greater",
        rng=1,
    ).pvalue
    assert sign_flip(a, b, alternative="greater") == pytest.approx(reference, abs=0.02)


@pytest.mark.parametrize("n", [7, 100, 800])
def test_what_never_differs_is_not_above(n):
    assert paired_mean_test(np.zeros(n), np.zeros(n), alternative="greater") == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_holm_rejects_step_by_step(seed):
    p = np.random.default_rng(seed).random(9) ** 4
    rejected = set()
    for i, m in enumerate(np.argsort(p)):
        if p[m] > 0.05 / (9 - i):
            break
        rejected.add(int(m))
    assert {m for m, corrected in enumerate(holm(p.tolist())) if corrected <= 0.05} == rejected
    assert holm([]) == []


def test_holm_gives_what_is_found_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, 0.02, 0.02]) == pytest.approx([0.06] * 3)  # equal ones are corrected alike
    assert holm([0.9, 0.6]) == [1.0, 1.0]


@pytest.mark.parametrize("n", [100, 2000])
def test_the_test_of_means_tells_a_gap_from_noise(n):
    a, b = _skewed(n, 1), _skewed(n, 2)
    assert paired_mean_test(a, b) > 0.01
    assert paired_mean_test(a + 0.5, b) < 0.01


def test_large_sets_use_the_t_test():
    a, b = _skewed(600, 1), _skewed(600, 2)
    assert paired_mean_test(a, b) == paired_t(a, b)


@pytest.mark.parametrize("values", [np.empty(0), np.array([1.0, np.nan])])
def test_nothing_and_nonsense_are_refused(values):
    with pytest.raises(InputError):
        bootstrap_means(values)


@pytest.mark.parametrize("test", [mcnemar, paired_t, sign_flip, difference_interval])
def test_scores_of_different_examples_are_refused(test):
    with pytest.raises(InputError, match="same examples"):
        test(np.ones(3), np.ones(4))


def test_shared_examples_are_drawn_for_all_seeds_at_once_and_others_for_each():
    gaps = np.random.default_rng(0).normal(size=400)
    opposite = [gaps, -gaps]
    assert np.ptp(means_over_seeds(opposite, shared=True)) == pytest.approx(0, abs=1e-12)
    apart = means_over_seeds(opposite, shared=False)[:, 0]
    assert apart.std() == pytest.approx(gaps.std() / np.sqrt(800), rel=0.15)
    tables = [np.ones((10, 3)), np.zeros((30, 3))]
    np.testing.assert_array_equal(means_over_seeds(tables, shared=False, n_resamples=5), 0.5)


@pytest.mark.parametrize("k", [2, 3, 8])
def test_drawn_seeds_vary_as_much_as_student_s_t_asks_for(k):
    values = np.random.default_rng(k).normal(size=k)
    drawn = drawn_over_seeds(values.tolist(), np.zeros(200_000))
    assert drawn.mean() == pytest.approx(0, abs=0.1)
    expected = values.std(ddof=1) / np.sqrt(k) * stats.t.ppf(0.975, k - 1) / stats.norm.ppf(0.975)
    assert drawn.std() == pytest.approx(expected, rel=0.02)


def test_an_interval_ends_at_its_limits():
    assert percentile_interval([-3.0, 0.5, 3.0], limits=(-1, 1)) == (-1, 1)
    assert percentile_interval([-3.0, 3.0], level=1.0) == (-3, 3)


def test_of_one_seed_only_examples_are_drawn():
    examples = np.arange(5.0)
    assert drawn_over_seeds([0.3], examples) is examples


def test_a_draw_without_a_gain_has_no_share():
    found = share_kept(np.array([1.0, 1.0, -1.0, 1.0]), np.array([2.0, 0.0, 4.0, -2.0]))
    np.testing.assert_array_equal(found, [0.5, np.nan, -0.25, np.nan])
