"""Slow float64 oracles: what the fast code is compared with.

Rows of small problems in dense form, many at a time; every formula is written out as in the design,
section 2, without any of the library's shortcuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Dense:
    """A combination written out: p is zero outside a subset, v is zero for an inactive specialist.

    ``g`` has shape (n, n_classes), ``p`` (n, M, n_classes), ``d`` and ``v`` (n, M), ``member``
    (M, n_classes) with 1 inside a subset.
    """

    g: Tensor
    p: Tensor
    d: Tensor
    v: Tensor
    member: Tensor


def dense(generalist, specialists, subsets, active=None, weights=None) -> Dense:
    """The arguments of ``combine`` as float64 probabilities."""
    n, n_classes = generalist.shape
    p = torch.zeros(n, len(subsets), n_classes, dtype=torch.float64)
    member = torch.zeros(len(subsets), n_classes, dtype=torch.float64)
    for m, (log_p, subset) in enumerate(zip(specialists, subsets, strict=True)):
        p[:, m, subset] = log_p[:, :-1].double().exp()
        member[m, subset] = 1.0
    d = torch.stack([log_p[:, -1].double().exp() for log_p in specialists], dim=1)
    v = torch.ones(n, len(subsets), dtype=torch.float64)
    v = v if weights is None else v * weights.double()
    v = v if active is None else v * active
    return Dense(generalist.double().exp(), p, d, v, member)


def forward_objective(problem: Dense, q: Tensor) -> Tensor:
    """``KL(g || q) + sum v_m KL(p_m || q on S_m and dustbin)`` without its constant, (n,)."""
    outside = (q[:, None, :] * (1 - problem.member)).sum(2)
    inside = problem.g + (problem.v[:, :, None] * problem.p).sum(1)
    return -torch.xlogy(inside, q).sum(1) - torch.xlogy(problem.v * problem.d, outside).sum(1)


def reverse_objective(problem: Dense, q: Tensor) -> Tensor:
    """``KL(q || g) + sum v_m KL(q on S_m and dustbin || p_m)``, (n,); infinite off the support."""
    outside = (q[:, None, :] * (1 - problem.member)).sum(2)
    inside = q[:, None, :] * problem.member
    base = (torch.xlogy(q, q) - torch.xlogy(q, problem.g)).sum(1)
    voted = (torch.xlogy(inside, inside) - torch.xlogy(inside, problem.p)).sum(2)
    voted = voted + torch.xlogy(outside, outside) - torch.xlogy(outside, problem.d)
    return base + torch.where(problem.v > 0, problem.v * voted, 0.0).sum(1)


def expectation_maximisation(problem: Dense, n_steps: int = 4000) -> tuple[Tensor, Tensor]:
    """EM from a strictly positive start; returns q and whether each row stands still.

    A row counts as converged where the geometric tail that its last steps extrapolate to is below
    1e-10.
    """
    total = 1 + problem.v.sum(1, keepdim=True)
    uniform = torch.full_like(problem.g, 1 / problem.g.shape[1])
    q = 0.5 * problem.g + 0.5 * uniform
    fixed = problem.g + (problem.v[:, :, None] * problem.p).sum(1)
    beyond = 1 - problem.member
    last = previous = torch.full_like(q[:, 0], torch.inf)
    for _ in range(n_steps):
        mass = q @ beyond.T
        share = torch.where(mass > 0, problem.v * problem.d / mass, 0.0)
        new = (fixed + q * (share @ beyond)) / total
        previous, last = last, (new - q).abs().amax(1)
        q = new
    rate = torch.where(previous > 0, last / previous, 0.0).clamp(max=1.0)
    tail = torch.where(rate < 1, last * rate / (1 - rate), torch.where(last > 0, torch.inf, 0.0))
    return q, (tail < 1e-10) & (last < 1e-12)


def solve_with_cvxpy(problem: Dense, row: int, direction: str = "forward") -> np.ndarray:
    """The minimiser of one row by an interior-point solver, shape (n_classes,)."""
    import cvxpy

    g, p, d, v = (x[row].numpy() for x in (problem.g, problem.p, problem.d, problem.v))
    member = problem.member.numpy() > 0
    q = cvxpy.Variable(len(g))

    def divergence(given, other):
        pair = (given, other) if direction == "forward" else (other, given)
        return cvxpy.sum(cvxpy.rel_entr(*pair))

    cost = divergence(g, q)
    for m in np.flatnonzero(v):
        merged = cvxpy.hstack([q[member[m]], cvxpy.sum(q[~member[m]])])
        cost += v[m] * divergence(np.append(p[m, member[m]], d[m]), merged)
    limits: list[Any] = [cvxpy.sum(q) == 1, q >= 0]
    task = cvxpy.Problem(cvxpy.Minimize(cost), limits)
    task.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    assert q.value is not None
    return q.value


def random_problem(kind: str, n: int, seed: int, n_classes: int = 12, decades: float = 3.0):
    """Arguments of ``combine`` in float64: (generalist, specialists, subsets, active, weights).

    ``kind`` is "one", "disjoint", "covering", "nested" or "overlapping". About one entry in ten is
    -inf, one dustbin in eight is exactly zero, and one row in eight has no active specialist.
    """
    rng = np.random.default_rng([seed, n_classes, len(kind)])
    subsets = _random_subsets(kind, n_classes, rng)
    generalist = _random_log_probs(rng, n, n_classes, decades)
    specialists = []
    for subset in subsets:
        log_p = _random_log_probs(rng, n, len(subset) + 1, decades)
        log_p[rng.random(n) < 1 / 8, -1] = -np.inf
        nothing = np.isinf(log_p).all(1)
        log_p[nothing, 0] = 0.0
        specialists.append(torch.from_numpy(log_p).log_softmax(1))
    active = rng.random((n, len(subsets))) < 0.8
    active[rng.random(n) < 1 / 8] = False
    weights = rng.uniform(0.2, 3.0, len(subsets))
    return (
        torch.from_numpy(generalist).log_softmax(1),
        specialists,
        [torch.from_numpy(subset) for subset in subsets],
        torch.from_numpy(active),
        torch.from_numpy(weights),
    )


def _random_log_probs(rng, n: int, width: int, decades: float) -> np.ndarray:
    values = -np.log(10) * decades * rng.random((n, width))
    values[rng.random((n, width)) < 0.1] = -np.inf
    values[np.isinf(values).all(1), 0] = 0.0
    return values


def _random_subsets(kind: str, n_classes: int, rng) -> list[np.ndarray]:
    order = rng.permutation(n_classes)
    cuts = np.sort(rng.choice(np.arange(1, n_classes), size=3, replace=False))
    parts = np.split(order, cuts)
    if kind == "one":
        return parts[:1]
    if kind == "disjoint":
        return parts[:3]
    if kind == "covering":
        return parts
    if kind == "nested":
        return [order[:cut] for cut in cuts[rng.permutation(3)]]
    sizes = rng.integers(1, n_classes, size=rng.integers(2, 6))
    return [rng.permutation(n_classes)[:size] for size in sizes]
