"""Simple rules beside the exact combination."""

import math

import pytest
import torch
from reference import dense, random_problem

from specialists.combination import side_by_side
from specialists.errors import InputError

INF = math.inf


def logs(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def test_subset_parts_stand_side_by_side_and_are_renormalised():
    generalist = logs([0.1, 0.2, 0.3, 0.4])
    specialists = [logs([0.6, 0.4]), logs([0.1, 0.5, 0.4])]
    subsets = [torch.tensor([3]), torch.tensor([0, 2])]
    q = side_by_side(generalist, specialists, subsets).exp()[0]
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
    q = side_by_side(generalist, specialists, subsets, active).exp()
    torch.testing.assert_close(q, expected, atol=1e-12, rtol=0)


def test_a_row_without_active_specialists_keeps_the_generalist():
    generalist = logs([0.2, 0.8])
    inactive = torch.tensor([[False]])
    unread = torch.full((1, 2), math.nan).double()
    q = side_by_side(generalist, [unread], [torch.tensor([0])], inactive)
    torch.testing.assert_close(q, generalist)


def test_a_row_without_any_mass_keeps_the_generalist():
    generalist = logs([1.0, 0.0])
    q = side_by_side(generalist, [logs([0.0, 1.0])], [torch.tensor([0])])
    assert q.tolist() == generalist.tolist()


def test_logits_a_billion_apart_do_not_overflow():
    generalist = torch.tensor([[0.0, -1e9, -2e9]])
    specialist = torch.tensor([[-1e9, 0.0]])
    q = side_by_side(generalist, [specialist], [torch.tensor([0])])
    assert q[0].tolist() == pytest.approx([-math.log(2), -math.log(2), -1e9])


def test_rows_that_do_not_sum_to_one_are_refused():
    with pytest.raises(InputError, match="do not sum to 1"):
        side_by_side(torch.zeros(1, 3), [torch.zeros(1, 2)], [torch.tensor([0])])
