"""Which distribution agrees best with a generalist and its active specialists?

``combine`` returns, for each row, the q that minimises ``KL(p_g || q) + sum over active m of
v_m KL(p_m || q aggregated to S_m and the dustbin)`` (Hinton, Vinyals, Dean 2015, equation 5, there
by gradient descent; here exactly). Rows are sorted by the shape of their active subsets: disjoint
(one scalar equation), nested (closed form), anything else (Newton in the number of specialists).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from specialists.combination.disjoint import solve_disjoint
from specialists.combination.nested import solve_nested
from specialists.combination.overlapping import solve_overlapping
from specialists.combination.problem import Problem, as_problem, check_probabilities
from specialists.combination.solution import Combination, Solution
from specialists.errors import ConvergenceError, ConvergenceWarning, InputError

_BLOCK_ELEMENTS = 2**18

Solver = Callable[[Problem], Solution]


def combine(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Sequence[Tensor],
    active: Tensor | None = None,
    weights: Tensor | None = None,
    direction: str = "forward",
    tolerance: float = 1e-10,
    strict: bool = False,
) -> Combination:
    """Minimise ``KL(p_g || q) + sum over active m of v_m KL(p_m || q on S_m and dustbin)``.

    Parameters
    ----------
    generalist : Tensor of shape (n, n_classes)
        Log-probabilities, natural base; -inf is a probability of zero.
    specialists : sequence of M Tensors of shape (n, k_m + 1)
        Log-probabilities over the classes of subset m in its order, then the dustbin. Rows in
        which the specialist is not active are not read.
    subsets : sequence of M integer Tensors of shape (k_m,)
        Distinct class indices.
    active : bool Tensor of shape (n, M), optional
        Which specialists vote in which row; default all. A row without any keeps the generalist.
    weights : Tensor of shape (M,), optional
        v_m > 0; default (and the paper) 1.
    direction : {"forward", "reverse"}
        KL(p || q), the paper's choice for its experiments, or KL(q || p).
    tolerance : float
        Largest relative residual of a converged row.
    strict : bool
        Raise instead of warn where a row has no minimiser or did not converge.

    Returns
    -------
    Combination
        A row without a minimiser (an active subset is all classes and its dustbin is not zero)
        keeps the generalist, with ``converged`` False.

    Raises
    ------
    InputError
        If shapes, dtypes, indices, weights or sums of probabilities are wrong.
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
    with torch.no_grad():
        solution = _solve(problem)
    converged = solution.kkt_residual <= tolerance
    _report(solution.kkt_residual, converged, tolerance, strict)
    return Combination(solution.log_probs, solution.kkt_residual, solution.n_iterations, converged)


def _solve(problem: Problem) -> Solution:
    """Send every row to the solver of its kind."""
    if not problem.specialists:
        check_probabilities(problem)
        nothing = torch.zeros_like(problem.rows)
        return Solution(problem.generalist.clone(), nothing.double(), nothing)
    kinds = _kinds(problem)
    present = kinds.unique().tolist()
    if present == [0]:
        return solve_disjoint(problem)
    result = Solution(
        problem.generalist.clone(),
        problem.weights.new_full((problem.n_rows,), torch.inf),
        torch.zeros_like(problem.rows),
    )
    solvers: tuple[Solver, ...] = (solve_disjoint, solve_nested, solve_overlapping)
    for kind in present:
        rows = (kinds == kind).nonzero().squeeze(1)
        if kind == len(solvers):
            check_probabilities(problem.select(rows))
        else:
            _solve_into(result, rows, problem, solvers[kind])
    return result


def _solve_into(result: Solution, rows: Tensor, problem: Problem, solver: Solver) -> None:
    """Run ``solver`` on some rows, in blocks unless it makes its own, and write its answers."""
    size = len(rows) if solver is solve_disjoint else max(1, _BLOCK_ELEMENTS // problem.n_classes)
    for block in rows.split(size):
        part = problem.select(block)
        if solver is not solve_disjoint:
            check_probabilities(part)
        solution = solver(part)
        result.log_probs[block] = solution.log_probs
        result.kkt_residual[block] = solution.kkt_residual
        result.n_iterations[block] = solution.n_iterations


def _kinds(problem: Problem) -> Tensor:
    """0 disjoint, 1 nested, 2 neither, 3 without a minimiser; int64 of shape (n,)."""
    member = problem.member.float()
    sizes = member.sum(1)
    common = member @ member.T
    comparable = common == torch.minimum(sizes[:, None], sizes[None, :])
    votes = problem.active.float()
    overlaps = _pairs(votes, (common > 0).float().fill_diagonal_(0.0))
    crossings = _pairs(votes, (~comparable).float())
    kinds = torch.where(overlaps == 0, 0, torch.where(crossings == 0, 1, 2))
    for m in (sizes == problem.n_classes).nonzero().squeeze(1).tolist():
        outside = problem.specialists[m][:, -1].double().exp() > 0
        kinds = torch.where(problem.active[:, m] & outside, 3, kinds)
    return kinds


def _pairs(votes: Tensor, relation: Tensor) -> Tensor:
    """Number of ordered pairs of active specialists in ``relation``, shape (n,)."""
    return ((votes @ relation) * votes).sum(1)


def _report(residual: Tensor, converged: Tensor, tolerance: float, strict: bool) -> None:
    """Warn about (or, if strict, refuse) rows that are not solved."""
    failed = (~converged).nonzero().squeeze(1)
    if not len(failed):
        return
    impossible = int(residual[failed].isinf().sum())
    message = (
        f"{len(failed)} of {len(residual)} rows did not reach a relative KKT residual of "
        f"{tolerance:g} (first rows: {failed[:5].tolist()}); {impossible} of them have no "
        "minimiser, since an active subset is all classes while its dustbin is not zero, "
        "and keep the generalist"
    )
    if strict:
        raise ConvergenceError(message)
    warnings.warn(message, ConvergenceWarning, stacklevel=3)
