"""Few drawn classes are the distribution on average, with the least variance that they allow."""

import pytest
import torch

from specialists.distillation.drawn_classes import N_PARTS, drawn_classes

REPEATS = 20_000


def uniform(n, seed=0):
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))


def estimates(p, m, n=REPEATS, seed=0):
    """Shares of all classes, float64 (n, C), of n draws from one distribution (C,)."""
    classes, counts = drawn_classes(p.expand(n, -1), m, uniform(n, seed))
    zeros = torch.zeros(n, len(p), dtype=torch.float64)
    return zeros.scatter_add(1, classes, counts.double() / N_PARTS)


def distribution(name):
    j = torch.arange(1, 41).double()
    weights = {
        "flat": torch.ones(40).double(),
        "of one power": 1 / j,
        "peaked": torch.cat([torch.tensor([300.0]).double(), 1 / j[1:]]),
        "sure": torch.cat([torch.tensor([1e3]).double(), 1 / j[1:]]),
    }[name]
    mixed = weights[torch.randperm(40, generator=torch.Generator().manual_seed(3))]
    return mixed / mixed.sum()


def least_variances(p, m):
    """By bisection of tau: p_j (tau - p_j) below it."""
    low, high = 0.0, 1.0
    for _ in range(200):
        tau = (low + high) / 2
        low, high = (tau, high) if float((p / tau).clamp_max(1).sum()) > m else (low, tau)
    return (p * (high - p)).clamp_min(0)


@pytest.mark.parametrize("name", ["flat", "of one power", "peaked", "sure"])
@pytest.mark.parametrize("m", [1, 5, 13])
def test_shares_are_on_average_the_probabilities_with_the_least_variance(name, m):
    p = distribution(name)
    found = estimates(p, m)
    variances, least = found.var(0), least_variances(p, m)
    seldom = least.maximum(torch.where(p < 1 / N_PARTS, p / N_PARTS, 0.0))
    off = (found.mean(0) - p).abs() / (variances.maximum(seldom) / REPEATS).sqrt().clamp_min(1e-9)
    assert float(off.max()) < 5
    rounding = m / (4 * N_PARTS**2)
    slack = 0.5 if name == "sure" else 0.05  # most of it comes from few rows
    assert (1 - slack) * least.sum() < variances.sum() < (1 + slack) * least.sum() + rounding


@pytest.mark.parametrize("name", ["flat", "of one power", "peaked", "sure"])
def test_thirteen_classes_vary_less_than_twenty_draws_of_as_many_bytes(name):
    p = distribution(name)
    repeated = float(1 - p.square().sum()) / 20  # with repetitions, two bytes each
    ratio = float(estimates(p, 13).var(0).sum()) / repeated
    assert ratio < {"flat": 1.1, "of one power": 0.75, "peaked": 0.05, "sure": 0.1}[name]


def test_counts_are_whole_and_sum_to_the_parts_and_classes_are_distinct():
    p = torch.rand(500, 60, generator=torch.Generator().manual_seed(1)).pow(6)
    classes, counts = drawn_classes(p / p.sum(1, keepdim=True), 8, uniform(500))
    assert classes.shape == counts.shape == (500, 8)
    assert bool((classes.diff(dim=1) > 0).all())
    assert torch.equal(counts, counts.round())
    assert bool((counts.sum(1) == N_PARTS).all())
    assert 0 <= float(counts.min()) <= float(counts.max()) <= N_PARTS


@pytest.mark.parametrize("others", [1e-7, 1e-15, 1e-18, 1e-30, 1e-45])
def test_a_sure_class_is_drawn_however_little_all_others_have(others):
    p = torch.full((2, 200), others)
    p[0, 150], p[1, 150], p[1, 20] = 1.0, 0.75, 0.25
    for seed in range(20):
        classes, counts = drawn_classes(p, 13, uniform(2, seed))
        whole = torch.zeros(2, 200).double().scatter_add(1, classes, counts.double()) / N_PARTS
        expected = torch.tensor([[0.0, 1.0], [0.25, 0.75]]).double()
        torch.testing.assert_close(whole[:, [20, 150]], expected, rtol=0, atol=1.1 / N_PARTS)
        assert bool((classes.diff(dim=1) > 0).all())


@pytest.mark.parametrize("m", [3, 4, 9])
def test_no_more_classes_than_have_any_probability_count(m):
    p = torch.tensor([[0.0, 0.6, 0.0, 0.4], [1.0, 0, 0, 0], [0.9, 0.06, 0.03, 0.01], [0.25] * 4])
    for seed in range(20):
        classes, counts = drawn_classes(p, m, uniform(4, seed))
        assert classes.shape == (4, min(m, 4))
        whole = torch.zeros(4, 4).double().scatter_add(1, classes, counts.double())
        assert bool((whole[p == 0] == 0).all())
        exact = slice(2 if m < 4 else 4)
        assert float((whole / N_PARTS - p)[exact].abs().max()) < 1 / N_PARTS
        assert bool((whole.sum(1) == N_PARTS).all())


def test_the_smallest_and_largest_random_numbers_are_taken():
    p = distribution("of one power").float().expand(2, -1)
    ends = torch.tensor([[0.0, 0.0], [1 - 2.0**-24, 1 - 2.0**-24]])
    classes, counts = drawn_classes(p, 7, ends)
    assert bool((classes.diff(dim=1) > 0).all())
    assert counts.sum(1).tolist() == [N_PARTS, N_PARTS]
    between = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25]]).expand(2, -1)  # points lie on the ends
    classes, counts = drawn_classes(between, 3, ends)
    assert classes.tolist() == [[1, 3, 4]] * 2
    assert counts.sum(1).tolist() == [N_PARTS, N_PARTS]
