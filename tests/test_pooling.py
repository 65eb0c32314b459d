"""Simple rules beside the exact combination."""

import math

import pytest
import torch
from reference import dense, random_problem, shared_within

from specialists.combination import (
    arithmetic_mean,
    combine,
    concatenate_subsets,
    geometric_mean,
    within_subsets,
)
from specialists.errors import InputError

INF = math.inf


def logs(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def test_subset_parts_are_concatenated_and_renormalised():
    generalist = logs([0.1, 0.2, 0.3, 0.4])
    specialists = [logs([0.6, 0.4]), logs([0.1, 0.5, 0.4])]
    subsets = [torch.tensor([3]), torch.tensor([0, 2])]
    q = concatenate_subsets(generalist, specialists, subsets).exp()[0]
    raw = torch.tensor([0.1, 0.2, 0.5, 0.6]).double()
    torch.testing.assert_close(q, raw / raw.sum())


@pytest.mark.parametrize("kind", ["disjoint", "covering", "nested", "overlapping", "mixed"])
def test_overlapping_parts_are_averaged_over_active_specialists(kind):
    generalist, specialists, subsets, active, _ = random_problem(kind, 60, 1)
    problem = dense(generalist, specialists, subsets, active)
    votes = problem.v @ problem.member
    voted = (problem.v[:, :, None] * problem.p).sum(1) / votes.clamp(min=1)
    raw = torch.where(votes > 0, voted, problem.g)
    total = raw.sum(1, keepdim=True)
    expected = torch.where(total > 0, raw / total, problem.g)
    q = concatenate_subsets(generalist, specialists, subsets, active).exp()
    torch.testing.assert_close(q, expected, atol=1e-12, rtol=0)


def test_a_row_without_active_specialists_keeps_the_generalist():
    generalist = logs([0.2, 0.8])
    inactive = torch.tensor([[False]])
    unread = torch.full((1, 2), math.nan).double()
    q = concatenate_subsets(generalist, [unread], [torch.tensor([0])], inactive)
    torch.testing.assert_close(q, generalist)


def test_a_row_without_any_mass_keeps_the_generalist():
    generalist = logs([1.0, 0.0])
    q = concatenate_subsets(generalist, [logs([0.0, 1.0])], [torch.tensor([0])])
    assert q.tolist() == generalist.tolist()


def test_logits_a_billion_apart_do_not_overflow():
    generalist = torch.tensor([[0.0, -1e9, -2e9]])
    specialist = torch.tensor([[-1e9, 0.0]])
    q = concatenate_subsets(generalist, [specialist], [torch.tensor([0])])
    assert q[0].tolist() == pytest.approx([-math.log(2), -math.log(2), -1e9])


def test_rows_that_do_not_sum_to_one_are_refused():
    with pytest.raises(InputError, match="do not sum to 1"):
        concatenate_subsets(torch.zeros(1, 3), [torch.zeros(1, 2)], [torch.tensor([0])])


def random_members(k, n, n_classes, decades=3.0, seed=0):
    """Log-probabilities of shape (k, n, n_classes), about a tenth of them -inf."""
    draw = torch.Generator().manual_seed(seed)
    logits = -math.log(10) * decades * torch.rand(k, n, n_classes, generator=draw).double()
    empty = torch.rand(k, n, n_classes, generator=draw) < 0.1
    empty[:, :, 0] = False
    return logits.masked_fill(empty, -INF).log_softmax(2)


@pytest.mark.parametrize("weights", [None, [1, 2, 0.5]])
def test_arithmetic_mean_is_the_weighted_mean_of_probabilities(weights):
    members = random_members(3, 50, 7)
    w = torch.tensor(weights or [1.0, 1.0, 1.0]).double()
    expected = (w[:, None, None] / w.sum() * members.exp()).sum(0)
    q = arithmetic_mean(members, weights).exp()
    torch.testing.assert_close(q, expected, atol=1e-14, rtol=0)
    assert torch.equal(arithmetic_mean(list(members), w), arithmetic_mean(members, w * 7))


@pytest.mark.parametrize("weights", [None, [1, 2, 0.5]])
def test_geometric_mean_is_the_weighted_product_renormalised(weights):
    members = random_members(3, 50, 7)
    w = torch.tensor(weights or [1.0, 1.0, 1.0]).double()
    raw = (members.exp() ** (w / w.sum())[:, None, None]).prod(0)
    q = geometric_mean(members, weights).exp()
    torch.testing.assert_close(q, raw / raw.sum(1, keepdim=True), atol=1e-14, rtol=0)
    assert ((q == 0) == (members == -INF).any(0)).all()


@pytest.mark.parametrize("mean", [arithmetic_mean, geometric_mean])
def test_the_mean_of_one_member_is_that_member(mean):
    members = random_members(1, 20, 5)
    torch.testing.assert_close(mean(members), members[0], atol=1e-15, rtol=0)
    assert mean([torch.zeros(4, 1)]).tolist() == [[0.0]] * 4
    assert mean([torch.zeros(0, 3), torch.zeros(0, 3)]).shape == (0, 3)


@pytest.mark.parametrize(
    ("mean", "direction"), [(arithmetic_mean, "forward"), (geometric_mean, "reverse")]
)
def test_means_are_the_combination_of_members_without_dustbins(mean, direction):
    members = random_members(3, 40, 6).nan_to_num(neginf=-30.0).log_softmax(2)
    empty = torch.full((40, 1), -INF).double()
    specialists = [torch.cat([member, empty], 1) for member in members[1:]]
    weights = torch.tensor([0.5, 2.0]).double()
    subsets = [torch.arange(6)] * 2
    exact = combine(members[0], specialists, subsets, weights=weights, direction=direction)
    q = mean(members, [1.0, 0.5, 2.0])
    torch.testing.assert_close(q, exact.log_probs, atol=1e-10, rtol=0)


def test_a_row_where_members_share_no_class_keeps_the_arithmetic_mean():
    members = [logs([1.0, 0.0, 0.0], [0.5, 0.5, 0.0]), logs([0.0, 0.5, 0.5], [0.5, 0.0, 0.5])]
    q = geometric_mean(members, [1, 3]).exp()
    expected = torch.tensor([[0.25, 0.375, 0.375], [1.0, 0.0, 0.0]]).double()
    torch.testing.assert_close(q, expected)


@pytest.mark.parametrize("mean", [arithmetic_mean, geometric_mean])
def test_means_of_probabilities_too_small_for_the_dtype_keep_their_logarithms(mean):
    member = torch.tensor([[0.0, -1000.0, -1e9]])
    torch.testing.assert_close(mean([member, member]), member)


@pytest.mark.parametrize("mean", [arithmetic_mean, geometric_mean])
def test_means_are_computed_in_the_finest_dtype_and_at_least_float32(mean):
    members = random_members(3, 30, 5, decades=1)
    single = mean(members.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.exp().double(), mean(members).exp(), atol=1e-6, rtol=0)
    assert mean(members.bfloat16()).dtype == torch.float32
    assert mean([members[0], members[1].float()]).dtype == torch.float64


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ([], None, "no members"),
        (torch.zeros(2, 3), None, "not a matrix"),
        ([torch.zeros(2, 1), [0.0]], None, "members.1. is not a matrix"),
        ([torch.zeros(2, 1), torch.zeros(3, 1)], None, "differs from the first"),
        ([torch.zeros(2, 1), torch.zeros(2, 1) + 0.1], None, "do not sum to 1"),
        ([torch.full((2, 1), math.nan)], None, "NaN"),
        ([torch.zeros(2, 1)] * 2, [1.0, 0.0], "positive"),
        ([torch.zeros(2, 1)] * 2, [1.0], "a member"),
    ],
)
@pytest.mark.parametrize("mean", [arithmetic_mean, geometric_mean])
def test_members_that_cannot_be_averaged_are_named(mean, members, weights, message):
    with pytest.raises(InputError, match=message):
        mean(members, weights)


