"""What does a combination return, and where does it lie?

A fresh matrix costs a page fault for every 4 KiB when it is first written, which can take as long
as the whole combination. Huge pages make that 512 times rarer.
"""

from __future__ import annotations

import contextlib
import mmap
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.problem import CombinationProblem, described
from specialists.errors import ConvergenceError, ConvergenceWarning, InputError

_LEAST_BYTES = 2**24


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


def report_unsolved(
    residual: Tensor, converged: Tensor, tolerance: float, strict: bool, stacklevel: int = 3
) -> None:
    """Warn about rows that are not solved; with ``strict`` raise :class:`ConvergenceError`."""
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
    warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel)


def result_memory(problem: CombinationProblem, out: Tensor | None = None) -> Tensor:
    """``out`` if it fits the problem's result, or an uninitialised tensor where it is None.

    Raises :class:`InputError` for another shape, dtype or device than the result's, for memory that
    is not contiguous or an input's, and where a gradient is asked for.
    """
    log_g = problem.generalist
    if out is None:
        return _empty_like(log_g)
    if not isinstance(out, Tensor):
        raise InputError("out is not a tensor", got=type(out).__name__)
    fits = (out.shape, out.dtype, out.device) == (log_g.shape, log_g.dtype, log_g.device)
    inputs = {x.untyped_storage().data_ptr() for x in (log_g, *problem.specialists)}
    if out.numel() and out.untyped_storage().data_ptr() in inputs:
        raise InputError("out shares memory with an input", expected="memory of its own")
    if not fits or not out.is_contiguous() or problem.requires_grad or out.requires_grad:
        gradient = ", inputs with a gradient" if problem.requires_grad else ""
        raise InputError(
            "out cannot take the result",
            got=f"{described(out)} on {out.device}{gradient}",
            expected=f"contiguous {described(log_g)} on {log_g.device}, inputs without a gradient",
        )
    return out


def _empty_like(matrix: Tensor) -> Tensor:
    n_bytes = matrix.numel() * matrix.element_size()
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if matrix.device.type != "cpu" or n_bytes < _LEAST_BYTES or advice is None:
        return torch.empty_like(matrix, memory_format=torch.contiguous_format)
    memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        memory.madvise(advice)
    return torch.frombuffer(memory, dtype=matrix.dtype).view(matrix.shape)
