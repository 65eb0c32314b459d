"""Which distribution agrees best with a generalist and its active specialists?

``combine`` returns, for each row, the q that minimises ``KL(p_g || q) + sum over active m of
v_m KL(p_m || q aggregated to S_m and the dustbin)`` (METHOD.md (1); Hinton, Vinyals, Dean 2015,
equation 5, there by gradient descent; here exactly, and differentiable). Each row goes to a solver
by the shape of its active subsets: disjoint (one scalar equation), nested (closed form), anything
else (Newton in the number of specialists). On a CPU a handful of rows goes to NumPy first and many
to compiled code, if Numba is installed; what they leave goes to the solvers of PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from specialists.combination.kernels.few_rows import are_few, solve_few
from specialists.combination.kernels.fused import is_fused, solve_fused
from specialists.combination.patterns.pattern_problem import GOOD
from specialists.combination.patterns.reduction import PatternSolver, solve_by_patterns
from specialists.combination.problem import (
    CombinationProblem,
    as_problem,
    check_probabilities,
    check_sums,
)
from specialists.combination.result import Combination, Solution, report_unsolved, result_memory
from specialists.combination.solvers.disjoint import solve_disjoint
from specialists.combination.solvers.gradients import attach_gradient
from specialists.combination.solvers.nested import solve_nested
from specialists.combination.solvers.overlapping import solve_overlapping
from specialists.combination.solvers.reverse import solve_reverse
from specialists.combination.subset_tables import Subsets
from specialists.errors import InputError

_BLOCK_ELEMENTS = 2**18

_SOLVERS: tuple[PatternSolver, ...] = (solve_disjoint, solve_nested, solve_overlapping)
_NO_MINIMISER, _NO_SPECIALIST = len(_SOLVERS), len(_SOLVERS) + 1


def combine(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    active: Tensor | None = None,
    weights: Tensor | None = None,
    direction: str = "forward",
    tolerance: float = 1e-10,
    strict: bool = False,
    out: Tensor | None = None,
) -> Combination:
    """Minimise ``KL(p_g || q) + sum over active m of v_m KL(p_m || q on S_m and dustbin)``.

    Parameters
    ----------
    generalist : Tensor of shape (n, n_classes)
        Log-probabilities, natural base; -inf is a probability of zero.
    specialists : sequence of M Tensors of shape (n, k_m + 1)
        Log-probabilities over the classes of subset m in its order, then the dustbin. Rows in
        which the specialist is not active are not read.
    subsets : Subsets, or sequence of M integer Tensors of shape (k_m,)
        Distinct class indices. Make :class:`Subsets` once for many calls: they are checked once.
    active : bool Tensor of shape (n, M), optional
        Which specialists are active in which row; default all. A row without any keeps the
        generalist.
    weights : Tensor of shape (M,), optional
        v_m > 0; default (and the paper) 1.
    direction : {"forward", "reverse"}
        KL(p || q), the paper's choice for its experiments, or KL(q || p).
    tolerance : float
        Largest relative residual of a converged row.
    strict : bool
        Raise instead of warn where a row has no minimiser or did not converge.
    out : Tensor of shape (n, n_classes), optional
        Memory for ``log_probs``, contiguous, in the result's dtype. Fresh memory may take longer to
        touch for the first time than the combination itself.

    Returns
    -------
    Combination
        A row without a minimiser keeps the generalist, with ``converged`` False. Forward: an
        active subset is all classes and its dustbin is not zero. Reverse: every class has a zero
        from someone.

    Notes
    -----
    Forward on a CPU, calls of more than 8 rows and at least 2^11 numbers in ``generalist`` use
    compiled code if Numba is installed (the extra ``fast``). It compiles in the first such call,
    some ten seconds once a machine; a line on stderr says so. Processes after that load it in less
    than a second.

    Raises
    ------
    InputError
        If shapes, dtypes, indices, weights or sums of probabilities are wrong, or ``out`` does not
        fit, or a gradient is asked for with it.
    ConvergenceError
        With ``strict=True`` only.

    Examples
    --------
    >>> generalist = torch.tensor([[0.4, 0.4, 0.2]]).log()
    >>> specialist = torch.tensor([[0.7, 0.1, 0.2]]).log()
    >>> combine(generalist, [specialist], [torch.tensor([0, 1])]).log_probs.exp()
    tensor([[0.5500, 0.2500, 0.2000]])
    """
    if direction not in ("forward", "reverse"):
        raise InputError(
            "unknown direction of the divergence",
            got=repr(direction),
            expected="'forward', KL(p || q), or 'reverse', KL(q || p)",
        )
    problem = as_problem(generalist, specialists, subsets, active, weights)
    return minimise(problem, direction, tolerance, strict, out)


def minimise(
    problem: CombinationProblem,
    direction: str = "forward",
    tolerance: float = 1e-10,
    strict: bool = False,
    out: Tensor | None = None,
) -> Combination:
    """What :func:`combine` does with arguments that were checked."""
    with torch.no_grad():
        solution = _solve(problem, direction, result_memory(problem, out))
    converged = solution.kkt_residual <= tolerance
    report_unsolved(solution.kkt_residual, converged, tolerance, strict, stacklevel=4)
    log_probs = solution.log_probs
    if problem.requires_grad and problem.specialists:
        log_probs = attach_gradient(problem, solution, direction)
    elif problem.requires_grad:
        log_probs = problem.generalist.clone()
    return Combination(log_probs, solution.kkt_residual, solution.n_iterations, converged)


def _solve(problem: CombinationProblem, direction: str, log_probs: Tensor) -> Solution:
    """Combine every row; the answers are written into ``log_probs``."""
    result = Solution(
        log_probs,
        torch.zeros(problem.n_rows, dtype=torch.float64, device=problem.rows.device),
        torch.zeros_like(problem.rows),
    )
    rows = None
    if direction == "forward" and are_few(problem):
        rows = solve_few(problem, result)
    elif direction == "forward" and is_fused(problem):
        rows = solve_fused(problem, result)
    if rows is None or len(rows) == problem.n_rows:
        _solve_by_torch(problem, direction, result)
        return result
    if len(rows):
        part = problem.select(rows)
        left = Solution(result_memory(part), result.kkt_residual[rows], result.n_iterations[rows])
        _solve_by_torch(part, direction, left)
        result.put(rows, left)
    return result


def _solve_by_torch(problem: CombinationProblem, direction: str, result: Solution) -> None:
    """Send every row to the solver of its kind; the answers are written into ``result``."""
    kinds = _kinds(problem, direction)
    for kind in kinds.unique().tolist():
        rows = (kinds == kind).nonzero().squeeze(1)
        if kind >= _NO_MINIMISER:
            _keep_generalist(problem, rows, result.log_probs)
            result.kkt_residual[rows] = torch.inf if kind == _NO_MINIMISER else 0.0
        elif direction == "reverse":
            _solve_reverse(problem, rows, result)
        else:
            solve_by_patterns(problem, rows, _SOLVERS[kind], result)
    if direction == "forward":
        _solve_again(problem, result)


def _keep_generalist(problem: CombinationProblem, rows: Tensor, log_q: Tensor) -> None:
    for block in rows.split(max(1, _BLOCK_ELEMENTS // problem.n_classes)):
        log_g = problem.generalist.index_select(0, block)
        check_sums(log_g.exp().sum(1), problem.rows[block], problem, "generalist")
        log_q.index_copy_(0, block, log_g)


def _solve_again(problem: CombinationProblem, result: Solution) -> None:
    """Take rows in double precision that need it, and rows with a large residual to Newton.

    Where disjoint subsets cover everything, one of them may hold nearly all mass and another none:
    then u + b cancels, and the scalar equation cannot tell how little the other one gets.
    """
    coarse = result.kkt_residual.isnan().nonzero().squeeze(1)
    if len(coarse):
        finer = problem.select(coarse).double()
        solved = Solution(result_memory(finer), result.kkt_residual[coarse], coarse * 0)
        _solve_by_torch(finer, "forward", solved)
        result.put(coarse, solved)
    poor = ~(result.kkt_residual <= GOOD) & (result.kkt_residual != torch.inf)
    poor[coarse] = False
    rows = poor.nonzero().squeeze(1)
    if len(rows):
        solve_by_patterns(problem, rows, solve_overlapping, result)


def _solve_reverse(problem: CombinationProblem, rows: Tensor, result: Solution) -> None:
    for block in rows.split(max(1, _BLOCK_ELEMENTS // problem.n_classes)):
        part = problem.select(block)
        check_probabilities(part)
        result.put(block, solve_reverse(part))


def _kinds(problem: CombinationProblem, direction: str) -> Tensor:
    """Solver of each row: 0 disjoint, 1 nested, 2 neither; or why there is nothing to solve."""
    silent = ~problem.active.any(1)
    if direction == "reverse":
        return torch.where(silent, _NO_SPECIALIST, 0)
    kinds = torch.zeros_like(problem.rows)
    sizes = problem.subsets.sizes
    if problem.subsets.overlaps is not None:
        active, relations = problem.active.float(), problem.subsets.relations
        overlaps = _pairs(active, (relations > 0).float())
        crossings = _pairs(active, (relations != 1).float().fill_diagonal_(0.0))
        kinds = torch.where(overlaps == 0, 0, torch.where(crossings == 0, 1, 2))
    for m in (sizes == problem.n_classes).nonzero().squeeze(1).tolist():
        outside = problem.specialists[m][:, -1].double().exp() > 0
        kinds = torch.where(problem.active[:, m] & outside, _NO_MINIMISER, kinds)
    return torch.where(silent, _NO_SPECIALIST, kinds)


def _pairs(active: Tensor, relation: Tensor) -> Tensor:
    """Number of ordered pairs of active specialists in ``relation``, shape (n,)."""
    return ((active @ relation) * active).sum(1)
