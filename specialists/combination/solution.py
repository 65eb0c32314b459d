"""What does a combination return, and how far is it from optimal?

For pattern masses Q with sum 1, dustbin multipliers w_m = b_m / (1 - Q_m) and factors
s_P = L - sum over m with P outside S_m of w_m, the optimum of KL(p || q) has Q_P s_P = C_P and
s_P >= 0 (design, section 2). The residual is the largest violation of either, relative to L.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.errors import ConvergenceError, ConvergenceWarning

GOOD = 1e-12
_LEAST_MASS = 1e-290
_LEAST_SHARE = 1e-280


@dataclass(frozen=True)
class Combination:
    """The combined distribution of each row and how well it solves its problem.

    Parameters
    ----------
    log_probs : Tensor of shape (n, n_classes)
        Natural logarithms; sums to 1 in each row. In the inputs' dtype (float32 for half
        precision).
    kkt_residual : float64 Tensor of shape (n,)
        Largest violation of the optimality conditions, as a fraction of the total mass
        L = 1 + sum of active weights, in float64 before rounding to the inputs' dtype. Infinite
        where no minimiser exists.
    n_iterations : int64 Tensor of shape (n,)
        Newton steps; 0 where a closed form was used.
    converged : bool Tensor of shape (n,)
        Whether the residual is within the tolerance.
    """

    log_probs: Tensor
    kkt_residual: Tensor
    n_iterations: Tensor
    converged: Tensor


@dataclass(frozen=True)
class Solution:
    """What one solver returns: log-probabilities, relative residual, iterations; rows first."""

    log_probs: Tensor
    kkt_residual: Tensor
    n_iterations: Tensor

    def put(self, rows: Tensor, other: Solution) -> None:
        """Write the answers of ``other`` into some of the rows."""
        self.log_probs[rows] = other.log_probs.to(self.log_probs.dtype)
        self.kkt_residual[rows] = other.kkt_residual
        self.n_iterations[rows] = other.n_iterations


@dataclass(frozen=True)
class PatternProblem:
    """Rows as problems over membership patterns (design, section 2).

    Parameters
    ----------
    masses : float64 Tensor of shape (n, P)
        ``c`` summed over the classes of each pattern; pattern 0 lies outside of every subset.
    counts : float64 Tensor of shape (n, P)
        Classes in each pattern; 0 for a pattern not used.
    inside : bool Tensor of shape (n, K, P)
        Whether the pattern lies in the subset.
    b : float64 Tensor of shape (n, K)
        Weighted dustbins v_m d_m.
    """

    masses: Tensor
    counts: Tensor
    inside: Tensor
    b: Tensor

    def at(self, rows: Tensor) -> PatternProblem:
        """Some of the rows."""
        return PatternProblem(self.masses[rows], self.counts[rows], self.inside[rows], self.b[rows])

    def blocks(self, size: int) -> Iterator[PatternProblem]:
        """The same rows, at most ``size`` at a time."""
        fields = (self.masses, self.counts, self.inside, self.b)
        for parts in zip(*(field.split(size) for field in fields), strict=True):
            yield PatternProblem(*parts)


@dataclass(frozen=True)
class PatternSolution:
    """Masses of membership patterns.

    Parameters
    ----------
    q : float64 Tensor of shape (n, P)
        Sums to 1.
    log_factor : float64 Tensor of shape (n, P)
        ``log q - log c``, the same for all classes of a pattern.
    lost : bool Tensor of shape (n, P)
        Patterns with mass whose ``c`` is zero or below the smallest number.
    kkt_residual : float64 Tensor of shape (n,)
    n_iterations : int64 Tensor of shape (n,)
    """

    q: Tensor
    log_factor: Tensor
    lost: Tensor
    kkt_residual: Tensor
    n_iterations: Tensor

    def replaced(self, rows: Tensor, other: PatternSolution) -> PatternSolution:
        """The same with the solutions of ``other`` in some of the rows."""
        fields = (field.name for field in dataclasses.fields(self))
        pairs = ((getattr(self, name), getattr(other, name)) for name in fields)
        return PatternSolution(*(mine.index_copy(0, rows, theirs) for mine, theirs in pairs))


def lost_patterns(masses: Tensor, q: Tensor) -> Tensor:
    """Patterns with mass whose own ``c`` is zero, or too small for ``q / c`` to be a number."""
    return (masses < _LEAST_MASS) & (q > _LEAST_SHARE)


def kkt_residual(q: Tensor, c: Tensor, outside: Tensor, b: Tensor, present: Tensor) -> Tensor:
    """Largest violation of the optimality conditions of KL(p || q), for a problem with L = 1.

    Parameters
    ----------
    q, c : float64 Tensors of shape (n, P), pattern masses of the solution and of the inputs
    outside : float64 Tensor of shape (n, K, P), 1 where pattern P lies outside subset m
    b : float64 Tensor of shape (n, K), weighted dustbins
    present : bool Tensor of shape (n, P), patterns that hold a class

    Returns
    -------
    Tensor of shape (n,)
    """
    complement = (outside * q[:, None, :]).sum(2)
    w = torch.where(b > 0, b / complement, 0.0)
    s = 1 - (outside * w[:, :, None]).sum(1)
    violation = torch.maximum((q * s - c).abs(), -s)
    return torch.where(present, violation, 0.0).amax(1)


def report_unsolved(residual: Tensor, converged: Tensor, tolerance: float, strict: bool) -> None:
    """Warn about rows that are not solved, or refuse them.

    Raises
    ------
    ConvergenceError
        With ``strict``.
    """
    failed = (~converged).nonzero().squeeze(1)
    if not len(failed):
        return
    impossible = int(residual[failed].isinf().sum())
    message = (
        f"{len(failed)} of {len(residual)} rows did not reach a relative KKT residual of "
        f"{tolerance:g} (first rows: {failed[:5].tolist()}); {impossible} of them have no "
        "minimiser (forward: an active subset is all classes and its dustbin not zero; reverse: "
        "no class has mass in all distributions) and keep the generalist"
    )
    if strict:
        raise ConvergenceError(message)
    warnings.warn(message, ConvergenceWarning, stacklevel=3)
