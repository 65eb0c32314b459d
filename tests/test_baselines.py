"""Generalists that are averaged, defer, or are asked about a shortlist."""

import dataclasses

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from specialists.baselines import (
    AveragingRule,
    averaged,
    everywhere,
    judge_averages,
)
from specialists.baselines.averages import deferring_rules, shortlist_cost, within_shortlist
from specialists.predictions import DensePredictions, concatenated

N, C = 60, 40


def members(k=3, n=N, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, C, generator=generator)
    logits = [shared + torch.randn(n, C, generator=generator) for _ in range(k)]
    return [DensePredictions(torch.log_softmax(scale * z, dim=1)) for z in logits]


RULES = [
    AveragingRule(3),
    AveragingRule(2, "geometric", 0.7),
    AveragingRule(3, "arithmetic", 1.3, 0.4),
    AveragingRule(3, "geometric", 1.0, 0.4),
    AveragingRule(2, "arithmetic", 1.0, 0.0, 5),
    AveragingRule(3, "geometric", 0.8, 0.0, 5),
    AveragingRule(3, "geometric", 0.8, 0.4, 5),
    AveragingRule(3, "arithmetic", 0.8, 0.4, C),
    AveragingRule(1),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", [0.0, 2.0, 30.0])
def test_averages_are_what_a_slow_float64_loop_says(rule, scale):
    own = members(scale=scale)
    found = averaged(iter(own), rule).dense()
    expected = reference.averaged(
        [m.dense().double().numpy() for m in own], **dataclasses.asdict(rule)
    )
    np.testing.assert_allclose(found.exp().numpy(), np.exp(expected), atol=2e-6)
    np.testing.assert_allclose(found.double().exp().sum(1).numpy(), 1.0, atol=1e-5)


def test_the_first_answers_alone_where_it_is_sure():
    own, rule = members(), AveragingRule(3, "geometric", 2.0, 0.4)
    found, sure = averaged(own, rule), own[0].confidence() > 0.4
    assert 5 < int(sure.sum()) < N - 5
    assert torch.equal(found[sure].dense(), own[0][sure].dense())
    assert not torch.isclose(found[~sure].dense(), own[0][~sure].dense()).all(1).any()
    assert averaged(own[:1], AveragingRule(1)) is own[0]


def test_a_shortlist_shares_the_mass_that_the_first_gives_it():
    first, other = (member.dense() for member in members(2))
    found = within_shortlist(first, other, 5)
    top = first.topk(5, dim=1).indices
    outside = torch.ones_like(first, dtype=torch.bool).scatter(1, top, False)
    assert torch.equal(found[outside], first[outside])
    own = found.exp().gather(1, top)
    torch.testing.assert_close(own.sum(1), first.exp().gather(1, top).sum(1))
    theirs = other.exp().gather(1, top)
    torch.testing.assert_close(own / own.sum(1, True), theirs / theirs.sum(1, True))


@pytest.mark.parametrize(
    ("rule", "cost"),
    [
        (AveragingRule(1), 1.0),
        (AveragingRule(3), 3.0),
        (AveragingRule(3, confidence=0.0, shortlist=10), 1 + 2 * (0.2 + 0.8 * 10 / C)),
        (AveragingRule(2, confidence=2.0), 2.0),
    ],
)
def test_a_shortlist_costs_the_heads_rows_of_its_classes(rule, cost):
    assert rule.relative_cost(members(1)[0], 0.8) == pytest.approx(cost)


def test_deferral_costs_its_share_of_the_rows():
    first = members(1)[0]
    share = float((first.confidence() <= 0.4).double().mean())
    assert AveragingRule(3, confidence=0.4).relative_cost(first, 0.8) == 1 + 2 * share
    both = AveragingRule(3, confidence=0.4, shortlist=10).relative_cost(first, 0.8)
    assert both == pytest.approx(1 + 2 * (share + (1 - share) * shortlist_cost(10, C, 0.8)))


@given(
    limit=st.floats(1.0, 5.0),
    n_members=st.integers(1, 4),
    head_share=st.floats(0.0, 1.0),
    seed=st.integers(0, 5),
)
def test_no_candidate_costs_more_than_the_limit(limit, n_members, head_share, seed):
    first = members(1, seed=seed)[0]
    rules = deferring_rules(first, n_members, limit, head_share)
    assert rules[0] == AveragingRule(1)
    assert len(set(rules)) == len(rules)
    for rule in rules:
        assert rule.relative_cost(first, head_share) <= limit + 1e-6
        assert rule.n_members <= n_members
        assert rule.n_members == 1 or any(bool(rows.any()) for rows in rule.asked(first))
        assert head_share > 0.5 or rule.shortlist == 0


def test_the_limit_is_spent():
    first = members(1, n=1000)[0]
    costs = [rule.relative_cost(first, 0.9) for rule in deferring_rules(first, 3, 1.5, 0.9)]
    assert 1.495 < max(costs) <= 1.5 + 1e-6
    by_kind = {(r.n_members, r.shortlist) for r in deferring_rules(first, 3, 1.5, 0.9)}
    assert by_kind == {(1, 0), (2, 0), (3, 0), (2, 8)}
    assert {r.mean for r in deferring_rules(first, 2, 1.5, 0.9)} == {"arithmetic", "geometric"}


def test_rows_that_are_equally_sure_are_not_deferred_beyond_the_limit():
    first = DensePredictions(members(1, n=1)[0].dense().repeat(100, 1))
    assert deferring_rules(first, 2, 1.5, 0.0) == [AveragingRule(1)]
    certain = DensePredictions(torch.eye(C).log()[:1].repeat(50, 1))
    half = concatenated([*members(1, n=50), certain])
    costs = [rule.relative_cost(half, 0.0) for rule in deferring_rules(half, 2, 1.8, 0.0)]
    assert max(costs) == 1.5


@pytest.mark.parametrize("n", [150, 250])
def test_as_many_rows_are_deferred_as_the_limit_pays_for(n):
    first = members(1, n=n)[0]
    for m in range(1, n + 1):
        costs = [r.relative_cost(first, 0.0) for r in deferring_rules(first, 2, 1 + m / n, 0.0)]
        assert max(costs) == pytest.approx(1 + m / n)


def test_a_mean_is_as_sure_as_it_is_right_after_its_temperature():
    own = members(3, n=4000, scale=1.5)
    plain = averaged(own, AveragingRule(3))
    truth = torch.distributions.Categorical(logits=2.5 * plain.dense()).sample()
    (found, *_), judged = everywhere(3), judge_averages(everywhere(3), own, truth, 0.0)
    assert [c.rule.mean for c in judged] == ["arithmetic", "geometric"]
    assert judged[0].rule.temperature == pytest.approx(1 / 2.5, rel=0.05)
    assert judged[0].nll < float(-plain.dense().gather(1, truth[:, None]).mean()) - 0.05
    mean = averaged(own, judged[0].rule).dense()
    assert judged[0].nll == pytest.approx(float(-mean.gather(1, truth[:, None]).mean()))
    assert judged[0].top1 == float((mean.argmax(1) == truth).double().mean())
    assert found == AveragingRule(3)


def test_rules_that_are_judged_together_are_what_each_of_them_is_alone():
    own = members(3, n=500)
    truth = torch.randint(C, (500,), generator=torch.Generator().manual_seed(4))
    rules = deferring_rules(own[0], 3, 2.4, 0.9)
    assert {(rule.n_members, rule.shortlist) for rule in rules} >= {(1, 0), (2, 0), (3, 0), (2, 8)}
    for rule, judged in zip(rules, judge_averages(rules, own, truth, 0.9), strict=True):
        assert dataclasses.replace(judged.rule, temperature=1.0) == rule
        mean = averaged(own, judged.rule)
        assert judged.nll == pytest.approx(-float(mean.of_labels(truth).mean()), rel=1e-5)
        assert judged.top1 == float((mean.predicted() == truth).double().mean())
        (alone,) = judge_averages([rule], own, truth, 0.9)
        assert alone == judged


def test_a_temperature_is_fitted_on_the_rows_where_others_are_asked():
    own = members(2, n=2000)
    truth = own[0].predicted()  # the first is right where it is sure, and by chance elsewhere
    unsure = own[0].confidence() <= 0.4
    truth[unsure] = torch.randint(0, C, (int(unsure.sum()),))
    (judged,) = judge_averages([AveragingRule(2, confidence=0.4)], own, truth, 0.0)
    assert judged.rule.temperature > 3
    assert judged.lowers_nll
    assert judged.relative_cost == 1 + float(unsure.double().mean())
