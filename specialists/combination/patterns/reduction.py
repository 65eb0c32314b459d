"""How does a problem over classes become one over membership patterns, and its solution one again?

Each row's classes are read once, to sum the generalist's mass outside of the active subsets, and
written once: ``log q_j = log c_j + log_factor`` of class j's pattern (METHOD.md (4)). In between
there are only the entries of the active subsets and, for the solvers, a handful of patterns. Blocks
of rows are small enough to stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from specialists.combination.patterns.active_rows import (
    ActiveRows,
    Rows,
    gather_active_rows,
    weighted_probs,
)
from specialists.combination.patterns.entry_patterns import EntryPatterns, find_entry_patterns
from specialists.combination.patterns.pattern_problem import PatternProblem, PatternSolution
from specialists.combination.problem import CombinationProblem, check_sums, dustbin_masses, log_add
from specialists.combination.result import Solution
from specialists.probability import safe_log

_BLOCK_ELEMENTS = 2**18
_CHUNK_ELEMENTS = 2**21
_SMALL = 1e3

PatternSolver = Callable[[PatternProblem], PatternSolution]


def solve_by_patterns(
    problem: CombinationProblem, rows: Tensor, solver: PatternSolver, result: Solution
) -> None:
    """Minimise KL(p || q) for ``rows``, each of them feasible; write the answers into ``result``.

    The rows are increasing; ``result`` holds all rows of the problem. A residual of NaN marks a row
    that needs double precision.
    """
    b = dustbin_masses(problem)
    n_active = problem.active[rows].sum(1)
    for width in n_active.unique().tolist():
        group = rows[n_active == width]
        size = max(1, _CHUNK_ELEMENTS // max(width * problem.subsets.classes.shape[1], 64))
        for chunk in _chunks(group, problem.n_rows, size):
            _solve_chunk(problem, chunk, b, solver, result)


def _solve_chunk(
    problem: CombinationProblem, rows: Rows, b: Tensor, solver: PatternSolver, result: Solution
) -> None:
    active = gather_active_rows(problem, rows, b)
    patterns = find_entry_patterns(active, problem.subsets)
    joint, rest = _sum_masses(problem, active, rows)
    by_pattern = patterns.sums(active, joint, rest)
    solution = solver(PatternProblem(by_pattern, patterns.counts, patterns.inside, active.b))
    dtype = joint.dtype
    log_factor = solution.log_factor.masked_fill(solution.lost, 0.0).to(dtype)
    log_c = _log_joint(problem, active, joint, rows)
    patterns.add_by_entry(active, log_c, log_factor)
    _write(problem.generalist, log_factor[:, :1], log_c, active.classes, rows, result.log_probs)
    _refill(result.log_probs, rows, active, patterns, solution)
    result.kkt_residual[rows] = torch.where(
        _is_coarse(by_pattern, patterns, dtype), torch.nan, solution.kkt_residual
    )
    result.n_iterations[rows] = solution.n_iterations


def _is_coarse(masses: Tensor, patterns: EntryPatterns, dtype: torch.dtype) -> Tensor:
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
    """Positions within ``rows``, and the rows there; on a CPU as many as its cache holds."""
    n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    size = max(1, _BLOCK_ELEMENTS // n_classes) if device.type == "cpu" else n
    for start in range(0, n, size):
        stop = min(start + size, n)
        if isinstance(rows, slice):
            yield slice(start, stop), slice(rows.start + start, rows.start + stop)
        else:
            yield slice(start, stop), rows[start:stop]


def _sum_masses(
    problem: CombinationProblem, active: ActiveRows, rows: Rows
) -> tuple[Tensor, Tensor]:
    """``c`` at the entries, (n, E), and its sum over all other classes, float64 (n,).

    The rest is the sum of what is left after the entries are cleared, not a difference.
    """
    joint = weighted_probs(problem, active, rows)
    zeros = torch.zeros(1, dtype=joint.dtype, device=joint.device)
    scratch = None
    total, rest = [], []
    for block, block_rows in _blocks(rows, problem.n_classes, joint.device):
        log_g, at = _rows_of(problem.generalist, block_rows), active.classes[block]
        scratch = torch.empty_like(log_g) if scratch is None else scratch
        c = torch.exp(log_g, out=scratch[: len(log_g)])
        total.append(c.sum(1))
        c.scatter_add_(1, at, joint[block])
        torch.gather(c, 1, at, out=joint[block])
        c.scatter_(1, at, zeros.expand_as(at))
        rest.append(c.sum(1))
    check_sums(torch.cat(total), problem.rows[rows], problem, "generalist")
    return joint, torch.cat(rest).double()


def _rows_of(matrix: Tensor, rows: Rows) -> Tensor:
    return matrix[rows] if isinstance(rows, slice) else matrix.index_select(0, rows)


def _log_joint(
    problem: CombinationProblem, active: ActiveRows, joint: Tensor, rows: Rows
) -> Tensor:
    """``log c`` at the entries; by way of logs where it is close to the smallest number."""
    least = _SMALL * torch.finfo(joint.dtype).tiny
    if joint.numel() == 0 or float(joint.amin()) >= least:
        return joint.log_()
    few = (joint < least).any(1).nonzero().squeeze(1)
    log_c = joint.log_()
    part = active.select(few)
    log_g = _rows_of(problem.generalist, rows)[few]
    weighted = part.log_p + part.by_entry(part.v.log()).to(log_g.dtype)
    for t in range(part.slots.shape[1]):
        columns = slice(t * part.size, (t + 1) * part.size)
        at = part.classes[:, columns]
        log_g.scatter_(1, at, log_add(log_g.gather(1, at), weighted[:, columns]))
    log_c[few] = log_g.gather(1, part.classes)
    return log_c


def _write(
    log_g: Tensor, factor: Tensor, log_inside: Tensor, classes: Tensor, rows: Rows, log_q: Tensor
) -> None:
    """``log g + factor``, and ``log_inside`` at the entries."""
    for block, block_rows in _blocks(rows, log_g.shape[1], log_g.device):
        at, values, shift = classes[block], log_inside[block], factor[block]
        if isinstance(block_rows, slice):
            torch.add(log_g[block_rows], shift, out=log_q[block_rows]).scatter_(1, at, values)
        else:
            part = log_g.index_select(0, block_rows).add_(shift).scatter_(1, at, values)
            log_q.index_copy_(0, block_rows, part)


def _refill(
    log_q: Tensor, rows: Rows, active: ActiveRows, patterns: EntryPatterns, solved: PatternSolution
) -> None:
    """Give each lost pattern's mass to its classes, whose ``log_q`` still is ``log c``.

    In proportion to ``c`` taken in logs, or evenly where all its ``c`` are exactly zero: the limit
    of a generalist smoothed by a uniform.
    """
    few = solved.lost.any(1).nonzero().squeeze(1)
    if not len(few):
        return
    at = torch.arange(len(log_q), device=log_q.device)[rows][few]
    log_c, lost = log_q[at], solved.lost[few]
    ids = torch.zeros_like(log_c, dtype=torch.int64)
    ids.scatter_(1, active.classes[few], patterns.ids(active, few))
    top = log_c.new_full(lost.shape, -torch.inf).scatter_reduce(1, ids, log_c, "amax")
    base = log_c.masked_fill(top.gather(1, ids) == -torch.inf, 0.0)
    relative = base - top.masked_fill(top == -torch.inf, 0.0).gather(1, ids)
    sums = torch.zeros_like(top).scatter_add_(1, ids, relative.exp())
    shift = safe_log(solved.q[few]).to(log_c.dtype) - safe_log(sums)
    log_q[at] = torch.where(lost.gather(1, ids), relative + shift.gather(1, ids), log_c)
