"""Tests over seeds and examples hold their level, and ranks are those that Holm leaves open."""

import numpy as np
import pytest
from scipy import stats

from specialists.errors import InputError
from specialists.uncertainty import rank_ranges, seed_and_group_test


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_one_variance_alone_is_the_t_test_of_scipy(n_seeds):
    rows = normal(50) + 0.2
    of_rows = seed_and_group_test([rows] * n_seeds, shared=True)
    assert of_rows == pytest.approx(stats.ttest_1samp(rows, 0)[1], rel=1e-9)
    seeds = normal(4, seed=1) + 1
    of_seeds = seed_and_group_test([np.full(50, value) for value in seeds], shared=True)
    assert of_seeds == pytest.approx(stats.ttest_1samp(seeds, 0)[1], rel=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_both_variances_are_added_with_the_degrees_of_their_sum(shared):
    rows = normal(3, 40) * [[0.1], [1.0], [3.0]] + 0.3 * normal(3, 1, seed=2) + 0.2
    means, k = rows.mean(1), 3
    if shared:
        of_rows = rows.mean(0).var(ddof=1, keepdims=True) / 40
    else:
        of_rows = rows.var(1, ddof=1) / 40 / k**2
    of_seeds = means.var(ddof=1) / k
    total = of_rows.sum() + of_seeds
    degrees = total**2 / (of_seeds**2 / (k - 1) + (of_rows**2).sum() / 39)
    expected = 2 * stats.t.sf(abs(means.mean()) / total**0.5, degrees)
    assert seed_and_group_test(list(rows), shared) == pytest.approx(expected, rel=1e-9)


def test_rows_of_a_group_are_one_observation():
    rows, groups = normal(3, 30) + 0.2, np.arange(30)
    once = seed_and_group_test(list(rows), shared=True)
    thrice = seed_and_group_test(list(rows.repeat(3, 1)), True, [groups.repeat(3)] * 3)
    assert thrice == pytest.approx(once, rel=1e-9)


def test_models_that_never_differ_are_equal_and_one_group_is_refused():
    assert seed_and_group_test([np.zeros(9)] * 2, shared=True) == 1.0
    assert seed_and_group_test([np.ones(9)] * 2, shared=True) == 0.0
    with pytest.raises(InputError, match="one group"):
        seed_and_group_test([np.ones(9)] * 2, True, [np.zeros(9, int)] * 2)


def three_seeds(rng, n_models, n_rows):
    """Scores of equally good models: noise of rows, and as much of models' seeds."""
    rows, own = rng.normal(size=(n_rows, n_models)), rng.normal(size=(3, 1, n_models))
    return rows + own / np.sqrt(n_rows) + 0.5 * rng.normal(size=(3, n_rows, n_models))


def test_equally_good_models_are_told_apart_as_seldom_as_was_asked_for():
    rng = np.random.default_rng(0)
    scores = [three_seeds(rng, 2, 60) for _ in range(300)]
    p = [seed_and_group_test(list(each[..., 0] - each[..., 1]), True) for each in scores]
    assert 0.005 <= np.mean(np.array(p) <= 0.05) <= 0.06


def pairs_of(scores):
    n_models = scores.shape[-1]
    p = np.ones((n_models, n_models))
    for a in range(n_models):
        for b in range(a):
            p[b, a] = seed_and_group_test(list(scores[..., a] - scores[..., b]), True)
    return p


def test_ranks_hold_the_true_order_in_nearly_all_draws():
    rng, better = np.random.default_rng(1), np.array([0.0, 0.0, 2.0, 4.0])
    missed, first = 0, []
    for _ in range(40):
        scores = three_seeds(rng, 4, 60) + better
        ranges = rank_ranges(scores.mean((0, 1)), pairs_of(scores))
        missed += not (ranges[3][0] == 1 and ranges[2][0] <= 2 <= ranges[2][1])
        missed += any(high < 3 for _, high in ranges[:2])
        first.append(ranges[3])
    assert missed <= 2
    assert first[-1] == (1, 1)


def test_a_p_of_the_level_itself_is_clear_and_equal_means_never_are():
    p = np.full((2, 2), 0.05)
    assert rank_ranges([0.4, 0.5], p) == [(2, 2), (1, 1)]
    assert rank_ranges([0.4, 0.5], p + 1e-9) == [(1, 2)] * 2
    assert rank_ranges([0.5, 0.5], np.zeros((2, 2))) == [(1, 2)] * 2
    assert rank_ranges([0.5], np.ones((1, 1))) == [(1, 1)]


@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_those_of_a_count_by_hand(seed):
    rng = np.random.default_rng(seed)
    means, p = rng.permutation(6).astype(float), np.triu(rng.random((6, 6)) ** 6, 1)
    pairs = sorted((p[i, j], i, j) for i in range(6) for j in range(i + 1, 6))
    clear = []
    for tried, (value, i, j) in enumerate(pairs):
        if value > 0.05 / (len(pairs) - tried):
            break
        clear.append((i, j) if means[i] > means[j] else (j, i))
    for model, (best, worst) in enumerate(rank_ranges(means, p)):
        assert best == 1 + sum(loser == model for _, loser in clear)
        assert worst == 6 - sum(winner == model for winner, _ in clear)
