"""How do specialists combine whose subsets are nested? In closed form, ring by ring.

For S_1 in S_2 in ... S_k, ring m holds the classes that lie outside of S_m, but inside S_{m+1}. Its
mass follows from that of the rings before it (METHOD.md (8)); the denominator ``n(R_m) - b_m`` is
formed as the sum ``c(ring m) + n(R_{m+1})``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specialists.combination.patterns.pattern_problem import (
    PatternProblem,
    PatternSolution,
    kkt_residual,
    lost_patterns,
)
from specialists.probability import safe_log


def solve_nested(problem: PatternProblem) -> PatternSolution:
    """Minimise KL(p || q) for rows whose active subsets form a chain, each of them feasible."""
    sizes = (problem.inside * problem.counts[:, None, :]).sum(2)
    b = problem.b.gather(1, sizes.argsort(dim=1, stable=True))
    n_rings = b.shape[1] + 1
    ids = (~problem.inside).sum(1)  # of 3 nested subsets, classes that 2 hold make ring 1
    masses = _ring_sums(problem.masses, ids, n_rings)
    counts = _ring_sums(problem.counts, ids, n_rings)
    rings = ring_masses(masses, b, counts)
    q = rings.gather(1, ids).masked_fill(problem.counts == 0, 0.0)
    log_factor = safe_log(q) - safe_log(problem.masses).clamp(min=-1e300)
    lost = lost_patterns(problem.masses, q)
    residual = _residual(rings, masses, b, counts)
    return PatternSolution(q, log_factor, lost, residual, torch.zeros_like(ids[:, 0]))


def ring_masses(masses: Tensor, b: Tensor, counts: Tensor) -> Tensor:
    """The solution's mass of each ring, (n, k + 1), which sums to 1.

    ``masses`` and ``counts`` (n, k + 1) are c and classes of ring 0 ... k, ``b`` (n, k) weighted
    dustbins of the subsets in increasing size. A ring below which nothing has mass shares evenly
    with the rings below it.
    """
    beyond = torch.zeros_like(masses)
    beyond[:, :-1] = _tail_sums(masses)[:, 1:] + _tail_sums(b)
    empty = masses + beyond == 0
    masses = torch.where(empty, counts, masses)
    beyond[:, :-1] = torch.where(empty[:, :-1], _tail_sums(counts)[:, 1:], beyond[:, :-1])
    whole = (masses + beyond).clamp(min=torch.finfo(masses.dtype).tiny)
    left = torch.cat([torch.ones_like(whole[:, :1]), (beyond / whole)[:, :-1]], dim=1).cumprod(1)
    return left * (masses / whole)


def _tail_sums(values: Tensor) -> Tensor:
    return values.flip(1).cumsum(1).flip(1)


def _ring_sums(values: Tensor, ids: Tensor, n_rings: int) -> Tensor:
    return values.new_zeros(len(values), n_rings).scatter_add_(1, ids, values)


def _residual(q: Tensor, masses: Tensor, b: Tensor, counts: Tensor) -> Tensor:
    total = masses.sum(1, keepdim=True) + b.sum(1, keepdim=True)
    width = b.shape[1]
    outside = torch.ones(width, width + 1, dtype=torch.float64, device=q.device).triu(1)
    outside = outside.expand(len(q), -1, -1) * (b > 0)[:, :, None]
    return kkt_residual(q, masses / total, outside, b / total, counts > 0)
