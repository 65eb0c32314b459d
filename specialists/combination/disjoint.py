"""How do specialists combine whose subsets do not overlap? One pass before, one scalar, one after.

Each subset's classes keep the proportions of ``c`` and take the mass that
:mod:`specialists.combination.scalar` finds; all other classes, those of inactive specialists and of
specialists with an empty dustbin included, keep the proportions of ``c`` too and share the rest.
Rows are worked through in blocks that stay in the processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.patterns import spread
from specialists.combination.problem import Problem, check_sums, dustbin_masses
from specialists.combination.scalar import Shares, disjoint_shares
from specialists.combination.solution import Solution

_BLOCK_ELEMENTS = 2**20


@dataclass(frozen=True)
class _Vote:
    """One specialist's rows of a block: where they are, and log c there."""

    at: tuple[Tensor, Tensor]
    rows: Tensor
    log_c: Tensor


def solve_disjoint(problem: Problem) -> Solution:
    """Minimise KL(p || q) for rows whose active subsets are disjoint, each of them feasible."""
    size = max(1, _BLOCK_ELEMENTS // problem.n_classes)
    starts = range(0, problem.n_rows, size)
    log_q = torch.empty_like(problem.generalist)
    parts = []
    for start in starts:
        block = slice(start, start + size)
        parts.append(_solve_block(problem.select(block), log_q[block]))
    residuals, iterations = (list(part) for part in zip(*parts, strict=True))
    return Solution(log_q, torch.cat(residuals), torch.cat(iterations))


def _solve_block(problem: Problem, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Fill ``log_q`` for one block of rows; returns residuals and iterations."""
    b = dustbin_masses(problem)
    c = problem.generalist.exp()
    check_sums(c.sum(1), problem.rows, problem, "generalist")
    votes, a = _vote(problem, b, c)
    voting = b > 0
    rest = c.sum(1).double()
    has_rest = ~(voting.float() @ problem.member.float()).bool().all(1)
    shares = disjoint_shares(a, b, rest, has_rest)
    lost_rest = (rest == 0) & (shares.rest > 0)
    silent = ~problem.active.any(1)
    factor = shares.rest_factor.masked_fill(silent | lost_rest | ~has_rest, 1.0).log()
    torch.add(problem.generalist, factor.to(log_q.dtype).unsqueeze(1), out=log_q)
    for m, vote in enumerate(votes):
        inside = torch.where(voting[:, m], shares.inside_factor[:, m].log(), factor)
        inside = inside.masked_fill((a[:, m] == 0) & (shares.inside[:, m] > 0), 0.0)
        log_q[vote.at] = vote.log_c + inside[vote.rows].to(log_q.dtype).unsqueeze(1)
    _refill(problem, log_q, shares, a, voting, lost_rest)
    return shares.kkt_residual, shares.n_iterations


def _vote(problem: Problem, b: Tensor, c: Tensor) -> tuple[list[_Vote], Tensor]:
    """Collect ``log c`` and its mass a_m in each voting subset, and clear those entries of ``c``.

    What a specialist with an empty dustbin adds stays in ``c``: its classes belong to the rest.
    """
    votes, a = [], torch.zeros_like(b)
    for m, (log_p, subset) in enumerate(zip(problem.specialists, problem.subsets, strict=True)):
        rows = problem.active[:, m].nonzero().squeeze(1)
        at = (rows[:, None], subset[None, :])
        added = log_p[rows, :-1].exp()
        weight = float(problem.weights[m])
        total = added.sum(1)
        check_sums(total + b[rows, m] / weight, problem.rows[rows], problem, f"specialists[{m}]")
        joint = c[at].add_(added, alpha=weight)
        voting = b[rows, m] > 0
        a[rows, m] = joint.sum(1).double() * voting
        votes.append(_Vote(at, rows, _log_joint(problem, m, at, joint)))
        c[at] = joint.masked_fill_(voting[:, None], 0.0)
    return votes, a


def _log_joint(problem: Problem, m: int, at: tuple[Tensor, Tensor], joint: Tensor) -> Tensor:
    """``log(g + v p)``; by way of logs where the sum is close to the smallest number."""
    log_c = joint.log()
    small = joint < 1e3 * torch.finfo(joint.dtype).tiny
    if bool(small.any()):
        weighted = problem.specialists[m][at[0][:, 0], :-1] + problem.weights[m].log().to(
            joint.dtype
        )
        exact = torch.logaddexp(problem.generalist[at], weighted)
        log_c = torch.where(small, exact, log_c)
    return log_c


def _refill(
    problem: Problem, log_q: Tensor, shares: Shares, a: Tensor, voting: Tensor, lost_rest: Tensor
) -> None:
    """Give mass to patterns that have none of their own (their ``log_q`` still is ``log c``)."""
    lost = torch.cat([lost_rest[:, None], (a == 0) & (shares.inside > 0)], dim=1)
    rows = lost.any(1).nonzero().squeeze(1)
    if not len(rows):
        return
    numbers = torch.arange(1, voting.shape[1] + 1, device=log_q.device)
    ids = (voting[rows].double() * numbers) @ problem.member.double()
    mass = torch.cat([shares.rest[:, None], shares.inside], dim=1)[rows]
    log_q[rows] = spread(log_q[rows], ids.long(), mass, torch.zeros_like(mass), lost[rows])
