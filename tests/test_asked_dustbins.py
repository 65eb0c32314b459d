"""Dustbins where specialists are asked: the highest posterior, its equation, extreme inputs."""

import dataclasses
import json
import math

import pytest
import torch
from reference import dense, most_probable_dustbin, random_problem, with_dustbins

from specialists.combination import (
    FittedDustbin,
    Subsets,
    combine,
    cross_fitted_dustbins,
    fit_dustbin,
)
from specialists.combination.learned.asked_dustbins import PRIOR_DEVIATION
from specialists.combination.learned.row_halves import row_halves
from specialists.ensemble import CombinationRule, active_specialists
from specialists.errors import InputError
from specialists.predictions import DensePredictions

KINDS = ["one", "disjoint", "covering", "nested", "overlapping", "mixed"]
C = 12
SUBSETS = [torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 6]), torch.tensor([7, 8, 9, 10])]
NUMBERS = FittedDustbin(0.4, 0.7, 0.3)


def labels_for(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(C, (n,), generator=torch.Generator().manual_seed(seed))


def asked(n: int, truth: FittedDustbin = NUMBERS, seed: int = 0):
    """(generalist, specialists, subsets, labels, active): n = 1, the dustbins of ``truth`` hold."""
    generator = torch.Generator().manual_seed(seed)

    def noise(k):
        return 2.0 * torch.randn(n, k, generator=generator, dtype=torch.float64)

    generalist = noise(C).log_softmax(1)
    specialists = [noise(len(subset) + 1).log_softmax(1) for subset in SUBSETS]
    active = active_specialists(DensePredictions(generalist), SUBSETS, CombinationRule("kl", 1))
    mended = truth.mended(generalist, specialists, SUBSETS, active)
    v = torch.full((3,), 1e9, dtype=torch.float64)
    q = combine(generalist, mended, SUBSETS, active, v).log_probs.exp()
    labels = torch.multinomial(q, 1, generator=generator).squeeze(1)
    return generalist, specialists, SUBSETS, labels, active


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_mended_answers_are_those_of_the_equation(kind, dtype):
    generalist, specialists, subsets, active, _ = random_problem(kind, 300, 3)
    rounded = (generalist.to(dtype), [x.to(dtype) for x in specialists], subsets)
    mended = NUMBERS.mended(*rounded, active)
    p, d = with_dustbins(dense(*rounded, active), (0.4, 0.7, 0.3))
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    for m, (subset, rows) in enumerate(zip(subsets, active.T, strict=True)):
        found = mended[m][rows].double().exp()
        torch.testing.assert_close(found[:, :-1], p[rows, m][:, subset], rtol=0, atol=tolerance)
        torch.testing.assert_close(found[:, -1], d[rows, m], rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [3, 300])
def test_no_other_numbers_have_a_higher_posterior(kind, n):
    generalist, specialists, subsets, active, _ = random_problem(kind, n, 4)
    labels = labels_for(n)
    fitted = fit_dustbin(generalist, specialists, subsets, labels, active)
    problem = dense(generalist, specialists, subsets, active)
    expected = most_probable_dustbin(problem, labels, PRIOR_DEVIATION)
    assert dataclasses.astuple(fitted) == pytest.approx(expected, abs=1e-5)


def test_a_fit_finds_the_numbers_that_made_the_labels():
    fitted = fit_dustbin(*asked(20_000))
    assert dataclasses.astuple(fitted) == pytest.approx((0.4, 0.7, 0.3), abs=0.06)


def test_a_mended_dustbin_is_surer_of_rows_that_it_did_not_see():
    generalist, specialists, subsets, labels, active = asked(4000)
    v = torch.full((3,), 4.0, dtype=torch.float64)

    def loss(answers):
        q = combine(generalist, answers, subsets, active, v).log_probs
        return float(-q.gather(1, labels[:, None]).mean())

    unseen = cross_fitted_dustbins(generalist, specialists, subsets, labels, active)
    assert loss(unseen) < loss(specialists) - 0.03


def test_shares_within_a_subset_stay_as_they_are():
    generalist, specialists, subsets, _, active = asked(200)
    for m, answer in enumerate(NUMBERS.mended(generalist, specialists, subsets, active)):
        rows = active[:, m]
        before, after = (x[rows, :-1].log_softmax(1) for x in (specialists[m], answer))
        torch.testing.assert_close(after, before)
        assert not torch.allclose(answer[rows, -1], specialists[m][rows, -1], atol=0.1)


@pytest.mark.parametrize("asked_about", [0, 40])
def test_without_a_row_the_dustbin_is_what_the_generalist_leaves_the_subset(asked_about):
    generalist, specialists, subsets, labels, _ = asked(40)
    nobody = torch.zeros(40, 3, dtype=torch.bool)
    fitted = fit_dustbin(generalist, specialists, subsets, labels, nobody)
    assert fitted == FittedDustbin(0.0, 1.0, 0.0)
    active = nobody.clone()
    active[:asked_about] = True
    mended = fitted.mended(generalist, specialists, subsets, active)
    for answer, subset in zip(mended, subsets, strict=True):
        outside = 1 - generalist.exp()[:asked_about, subset].sum(1)
        torch.testing.assert_close(answer[:asked_about, -1].exp(), outside)


def extreme(own: float, others: float, n: int = 6):
    """All specialists and the generalist are so sure of every subset, or of its outside."""
    generalist = torch.full((n, 3), -math.inf)
    generalist[:, 0 if others else 2] = 0.0
    answers = torch.tensor([[0.6, 0.4, 0.0] if own else [0.0, 0.0, 1.0]]).log().repeat(n, 1)
    return generalist, [answers], [torch.tensor([0, 1])]


@pytest.mark.parametrize("label", [0, 2])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize("n", [1, 6])
def test_certainty_gives_finite_numbers_and_answers_without_a_warning(own, others, label, n):
    problem, labels = extreme(own, others, n), torch.full((n,), label)
    active = torch.ones(n, 1, dtype=torch.bool)
    fitted = fit_dustbin(*problem, labels)
    unseen = cross_fitted_dustbins(*problem, labels, active)
    for (answer,) in (fitted.mended(*problem, active), unseen):
        torch.testing.assert_close(answer.exp().sum(1), torch.ones(n))
        assert own == 0 or bool((answer[:, -1] > -20).all())
        assert bool(combine(problem[0], [answer], problem[2]).converged.all())


def test_all_asked_rows_inside_raise_the_mass_inside_as_far_as_the_prior_lets_them():
    generalist, specialists, subsets, _, active = asked(200)
    labels = generalist.argmax(1)  # where a specialist is asked, its subset holds this
    fitted = fit_dustbin(generalist, specialists, subsets, labels, active)
    assert 0 < fitted.bias < 20 * PRIOR_DEVIATION
    mended = fitted.mended(generalist, specialists, subsets, active)
    outside = torch.cat([answer[rows, -1] for answer, rows in zip(mended, active.T, strict=True)])
    assert float(outside.exp().mean()) < 0.1


@pytest.mark.parametrize("groups", [None, torch.arange(300) // 7, torch.zeros(300).long()])
def test_rows_are_mended_by_what_rows_of_other_groups_fitted(groups):
    generalist, specialists, subsets, labels, active = asked(300)
    problem = (generalist, specialists, subsets)
    unseen = cross_fitted_dustbins(*problem, labels, active, groups)
    for half in row_halves(300, 0, groups):
        rest = torch.ones(300, dtype=torch.bool).index_fill(0, half, False)
        only = active & rest[:, None]
        other = fit_dustbin(*problem, labels, only).mended(*problem, active)
        for m, rows in enumerate(active.T):
            at = half[rows[half]]
            torch.testing.assert_close(unseen[m][at], other[m][at])


@pytest.mark.parametrize("n", [0, 1, 9])
def test_halves_are_all_rows_and_keep_groups_together(n):
    for groups in (None, torch.arange(n) % 4, torch.arange(n)):
        first, second = row_halves(n, 3, groups)
        assert sorted([*first.tolist(), *second.tolist()]) == list(range(n))
        if groups is not None:
            assert not set(groups[first].tolist()) & set(groups[second].tolist())
            assert torch.equal(first, row_halves(n, 3, groups * 10)[0])
    assert torch.equal(row_halves(n, 3)[0], row_halves(n, 3, torch.arange(n))[0])


def test_answers_that_end_in_classes_of_zero_are_mended_like_others():
    generalist, specialists, subsets, _, active = asked(50)
    tables = Subsets.from_indices(subsets, C)
    rows, which = active.nonzero().T
    padded = torch.full((len(rows), 7), -math.inf, dtype=torch.float64)
    for i, (row, m) in enumerate(zip(rows.tolist(), which.tolist(), strict=True)):
        padded[i, : len(subsets[m]) + 1] = specialists[m][row]
    NUMBERS.mend_(generalist, tables, padded, rows, which)
    mended = NUMBERS.mended(generalist, specialists, subsets, active)
    for answer, row, m in zip(padded, rows.tolist(), which.tolist(), strict=True):
        torch.testing.assert_close(answer[: len(subsets[m]) + 1], mended[m][row])
        assert bool((answer[len(subsets[m]) + 1 :] == -math.inf).all())


def test_a_rule_keeps_its_dustbin_in_json_and_older_rules_have_none():
    rule = CombinationRule("kl", 1, 2.0, dustbin=NUMBERS)
    written = json.loads(json.dumps(rule.to_dict()))
    assert CombinationRule.from_dict(written) == rule
    assert written["dustbin"]["specialist"] == 0.4
    older = CombinationRule.from_dict({"rule": "kl", "n": 1, "weight": 2.0})
    assert older.dustbin is None
    assert "dustbin" not in older.to_dict()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_dustbin_is_of_finite_numbers(bad):
    with pytest.raises(InputError, match="not finite"):
        FittedDustbin(0.1, bad, 0.0)


def test_labels_that_name_no_class_are_refused():
    generalist, specialists, subsets, labels, active = asked(9)
    with pytest.raises(InputError, match="labels do not name a class"):
        fit_dustbin(generalist, specialists, subsets, labels + C, active)
