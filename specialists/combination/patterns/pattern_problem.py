"""What is left of a row's problem once classes that share a factor are added up?

Classes that lie in the same active subsets form a *membership pattern*. The optimum of KL(p || q)
needs the mass of each pattern only (METHOD.md (4)). The residual is the largest violation of its
conditions (METHOD.md (3)), relative to L.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.problem import RowTensors

GOOD = 1e-12
_LEAST_MASS = 1e-290
_LEAST_SHARE = 1e-280


@dataclass(frozen=True)
class PatternProblem(RowTensors):
    """Rows as problems over membership patterns (METHOD.md (4)).

    ``masses`` are ``c`` summed over the classes of each pattern; pattern 0 lies outside of every
    subset.
    """

    masses: Tensor  # float64 (n, P)
    counts: Tensor  # float64 (n, P), classes in each pattern; 0 for a pattern not used
    inside: Tensor  # bool (n, K, P), whether the pattern lies in the subset
    b: Tensor  # float64 (n, K), weighted dustbins v_m d_m


@dataclass(frozen=True)
class PatternSolution(RowTensors):
    """Masses of membership patterns."""

    q: Tensor  # float64 (n, P), sums to 1
    log_factor: Tensor  # float64 (n, P), log q - log c, the same for all classes of a pattern
    lost: Tensor  # bool (n, P), with mass, but ``c`` is zero or below the smallest number
    kkt_residual: Tensor  # float64 (n,)
    n_iterations: Tensor  # int64 (n,)


def lost_patterns(masses: Tensor, q: Tensor) -> Tensor:
    """Patterns with mass whose own ``c`` is zero, or too small for ``q / c`` to be a number."""
    return (masses < _LEAST_MASS) & (q > _LEAST_SHARE)


def kkt_residual(q: Tensor, c: Tensor, outside: Tensor, b: Tensor, present: Tensor) -> Tensor:
    """Largest violation (n,) of the optimality conditions of KL(p || q) with L = 1.

    Pattern masses ``q`` of the solution and ``c`` of the inputs have shape (n, P), dustbins ``b``
    (n, K). ``outside`` (n, K, P) is 1 where a pattern lies outside a subset, and ``present``
    (n, P) says which patterns hold a class.
    """
    complement = (outside * q[:, None, :]).sum(2)
    w = torch.where(b > 0, b / complement, 0.0)
    s = 1 - (outside * w[:, :, None]).sum(1)
    violation = torch.maximum((q * s - c).abs(), -s)
    return torch.where(present, violation, 0.0).amax(1)
