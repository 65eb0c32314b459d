"""How does a handful of rows combine without a library's fixed cost for each small step?

Operations on 40 numbers take PyTorch several times what NumPy needs, and a row of separate subsets
needs a dozen for each of its specialists. Its equation is solved in plain Python.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specialists.combination.kernels.disjoint_slots import solve_slots
from specialists.combination.patterns.pattern_problem import GOOD
from specialists.combination.problem import CombinationProblem
from specialists.combination.result import Solution

MOST_FEW = 8
LEAST_MASS = {torch.float32: 1e-25, torch.float64: 1e-280}
MOST_MASS = 1e30


def are_few(problem: CombinationProblem) -> bool:
    """Whether NumPy takes the rows of this problem in the direction KL(p || q)."""
    few = 0 < problem.n_rows <= MOST_FEW and problem.generalist.device.type == "cpu"
    return few and bool(problem.specialists)


def solve_few(problem: CombinationProblem, result: Solution) -> Tensor:
    """Write the answers into ``result`` and return the rows that the torch solvers are to take."""
    active, relations = problem.active.numpy(), problem.subsets.relations.numpy()
    weights, left = problem.weights.detach().tolist(), []
    log_g, log_q = problem.generalist.detach().numpy(), result.log_probs.numpy()
    for row in range(problem.n_rows):
        slots = active[row].nonzero()[0]
        solved = None
        if len(slots) and not (len(slots) > 1 and relations[slots[:, None], slots].any()):
            with np.errstate(all="ignore"):
                solved = _solve_row(problem, row, slots.tolist(), weights, log_g[row], log_q[row])
        if solved is None or not solved[0] <= GOOD:
            left.append(row)
        else:
            result.kkt_residual[row], result.n_iterations[row] = solved
    return torch.tensor(left, dtype=torch.int64)


def _solve_row(
    problem: CombinationProblem,
    row: int,
    slots: list[int],
    weights: list[float],
    log_g: NDArray[np.floating],
    log_q: NDArray[np.floating],
) -> tuple[float, int] | None:
    """Relative residual and number of steps; None for a row that needs the torch solvers."""
    c = np.exp(log_g)
    if not abs(c.sum() - 1) <= problem.sum_tolerance:
        return None
    classes, joint, a, b = [], [], [], []
    for m in slots:
        log_p, subset = problem.specialists[m].detach()[row].numpy(), problem.subsets.indices[m]
        p, inside, dustbin = np.exp(log_p[:-1]), subset.numpy(), math.exp(log_p[-1])
        covers = len(inside) == len(c) and dustbin > 0
        if covers or not abs(p.sum() + dustbin - 1) <= problem.sum_tolerance:
            return None
        joint.append(c[inside] + p * c.dtype.type(weights[m]))
        classes.append(inside)
        a.append(float(joint[-1].sum()))
        b.append(weights[m] * dustbin)
        c[inside] = 0
    rest, n_rest, factor = float(c.sum()), len(c) - sum(map(len, classes)), [0.0] * len(slots)
    least, smallest = LEAST_MASS[problem.generalist.dtype], min(x.min() for x in joint)
    fits = smallest >= least and max(a) <= MOST_MASS and (rest >= least or n_rest == 0)
    try:
        solved = solve_slots(a, b, factor, len(slots), rest, n_rest) if fits else None
    except (ArithmeticError, ValueError):  # compiled code has infinity or NaN there
        solved = None
    if solved is None:
        return None
    np.add(log_g, solved[0], out=log_q)
    for inside, part, shift in zip(classes, joint, factor, strict=True):
        log_q[inside] = np.log(part) + c.dtype.type(shift)
    return solved[1:]
