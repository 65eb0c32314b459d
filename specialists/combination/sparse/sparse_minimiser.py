"""How are predictions combined over so many classes that no row can list them all?

The generalist is given as its k most probable classes and the mass of all others, each row's active
specialists as distributions over their subsets; the result has the same form. Every other class has
the same factor at the optimum, so the cost of a row depends on k and its active subsets only. The
result is that of :func:`specialists.combination.combine` on the full distribution in which the
other classes share the rest by a prior (METHOD.md (12)), uniform or, say, the class frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specialists.combination.patterns.active_rows import ActiveRows
from specialists.combination.patterns.entry_patterns import EntryPatterns, find_entry_patterns
from specialists.combination.patterns.pattern_problem import GOOD, PatternProblem, PatternSolution
from specialists.combination.result import report_unsolved
from specialists.combination.solvers.disjoint import solve_disjoint
from specialists.combination.solvers.overlapping import solve_overlapping
from specialists.combination.sparse.sparse_problem import SparseProblem, as_sparse_problem
from specialists.combination.subset_tables import Subsets
from specialists.probability import safe_log

_CHUNK_ELEMENTS = 2**20


@dataclass(frozen=True)
class SparseCombination:
    """Combined distributions over the classes that were named, and the mass of all others.

    Parameters
    ----------
    classes : int64 Tensor of shape (n, k + K s)
        The generalist's most probable classes, then those of the active subsets; -1 at entries
        without a class and at repetitions, whose ``log_probs`` are -inf.
    log_probs : Tensor of shape (n, k + K s)
    log_rest : Tensor of shape (n,)
        Of all classes that are not named together; they share it as they shared the generalist's.
    kkt_residual, n_iterations, converged : Tensors of shape (n,)
        As in :class:`specialists.combination.Combination`.
    """

    classes: Tensor
    log_probs: Tensor
    log_rest: Tensor
    kkt_residual: Tensor
    n_iterations: Tensor
    converged: Tensor

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        """The k most probable of the named classes and their log-probabilities, (n, k) each."""
        log_probs, at = self.log_probs.topk(k, dim=1)
        return self.classes.gather(1, at), log_probs


def combine_sparse(
    classes: Tensor,
    log_probs: Tensor,
    log_rest: Tensor,
    specialists: Tensor,
    active: Tensor,
    subsets: Subsets | Sequence[Tensor],
    weights: Tensor | None = None,
    prior: Tensor | None = None,
    n_classes: int | None = None,
    tolerance: float = 1e-10,
    strict: bool = False,
) -> SparseCombination:
    """Minimise ``KL(p_g || q) + sum over active m of v_m KL(p_m || q on S_m and dustbin)``.

    Parameters
    ----------
    classes : int64 Tensor of shape (n, k)
        The generalist's most probable classes (any distinct classes).
    log_probs : Tensor of shape (n, k)
        Their log-probabilities.
    log_rest : Tensor of shape (n,)
        Log of the mass of all other classes; -inf if there is none.
    specialists : Tensor of shape (n, K, s + 1)
        Log-probabilities of up to K active specialists a row: the classes of the subset in its
        order, -inf for the rest of a smaller subset, the dustbin last. s is the largest size.
    active : int64 Tensor of shape (n, K)
        Their numbers, distinct within a row; -1 where there are fewer, whose values are not read.
    subsets : Subsets, or sequence of M int64 Tensors
        Make :class:`Subsets` once for many calls; a sequence needs ``n_classes``.
    weights : Tensor of shape (M,), optional
        v_m > 0; default 1.
    prior : Tensor of shape (n_classes,), optional
        Non-negative pi, by which the generalist's rest is spread; default uniform.
    n_classes : int, optional
        Of a sequence of subsets.
    tolerance, strict
        As for :func:`specialists.combination.combine`.

    Returns
    -------
    SparseCombination
        Computed in float64, in the inputs' dtype (float32 for half precision); no gradient.

    Raises
    ------
    InputError
        If shapes, indices, weights, prior or sums of probabilities are wrong, or a subset holds
        all classes.
    ConvergenceError
        With ``strict=True`` only.
    """
    with torch.no_grad():
        problem = as_sparse_problem(
            classes, log_probs, log_rest, specialists, active, subsets, weights, prior, n_classes
        )
        result = _empty_result(problem)
        n_active = (problem.active >= 0).sum(1)
        size = problem.subsets.classes.shape[1]
        for width in n_active.unique().tolist():
            rows = (n_active == width).nonzero().squeeze(1)
            if width == 0:
                _keep_generalist(problem, rows, result)
                continue
            for chunk in rows.split(max(1, _CHUNK_ELEMENTS // (width * size))):
                _solve_chunk(problem.select(chunk, width), chunk, result)
    converged = result.kkt_residual <= tolerance
    report_unsolved(result.kkt_residual, converged, tolerance, strict)
    log_probs, log_rest = (x.to(problem.dtype) for x in (result.log_probs, result.log_rest))
    return replace(result, log_probs=log_probs, log_rest=log_rest, converged=converged)


def _empty_result(problem: SparseProblem) -> SparseCombination:
    n, k = problem.classes.shape
    width = k + problem.active.shape[1] * problem.subsets.classes.shape[1]
    zero = problem.log_rest.new_zeros(n)
    return SparseCombination(
        problem.classes.new_full((n, width), -1),
        problem.log_probs.new_full((n, width), -torch.inf),
        zero.clone(),
        zero,
        problem.classes.new_zeros(n),
        torch.zeros_like(zero, dtype=torch.bool),
    )


def _keep_generalist(problem: SparseProblem, rows: Tensor, result: SparseCombination) -> None:
    k = problem.classes.shape[1]
    result.classes[rows, :k] = problem.classes[rows]
    result.log_probs[rows, :k] = problem.log_probs[rows]
    result.log_rest[rows] = problem.log_rest[rows]


def _solve_chunk(problem: SparseProblem, rows: Tensor, result: SparseCombination) -> None:
    """Rows that all have as many active specialists as there are columns of ``active``."""
    active = problem.active_rows()
    patterns = find_entry_patterns(active, problem.subsets)
    matched, joint, rest = _sum_masses(problem, active, patterns)
    outside = problem.log_probs.exp().masked_fill(matched, 0.0).sum(1)
    masses = patterns.sums(active, joint, outside + rest)
    solution = _solve_patterns(PatternProblem(masses, patterns.counts, patterns.inside, active.b))
    evenly = safe_log(solution.q) - patterns.counts.clamp(min=1).log()
    log_factor = solution.log_factor.masked_fill(solution.lost, 0.0)
    log_c = patterns.add_by_entry(active, safe_log(joint), log_factor)
    lost = torch.where(solution.lost, evenly, -torch.inf)
    log_c = torch.logaddexp(log_c, patterns.add_by_entry(active, torch.zeros_like(log_c), lost))
    top = torch.where(solution.lost[:, :1], evenly[:, :1], problem.log_probs + log_factor[:, :1])
    top = top.masked_fill(matched, -torch.inf)
    named = patterns.named(active)
    k = problem.classes.shape[1]
    stop = k + joint.shape[1]
    result.classes[rows, :k] = problem.classes.masked_fill(matched, -1)
    result.classes[rows, k:stop] = active.classes.masked_fill(~named, -1)
    result.log_probs[rows, :k] = top
    result.log_probs[rows, k:stop] = log_c.masked_fill(~named, -torch.inf)
    unnamed = (patterns.counts[:, 0] - (~matched).sum(1)).clamp(min=0)
    result.log_rest[rows] = torch.where(
        solution.lost[:, 0], evenly[:, 0] + safe_log(unnamed), safe_log(rest) + log_factor[:, 0]
    )
    result.kkt_residual[rows] = solution.kkt_residual
    result.n_iterations[rows] = solution.n_iterations


def _solve_patterns(problem: PatternProblem) -> PatternSolution:
    """By the scalar equation where no class is shared and it serves; by Newton elsewhere."""
    if problem.masses.shape[1] > problem.b.shape[1] + 1:
        return solve_overlapping(problem)
    solution = solve_disjoint(problem)
    poor = (~(solution.kkt_residual <= GOOD)).nonzero().squeeze(1)
    if not len(poor):
        return solution
    return solution.replaced(poor, solve_overlapping(problem.select(poor)))


def _sum_masses(
    problem: SparseProblem, active: ActiveRows, patterns: EntryPatterns
) -> tuple[Tensor, Tensor, Tensor]:
    """Which of the top classes are entries, (n, k); ``c`` at the entries, (n, E); the rest, (n,).

    The rest is the generalist's mass of all classes that are neither.

    Top classes [8, 2] match entries of the classes [0, 1, 2, 2, 3, 2] in ``row`` 0 at ``i`` 1, the
    second top class, and ``entry`` 2 and 3 (the last entry is a repetition).
    """
    matched = torch.zeros_like(problem.classes, dtype=torch.bool)
    row, i, entry = problem.matches()
    matched[row, i] = True
    joint, rest = problem.spread_rest(active, patterns, matched)
    joint[row, entry] = problem.log_probs[row, i].exp()
    p = active.log_p.exp() * active.by_entry(active.v)
    if active.valid is not None:
        p = p * active.valid
    return matched, patterns.merged(active, joint, p), rest
