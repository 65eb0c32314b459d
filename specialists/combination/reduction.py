"""How does a problem over classes become one over membership patterns, and its solution one again?

Each row's classes are read once, to sum the generalist's mass outside of the active subsets, and
written once: ``log q_j = log c_j + log_factor`` of class j's pattern. In between there are only the
places of the active subsets and, for the solvers, a handful of patterns. Rows are worked through in
blocks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.places import PlacePatterns, find_patterns
from specialists.combination.problem import Problem, check_sums, dustbin_masses, log_add
from specialists.combination.solution import PatternProblem, PatternSolution, Solution
from specialists.combination.subsets import Subsets
from specialists.combination.votes import Votes, gather_votes, weighted_votes
from specialists.probability import safe_log

_BLOCK_ELEMENTS = 2**18
_CHUNK_ELEMENTS = 2**21
_SMALL = 1e3

PatternSolver = Callable[[PatternProblem], PatternSolution]
Rows = Tensor | slice


@dataclass(frozen=True)
class _Masses:
    """``c`` at the places, (n, E), and its sum over all other classes, float64 (n,)."""

    joint: Tensor
    rest: Tensor


def solve_by_patterns(
    problem: Problem, rows: Tensor, solver: PatternSolver, result: Solution
) -> None:
    """Minimise KL(p || q) for ``rows``, each of them feasible; write the answers into ``result``.

    A residual of NaN marks a row that needs double precision.

    Parameters
    ----------
    problem : Problem
    rows : int64 Tensor, increasing
    solver : callable
        Finds the masses of patterns.
    result : Solution
        Of all rows of the problem.
    """
    subsets = Subsets.of(problem.subsets, problem.n_classes, problem.generalist.device)
    b = dustbin_masses(problem)
    n_active = problem.active[rows].sum(1)
    for width in n_active.unique().tolist():
        group = rows[n_active == width]
        size = max(1, _CHUNK_ELEMENTS // max(width * subsets.classes.shape[1], 64))
        for chunk in _chunks(group, problem.n_rows, size):
            _solve_chunk(
                problem, subsets, gather_votes(problem, subsets, chunk, b), chunk, solver, result
            )


def _solve_chunk(
    problem: Problem,
    subsets: Subsets,
    votes: Votes,
    rows: Rows,
    solver: PatternSolver,
    result: Solution,
) -> None:
    patterns = find_patterns(votes, subsets, problem.n_classes)
    masses = _sum_masses(problem, votes, rows)
    by_pattern = patterns.sums(votes, masses.joint, masses.rest)
    found = solver(PatternProblem(by_pattern, patterns.counts, patterns.inside, votes.b))
    dtype = masses.joint.dtype
    log_factor = found.log_factor.masked_fill(found.lost, 0.0).to(dtype)
    log_c = _log_joint(problem, votes, masses.joint, rows)
    patterns.add_by_place(votes, log_c, log_factor)
    _write(problem.generalist, log_factor[:, :1], log_c, votes.classes, rows, result.log_probs)
    _refill(result.log_probs, rows, votes, patterns, found)
    result.kkt_residual[rows] = torch.where(
        _is_coarse(by_pattern, patterns, dtype), torch.nan, found.kkt_residual
    )
    result.n_iterations[rows] = found.n_iterations


def _is_coarse(masses: Tensor, patterns: PlacePatterns, dtype: torch.dtype) -> Tensor:
    """Rows with a pattern whose mass single precision cannot hold."""
    if dtype == torch.float64:
        return torch.zeros_like(masses[:, 0], dtype=torch.bool)
    return ((masses < _SMALL * torch.finfo(dtype).tiny) & (patterns.counts > 0)).any(1)


def _chunks(rows: Tensor, n_rows: int, size: int) -> Iterator[Rows]:
    """``rows`` in pieces; slices, which copy nothing, if they are all rows of the problem."""
    if len(rows) < n_rows:
        yield from rows.split(size)
        return
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def _blocks(rows: Rows, n_classes: int, device: torch.device) -> Iterator[tuple[slice, Rows]]:
    """Positions within ``rows``, and the rows there; few enough to fit into the cache of a CPU."""
    n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    size = max(1, _BLOCK_ELEMENTS // n_classes) if device.type == "cpu" else n
    for start in range(0, n, size):
        stop = min(start + size, n)
        if isinstance(rows, slice):
            yield slice(start, stop), slice(rows.start + start, rows.start + stop)
        else:
            yield slice(start, stop), rows[start:stop]


def _sum_masses(problem: Problem, votes: Votes, rows: Rows) -> _Masses:
    """The rest is the sum of what is left after the places are cleared, not a difference."""
    joint = weighted_votes(problem, votes, rows)
    zeros = torch.zeros(1, dtype=joint.dtype, device=joint.device)
    scratch = None
    total, rest = [], []
    for block, block_rows in _blocks(rows, problem.n_classes, joint.device):
        log_g, at = _rows_of(problem.generalist, block_rows), votes.classes[block]
        scratch = torch.empty_like(log_g) if scratch is None else scratch
        c = torch.exp(log_g, out=scratch[: len(log_g)])
        total.append(c.sum(1))
        c.scatter_add_(1, at, joint[block])
        torch.gather(c, 1, at, out=joint[block])
        c.scatter_(1, at, zeros.expand_as(at))
        rest.append(c.sum(1))
    check_sums(torch.cat(total), problem.rows[rows], problem, "generalist")
    return _Masses(joint, torch.cat(rest).double())


def _rows_of(matrix: Tensor, rows: Rows) -> Tensor:
    return matrix[rows] if isinstance(rows, slice) else matrix.index_select(0, rows)


def _log_joint(problem: Problem, votes: Votes, joint: Tensor, rows: Rows) -> Tensor:
    """``log c`` at the places; by way of logs where it is close to the smallest number."""
    least = _SMALL * torch.finfo(joint.dtype).tiny
    if joint.numel() == 0 or float(joint.amin()) >= least:
        return joint.log_()
    few = (joint < least).any(1).nonzero().squeeze(1)
    log_c = joint.log_()
    part = votes.at(few)
    log_g = _rows_of(problem.generalist, rows)[few]
    weighted = part.log_p + part.by_place(part.v.log()).to(log_g.dtype)
    for t in range(part.slots.shape[1]):
        places = slice(t * part.size, (t + 1) * part.size)
        at = part.classes[:, places]
        log_g.scatter_(1, at, log_add(log_g.gather(1, at), weighted[:, places]))
    log_c[few] = log_g.gather(1, part.classes)
    return log_c


def _write(
    log_g: Tensor,
    log_factor: Tensor,
    log_inside: Tensor,
    classes: Tensor,
    rows: Rows,
    log_q: Tensor,
) -> None:
    """``log g + log_factor``, and ``log_inside`` at the places."""
    for block, block_rows in _blocks(rows, log_g.shape[1], log_g.device):
        at, values, factor = classes[block], log_inside[block], log_factor[block]
        if isinstance(block_rows, slice):
            torch.add(log_g[block_rows], factor, out=log_q[block_rows]).scatter_(1, at, values)
        else:
            part = log_g.index_select(0, block_rows).add_(factor).scatter_(1, at, values)
            log_q.index_copy_(0, block_rows, part)


def _refill(
    log_q: Tensor, rows: Rows, votes: Votes, patterns: PlacePatterns, found: PatternSolution
) -> None:
    """Give each lost pattern's mass to its classes, whose ``log_q`` still is ``log c``.

    In proportion to ``c`` taken in logs, or evenly where all its ``c`` are exactly zero: the limit
    of a generalist smoothed by a uniform.
    """
    few = found.lost.any(1).nonzero().squeeze(1)
    if not len(few):
        return
    at = few + (rows.start or 0) if isinstance(rows, slice) else rows[few]
    log_c, lost = log_q[at], found.lost[few]
    ids = torch.zeros_like(log_c, dtype=torch.int64)
    ids.scatter_(1, votes.classes[few], patterns.ids(votes, few))
    top = log_c.new_full(lost.shape, -torch.inf).scatter_reduce(1, ids, log_c, "amax")
    base = log_c.masked_fill(top.gather(1, ids) == -torch.inf, 0.0)
    relative = base - top.masked_fill(top == -torch.inf, 0.0).gather(1, ids)
    sums = torch.zeros_like(top).scatter_add_(1, ids, relative.exp())
    shift = safe_log(found.q[few]).to(log_c.dtype) - safe_log(sums)
    log_q[at] = torch.where(lost.gather(1, ids), relative + shift.gather(1, ids), log_c)