@pytest.mark.parametrize("weight", [0.3, 1.0, INF])
@pytest.mark.parametrize("kind", ["one", "disjoint", "covering", "nested", "overlapping", "mixed"])
def test_within_subsets_shares_by_the_mean_of_conditional_distributions(kind, weight):
    generalist, specialists, subsets, active, _ = random_problem(kind, 60, 2)
    expected = shared_within(dense(generalist, specialists, subsets, active), weight)
    q = within_subsets(generalist, specialists, subsets, active, weight).exp()
    torch.testing.assert_close(q, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("kind", ["one", "disjoint", "covering"])
def test_within_subsets_keeps_the_mass_of_each_subset(kind):
    generalist, specialists, subsets, active, _ = random_problem(kind, 60, 3)
    q = within_subsets(generalist, specialists, subsets, active, 2.0).exp()
    for subset in subsets:
        kept, given = q[:, subset].sum(1), generalist.exp()[:, subset].sum(1)
        torch.testing.assert_close(kept, given, atol=1e-14, rtol=0)


def test_within_subsets_specialists_without_anything_to_say_leave_their_subset_as_it_is():
    generalist = logs([0.3, 0.3, 0.4], [0.0, 0.0, 1.0])
    specialists = [logs([0.0, 0.0, 1.0], [0.5, 0.3, 0.2])]
    for weight in (1.0, INF):
        q = within_subsets(generalist, specialists, [torch.tensor([0, 1])], weight=weight)
        torch.testing.assert_close(q, generalist, atol=1e-15, rtol=0)


def test_within_subsets_keeps_digits_of_subsets_with_next_to_no_mass():
    generalist = torch.tensor([[-1000.0, -1001.0, 0.0]])
    specialist = torch.tensor([[-2001.0, -2000.0, 0.0]])
    q = within_subsets(generalist, [specialist], [torch.tensor([0, 1])])
    middle = -1000 + math.log(0.5 * (1 + math.exp(-1)))
    assert q[0].tolist() == pytest.approx([middle, middle, 0.0], abs=1e-3)


def test_within_subsets_reads_no_inactive_specialist():
    generalist = logs([0.2, 0.8])
    unread = torch.full((1, 2), math.nan).double()
    q = within_subsets(generalist, [unread], [torch.tensor([0])], torch.tensor([[False]]))
    torch.testing.assert_close(q, generalist)
    assert within_subsets(generalist[:0], [unread[:0]], [torch.tensor([0])]).shape == (0, 2)
    torch.testing.assert_close(within_subsets(generalist, [], []), generalist)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_within_subsets_refuses_weights_that_are_not_positive(weight):
    with pytest.raises(InputError, match="not positive"):
        within_subsets(torch.zeros(1, 1), [], [], weight=weight)


@pytest.mark.parametrize("rule", [concatenate_subsets, within_subsets])
@pytest.mark.parametrize("kind", ["disjoint", "overlapping"])
def test_gradients_of_rules_for_specialists_are_finite_where_probabilities_are_zero(kind, rule):
    generalist, specialists, subsets, active, _ = random_problem(kind, 60, 4)
    specialists[0][0] = -INF
    specialists[0][0, -1] = 0.0
    inputs = [generalist.requires_grad_(), *(x.requires_grad_() for x in specialists)]
    q = rule(generalist, specialists, subsets, active).exp()
    (q * torch.randn_like(q)).sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in inputs)
    assert all(bool((x.grad != 0).any()) for x in inputs if x.grad is not None)


@pytest.mark.parametrize("mean", [arithmetic_mean, geometric_mean])
def test_gradients_of_means_are_finite_where_probabilities_are_zero(mean):
    members = random_members(2, 30, 5)
    members[:, 0] = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0]]).log()
    members.requires_grad_()
    q = mean(members).exp()
    (q * torch.randn_like(q)).sum().backward()
    assert members.grad is not None
    assert members.grad.isfinite().all()
