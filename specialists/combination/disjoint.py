"""How do specialists combine whose subsets do not overlap? One scalar equation a row.

Each subset's classes keep the proportions of ``c`` and take the mass that
:mod:`specialists.combination.scalar` finds; all other classes, those of specialists with an empty
dustbin included, keep the proportions of ``c`` too and share the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specialists.combination.scalar import disjoint_shares
from specialists.combination.solution import PatternProblem, PatternSolution, lost_patterns


def solve_disjoint(problem: PatternProblem) -> PatternSolution:
    """Minimise KL(p || q) for rows whose patterns are the rest and one a slot, each feasible."""
    voting = problem.b > 0
    in_rest = torch.cat([torch.ones_like(voting[:, :1]), ~voting], 1)
    rest = (problem.masses * in_rest).sum(1)
    n_rest = (problem.counts * in_rest).sum(1)
    shares = disjoint_shares(problem.masses[:, 1:] * voting, problem.b, rest, n_rest > 0)
    log_rest = shares.rest_factor.log()[:, None]
    log_inside = torch.where(voting, shares.inside_factor.log(), log_rest)
    of_rest = _share_of_rest(problem, in_rest, rest, n_rest) * shares.rest[:, None]
    q = torch.where(in_rest, of_rest, torch.cat([log_rest, shares.inside], 1))
    return PatternSolution(
        q,
        torch.cat([log_rest, log_inside], 1),
        lost_patterns(problem.masses, q),
        shares.kkt_residual,
        shares.n_iterations,
    )


def _share_of_rest(
    problem: PatternProblem, in_rest: Tensor, rest: Tensor, n_rest: Tensor
) -> Tensor:
    """By mass or, where the rest has none, by number of classes."""
    by_mass = problem.masses / rest[:, None]
    by_number = problem.counts / n_rest.clamp(min=1)[:, None]
    return torch.where(rest[:, None] > 0, by_mass, by_number) * in_rest
