"""Learned combinations: exact gradients, never worse than their start, honest beyond their rows."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from reference import dense, expectation_maximisation, random_problem

from specialists.combination import LearnedCombination, combine, cross_fitted, fit_combination
from specialists.combination.learned.label_likelihood import LabelLikelihood
from specialists.combination.learned.prior import SIGMA_COMMON, SIGMA_OWN, Prior
from specialists.combination.problem import as_problem
from specialists.errors import InputError
from specialists.probability import MAX_NLL

pytestmark = pytest.mark.filterwarnings("ignore::specialists.errors.ConvergenceWarning")
KINDS = ["one", "disjoint", "covering", "nested", "overlapping", "mixed"]
C = 12
SUBSETS = [torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 6, 7]), torch.tensor([6, 7, 8, 9])]


def numbers(n_specialists: int, seed: int = 0) -> LearnedCombination:
    rng = np.random.default_rng(seed)
    weights, temperatures = torch.from_numpy(np.exp(rng.normal(size=(2, n_specialists)) / 2))
    return LearnedCombination(weights, math.exp(rng.normal() / 2), temperatures)


def labels_for(n: int, seed: int = 0, n_classes: int = C) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(n_classes, size=n))


def mean_loss(log_probs: torch.Tensor, labels: torch.Tensor) -> float:
    return float(-log_probs.gather(1, labels[:, None]).clamp_min(-MAX_NLL).double().mean())


def votes(n: int, seed: int = 0, truth: LearnedCombination | None = None, dtype=torch.float64):
    """(generalist, specialists, subsets) and labels drawn from what ``truth`` makes of them."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(n, C, generator=generator, dtype=torch.float64)
    generalist = (logits + torch.randn(n, C, generator=generator)).log_softmax(1)
    specialists = []
    for subset in SUBSETS:
        outside = [j for j in range(C) if j not in subset.tolist()]
        own = logits + torch.randn(n, C, generator=generator, dtype=torch.float64)
        dustbin = own[:, outside].logsumexp(1, keepdim=True)
        specialists.append(torch.cat([own[:, subset], dustbin], 1).log_softmax(1).to(dtype))
    arguments = (generalist.to(dtype), specialists, SUBSETS)
    q = (truth or LearnedCombination.unfitted(3)).combine(*arguments).log_probs.double().exp()
    return arguments, torch.multinomial(q, 1, generator=generator).squeeze(1)


def full_loss(parameters, arguments, labels):
    """Sum of -log q_label without merging any classes, differentiable in the log-parameters."""
    generalist, specialists, subsets, active = arguments
    m = len(specialists)

    def tempered(x, log_temperature):
        zero = x == -torch.inf
        scaled = x.masked_fill(zero, 0.0) / log_temperature.exp()
        return scaled.masked_fill(zero, -torch.inf).log_softmax(1)

    q = combine(
        tempered(generalist, parameters[-1]),
        [tempered(x, parameters[m + i]) for i, x in enumerate(specialists)],
        *(subsets, active, parameters[:m].exp()),
    ).log_probs
    return -q.gather(1, labels[:, None]).clamp_min(-MAX_NLL).sum()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_merging_classes_changes_neither_the_loss_nor_its_gradient(kind, seed):
    generalist, specialists, subsets, active, _ = random_problem(kind, 200, seed)
    arguments = (generalist, specialists, subsets, active)
    labels, m = labels_for(200, seed), len(specialists)
    rule = numbers(m, seed)
    start = [*rule.weights, *rule.temperatures, torch.tensor(rule.generalist_temperature)]
    parameters = torch.stack([x.double() for x in start]).log().requires_grad_()
    likelihood = LabelLikelihood.from_problem(as_problem(*arguments), labels)
    ratios = parameters.exp()
    merged = likelihood.loss(ratios[:m], ratios[m:-1], ratios[-1])
    full = full_loss(parameters, arguments, labels)
    torch.testing.assert_close(merged, full, rtol=1e-8, atol=0)
    (found,), (expected,) = (torch.autograd.grad(x, parameters) for x in (merged, full))
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learned_combination_solves_the_problem_of_tempered_members(kind):
    generalist, specialists, subsets, active, _ = random_problem(kind, 200, 5)
    rule = numbers(len(specialists), 3)

    def tempered(x, temperature):
        powers = x.exp() ** (1 / temperature)
        return (powers / powers.sum(1, keepdim=True)).log()

    q = rule.combine(generalist, specialists, subsets, active).log_probs.exp()
    oracle, converged = expectation_maximisation(
        dense(
            tempered(generalist, rule.generalist_temperature),
            [tempered(x, t) for x, t in zip(specialists, rule.temperatures, strict=True)],
            *(subsets, active, rule.weights),
        )
    )
    assert converged.double().mean() > 0.7
    assert (q - oracle).abs().amax(1)[converged].max() < 1e-8


