"""How does a handful of rows combine without a library's fixed cost for each small step?

Operations on 40 numbers take PyTorch several times what NumPy needs, and a row needs a dozen for
each of its specialists. Its equations, of one number or of a few, are solved in plain Python.
"""

from __future__ import annotations

import contextlib
import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specialists.combination.kernels.disjoint_slots import solve_slots
from specialists.combination.kernels.overlapping_slots import (
    COUNT,
    LOG_FACTOR,
    MASS,
    OUTSIDE,
    B,
    solve_patterns,
)
from specialists.combination.patterns.pattern_problem import GOOD
from specialists.combination.problem import CombinationProblem
from specialists.combination.result import Solution

MOST_FEW = 8
MOST_SHARED = 8  # specialists of a row whose subsets share classes
LEAST_MASS = {torch.float32: 1e-25, torch.float64: 1e-280}
MOST_MASS = 1e30

Floats = NDArray[np.floating]


def are_few(problem: CombinationProblem) -> bool:
    """Whether NumPy takes the rows of this problem in the direction KL(p || q)."""
    few = 0 < problem.n_rows <= MOST_FEW and problem.generalist.device.type == "cpu"
    return few and bool(problem.specialists)


def solve_few(problem: CombinationProblem, result: Solution) -> Tensor:
    """Write the answers into ``result`` and return the rows that the torch solvers are to take."""
    active, relations = problem.active.numpy(), problem.subsets.relations.numpy()
    weights, left = problem.weights.detach().tolist(), []
    log_g, log_q = problem.generalist.detach().numpy(), result.log_probs.numpy()
    least = LEAST_MASS[problem.generalist.dtype]
    for row in range(problem.n_rows):
        slots, solved = active[row].nonzero()[0], None
        solve = _solve_shared if relations[slots[:, None], slots].any() else _solve_separate
        # Where compiled code would have infinity or NaN, Python raises.
        with np.errstate(all="ignore"), contextlib.suppress(ArithmeticError, ValueError):
            read = _read_row(problem, row, slots.tolist(), weights, np.exp(log_g[row]))
            solved = read and solve(read, least, log_g[row], log_q[row])
        if solved is None or not solved[0] <= GOOD:
            left.append(row)
        else:
            result.kkt_residual[row], result.n_iterations[row] = solved
    return torch.tensor(left, dtype=torch.int64)


class _Row(NamedTuple):
    """g (C,), and of each active specialist its classes, v p of these, and v d."""

    g: Floats
    classes: list[NDArray[np.int64]]
    inside: list[Floats]
    dustbins: list[float]


def _read_row(
    problem: CombinationProblem, row: int, slots: list[int], weights: list[float], g: Floats
) -> _Row | None:
    """None for a row that needs the torch solvers: no specialist, a wrong sum, no minimiser."""
    read = _Row(g, [], [], [])
    if not slots or not abs(g.sum() - 1) <= problem.sum_tolerance:
        return None
    for m in slots:
        log_p, classes = problem.specialists[m].detach()[row].numpy(), problem.subsets.indices[m]
        p, dustbin = np.exp(log_p[:-1]), math.exp(log_p[-1])
        covers = len(classes) == len(g) and dustbin > 0
        if covers or not abs(p.sum() + dustbin - 1) <= problem.sum_tolerance:
            return None
        read.classes.append(classes.numpy())
        read.inside.append(p * g.dtype.type(weights[m]))
        read.dustbins.append(weights[m] * dustbin)
    return read


def _solve_separate(
    row: _Row, least: float, log_g: Floats, log_q: Floats
) -> tuple[float, int] | None:
    """Relative residual and number of steps, where no two subsets share a class; as above."""
    c, joint = row.g, []
    for classes, inside in zip(row.classes, row.inside, strict=True):
        joint.append(c[classes] + inside)
        c[classes] = 0
    a, rest = [float(part.sum()) for part in joint], float(c.sum())
    n_rest, factor = len(c) - sum(map(len, joint)), [0.0] * len(joint)
    smallest = min(part.min() for part in joint)
    if not (smallest >= least and max(a) <= MOST_MASS and (rest >= least or n_rest == 0)):
        return None
    log_rest, residual, n_steps = solve_slots(a, row.dustbins, factor, len(a), rest, n_rest)
    np.add(log_g, log_rest, out=log_q)
    for classes, part, shift in zip(row.classes, joint, factor, strict=True):
        log_q[classes] = np.log(part) + c.dtype.type(shift)
    return residual, n_steps


def _solve_shared(
    row: _Row, least: float, log_g: Floats, log_q: Floats
) -> tuple[float, int] | None:
    """The same where subsets share classes; bit t of a class's code says that slot t holds it.

    Slots {0, 1, 2} and {2, 3} of five classes give the codes 1, 1, 3, 2, 0: four patterns.
    """
    c, codes, n_slots = row.g, np.zeros(len(row.g), dtype=np.int64), len(row.classes)
    if n_slots > MOST_SHARED:
        return None
    for t, (classes, inside) in enumerate(zip(row.classes, row.inside, strict=True)):
        c[classes] += inside
        codes[classes] |= 1 << t
    counts, masses = np.bincount(codes), np.bincount(codes, c)
    patterns, is_held = counts.nonzero()[0], codes > 0
    mass = masses[patterns]
    if not (min(mass.min(), c[is_held].min()) >= least and mass.max() <= MOST_MASS):
        return None
    x = {(MASS, p): value for p, value in enumerate(mass.tolist())}
    x |= {(COUNT, p): value for p, value in enumerate(counts[patterns].tolist())}
    for t in range(n_slots):
        outside = 1.0 - (patterns >> t & 1)
        x |= {(OUTSIDE + t, p): value for p, value in enumerate(outside.tolist())}
    y = {(B, t): dustbin for t, dustbin in enumerate(row.dustbins)}
    solved = solve_patterns(x, y, n_slots, len(patterns))
    shifts = np.zeros(len(counts), dtype=c.dtype)
    shifts[patterns] = [x[LOG_FACTOR, p] for p in range(len(patterns))]
    np.add(np.where(is_held, np.log(c), log_g), shifts[codes], out=log_q)
    return solved