def test_temperatures_of_one_leave_everyone_as_they_are():
    (generalist, specialists, _), _ = votes(20, dtype=torch.bfloat16)
    same, others = LearnedCombination.unfitted(3).tempered(generalist, specialists)
    assert same is generalist
    assert all(a is b for a, b in zip(others, specialists, strict=True))
    warm, _ = numbers(3).tempered(generalist, specialists)
    assert warm.dtype == torch.float32
    torch.testing.assert_close(warm.exp().sum(1), torch.ones(20))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_never_worse_than_its_start(kind, dtype):
    generalist, specialists, subsets, active, _ = random_problem(kind, 80, 7)
    arguments = (generalist.to(dtype), [x.to(dtype) for x in specialists], subsets)
    labels = labels_for(80)
    fitted = fit_combination(*arguments, labels, active, weight=4.0)
    v = torch.full((len(subsets),), 4.0)
    before = mean_loss(combine(*arguments, active, v).log_probs, labels)
    assert mean_loss(fitted.combine(*arguments, active).log_probs, labels) <= before


def test_a_fit_finds_the_numbers_that_made_the_labels():
    truth = LearnedCombination(
        torch.tensor([2.0, 2.0, 2.0]).double(), 1.4, torch.tensor([0.7, 0.8, 0.7]).double()
    )
    arguments, labels = votes(5000, 1, truth)
    fitted = fit_combination(*arguments, labels)
    assert fitted.generalist_temperature == pytest.approx(1.4, rel=0.15)
    torch.testing.assert_close(fitted.temperatures, truth.temperatures, rtol=0.15, atol=0)
    torch.testing.assert_close(fitted.weights, truth.weights, rtol=0.35, atol=0)
    best = mean_loss(truth.combine(*arguments).log_probs, labels)
    unseen = mean_loss(cross_fitted(*arguments, labels), labels)
    assert mean_loss(fitted.combine(*arguments).log_probs, labels) <= best + 1e-4
    assert mean_loss(combine(*arguments).log_probs, labels) > best + 0.01
    assert unseen < best + 2e-3


def test_the_fit_is_a_stationary_point_of_loss_and_prior(monkeypatch):
    monkeypatch.setattr("specialists.combination.learned.fitting._TOLERANCE", 1e-6)
    arguments, labels = votes(300, 2)
    fitted = fit_combination(*arguments, labels, weight=2.0, max_steps=100)
    assert fitted.generalist_temperature != 1.0
    theta = torch.stack(
        [*(fitted.weights / 2), *fitted.temperatures, torch.tensor(fitted.generalist_temperature)]
    ).log()

    def objective(theta):
        parameters = torch.cat([theta[:3] + math.log(2), theta[3:]])
        covariance = SIGMA_COMMON**2 * torch.ones(3, 3) + SIGMA_OWN**2 * torch.eye(3)
        precision = covariance.double().inverse()
        groups = sum(t @ precision @ t for t in (theta[:3], theta[3:6]))
        prior = (groups + theta[6] ** 2 / SIGMA_COMMON**2) / 2
        return full_loss(parameters, (*arguments, None), labels) + prior

    gradient = torch.autograd.functional.jacobian(objective, theta)
    away = torch.autograd.functional.jacobian(objective, torch.zeros_like(theta))
    assert gradient.abs().max() < 0.01 < 0.5 < away.abs().max()


def test_the_prior_is_a_common_factor_and_one_of_its_own():
    prior = Prior(1.0, torch.tensor([5.0, 0.0, 90.0, 700.0]).double(), 1000)
    x = torch.randn(9, generator=torch.Generator().manual_seed(0)).double()
    weights, temperatures, generalist = prior.numbers(x)
    assert (float(weights[1]), float(temperatures[1])) == (1.0, 1.0)
    covariance = SIGMA_COMMON**2 * torch.ones(3, 3) + SIGMA_OWN**2 * torch.eye(3)
    expected = generalist.log() ** 2 / SIGMA_COMMON**2 / 2
    for group in (weights, temperatures):
        t = group.log()[[0, 2, 3]]
        expected = expected + t @ covariance.double().inverse() @ t / 2
    torch.testing.assert_close(prior.penalty(x), expected)


def test_who_never_votes_keeps_the_start_and_who_votes_rarely_stays_with_the_others():
    truth = LearnedCombination(torch.ones(3).double(), 1.0, torch.full((3,), 2.5).double())
    arguments, labels = votes(3000, 3, truth)
    active = torch.ones(3000, 3, dtype=torch.bool)
    active[:, 2] = False
    active[4:, 1] = False
    fitted = fit_combination(*arguments, labels, active, weight=2.0)
    assert (float(fitted.weights[2]), float(fitted.temperatures[2])) == (2.0, 1.0)
    assert float(fitted.temperatures[0]) > 1.3
    assert float((fitted.temperatures[1] / fitted.temperatures[0]).log().abs()) < SIGMA_OWN


def test_rows_of_silent_specialists_are_not_read():
    (generalist, specialists, subsets), labels = votes(200, 4)
    active = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    spoilt = [x.masked_fill(~active[:, m, None], torch.nan) for m, x in enumerate(specialists)]
    found: Any = fit_combination(generalist, spoilt, subsets, labels, active).to_dict()
    assert found == fit_combination(generalist, specialists, subsets, labels, active).to_dict()
    assert math.isfinite(found["generalist_temperature"])


def test_a_row_is_predicted_by_numbers_that_its_label_did_not_touch():
    arguments, labels = votes(101, 5)
    before = cross_fitted(*arguments, labels)
    changed = labels.clone()
    changed[17] = before[17].argmin()
    after = cross_fitted(*arguments, changed)
    same = (before == after).all(1)
    assert bool(same[17])
    assert 50 <= int(same.sum()) <= 51
    torch.testing.assert_close(before.exp().sum(1), torch.ones(101).double())


def test_in_sample_scores_flatter_and_cross_fitted_ones_do_not():
    gaps = []
    for seed in range(4):
        arguments, labels = votes(60, seed)
        fitted = fit_combination(*arguments, labels).combine(*arguments).log_probs
        unfitted = mean_loss(combine(*arguments).log_probs, labels)
        new = cross_fitted(*arguments, labels)
        gaps.append([mean_loss(q, labels) - unfitted for q in (fitted, new)])
    in_sample, unseen = np.mean(gaps, axis=0)
    assert in_sample < 0 < unseen  # the unfitted rule made the labels


def test_the_split_is_seeded_and_the_fit_deterministic():
    arguments, labels = votes(80, 6)
    assert fit_combination(*arguments, labels).to_dict() == (
        fit_combination(*arguments, labels).to_dict()
    )
    first, again, other = (cross_fitted(*arguments, labels, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_of_many_rows_evenly_spaced_ones_are_fitted_on_and_all_are_verified():
    arguments, _ = votes(100, 8)
    most, least = (getattr(combine(*arguments).log_probs, f"arg{end}")(1) for end in ("max", "min"))
    few = torch.linspace(0, 99, 10).round().long()
    rows = tuple(x[few] for x in (arguments[0], *arguments[1]))
    alone = fit_combination(rows[0], rows[1:], SUBSETS, least[few])
    assert alone.generalist_temperature > 1.1
    thinned = fit_combination(*arguments, least, max_elements=10 * C + 3)
    assert thinned.to_dict() == alone.to_dict()
    misleading = most.index_copy(0, few, least[few])
    refused = fit_combination(*arguments, misleading, max_elements=10 * C)
    assert refused.to_dict() == LearnedCombination.unfitted(3).to_dict()


def test_numbers_survive_json():
    rule = numbers(4)
    again = LearnedCombination.from_dict(json.loads(json.dumps(rule.to_dict())))
    assert torch.equal(again.weights, rule.weights)
    assert torch.equal(again.temperatures, rule.temperatures)
    assert again.generalist_temperature == rule.generalist_temperature


def test_without_rows_specialists_or_votes_the_start_stands():
    (generalist, specialists, subsets), labels = votes(5)
    none = [x[:0] for x in specialists]
    start = LearnedCombination.unfitted(3).to_dict()
    assert fit_combination(generalist[:0], none, subsets, labels[:0]).to_dict() == start
    assert cross_fitted(generalist[:0], none, subsets, labels[:0]).shape == (0, C)
    silent = torch.zeros(5, 3, dtype=torch.bool)
    assert fit_combination(generalist, specialists, subsets, labels, silent).to_dict() == start
    assert fit_combination(generalist, [], [], labels).weights.shape == (0,)
    torch.testing.assert_close(cross_fitted(generalist, [], [], labels), generalist)
    one = [x[:1] for x in specialists]
    assert cross_fitted(generalist[:1], one, subsets, labels[:1]).isfinite().all()


def test_a_single_class_and_a_subset_of_all_classes_are_no_fault():
    certain = torch.zeros(4, 1)
    both = torch.tensor([[0.0, -torch.inf]]).expand(4, 2)
    fitted = fit_combination(certain, [both], [torch.tensor([0])], torch.zeros(4).long())
    assert fitted.weights.isfinite().all()
    (generalist, specialists, subsets), labels = votes(50)
    everything = torch.full((50, C + 1), -math.log(C + 1)).double()
    fitted = fit_combination(
        generalist, [*specialists, everything], [*subsets, torch.arange(C)], labels
    )
    assert fitted.temperatures.isfinite().all()


@pytest.mark.parametrize(
    "labels",
    [
        torch.zeros(4, dtype=torch.int64),
        torch.zeros(5),
        torch.tensor([0, 1, 2, 3, C]),
        torch.tensor([0, 1, 2, 3, -1]),
        torch.zeros(5, 1, dtype=torch.int64),
    ],
)
@pytest.mark.parametrize("function", [fit_combination, cross_fitted])
def test_labels_that_name_no_class_are_refused(function, labels):
    arguments, _ = votes(5)
    with pytest.raises(InputError, match="labels do not name a class"):
        function(*arguments, labels)


def test_a_row_that_is_no_distribution_is_named():
    (generalist, specialists, subsets), labels = votes(40)
    generalist[31, 2] = torch.nan
    with pytest.raises(InputError, match="row 31"):
        fit_combination(generalist, specialists, subsets, labels, max_elements=5 * C)
