"""Which rows does compiled code combine, and how is it called?

Numba is an optional dependency, the extra ``fast``. Loading it takes the better part of a second,
and its first use on a machine some seconds more, in which it compiles. So it is loaded only by a
call that is large enough. What computes a row depends on the call alone, neither on what the
process did before nor on the number of threads, so a result is the same to the last bit.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from specialists.combination.kernels.few_rows import LEAST_MASS, MOST_FEW, MOST_MASS
from specialists.combination.patterns.pattern_problem import GOOD
from specialists.combination.problem import CombinationProblem
from specialists.combination.result import Solution

if TYPE_CHECKING:
    from specialists.combination.kernels.compiled import Kernel

LEAST_ELEMENTS = 2**11
_ELEMENTS_A_THREAD = 2**17
_SMALL = 1e3
_PATIENCE = 2.0
_COMPILING = "Numba compiles the combination for this machine; the next processes find it compiled"
_READY: set[tuple[object, ...]] = set()
_TOLD: list[str] = []


def is_fused(problem: CombinationProblem) -> bool:
    """Whether compiled code takes rows of this problem in the direction KL(p || q)."""
    return (
        problem.n_rows > MOST_FEW
        and problem.generalist.numel() >= LEAST_ELEMENTS
        and problem.generalist.device.type == "cpu"
        and bool(problem.specialists)
        and bool(_kernels())
    )


@functools.cache
def _kernels() -> tuple[Kernel, ...]:
    """For separate and for crossing subsets; none without a Numba that fits this NumPy."""
    try:
        from specialists.combination.kernels.compiled import compile_kernels
    except ImportError:
        return ()
    return compile_kernels()


def solve_fused(problem: CombinationProblem, result: Solution) -> Tensor:
    """Write the answers into ``result`` and return the rows that the torch solvers are to take."""
    specialists = [x if x.stride(1) == 1 else x.contiguous() for x in problem.specialists]
    left = torch.ones(problem.n_rows, dtype=torch.bool)
    arguments = [*_arguments(problem, specialists, result), left.numpy()]
    separate, crossing = _kernels()
    _in_threads(separate, problem, arguments)
    if problem.subsets.overlaps is not None and bool(left.any()):
        _in_threads(crossing, problem, arguments)
    return left.nonzero().squeeze(1)


def _arguments(
    problem: CombinationProblem, specialists: list[Tensor], result: Solution
) -> list[Any]:
    """What both kernels take, as arrays; of the specialists, whose rows are dense, addresses."""
    log_g, subsets = problem.generalist.detach(), problem.subsets
    places = [(x.data_ptr(), x.stride(0) * x.element_size()) for x in specialists]
    addresses, strides = torch.tensor(places).T.contiguous()
    least, least_mass = _SMALL * torch.finfo(log_g.dtype).tiny, LEAST_MASS[log_g.dtype]
    limits = [problem.sum_tolerance, least_mass, MOST_MASS, least, GOOD]
    tensors = (
        log_g.contiguous(),
        result.log_probs,
        problem.active.contiguous(),
        addresses,
        strides,
        problem.weights.detach().double().contiguous(),
        subsets.classes,
        subsets.sizes,
        subsets.relations,
        torch.tensor(limits, dtype=torch.float64),
        result.kkt_residual,
        result.n_iterations,
    )
    return [x.numpy() for x in tensors]


def _in_threads(kernel: Kernel, problem: CombinationProblem, arguments: list[Any]) -> None:
    """Split the rows over PyTorch's number of threads."""
    (solve, memory), n = kernel, problem.n_rows
    n_parts = max(1, min(torch.get_num_threads(), n * problem.n_classes // _ELEMENTS_A_THREAD))
    bounds = [n * i // n_parts for i in range(n_parts + 1)]
    sizes = problem.n_classes, problem.subsets.n_entries, len(problem.subsets), arguments[0].dtype
    first, *others = [
        (start, stop, *arguments, *memory(*sizes)) for start, stop in itertools.pairwise(bounds)
    ]
    threads = [threading.Thread(target=solve, args=other) for other in others]
    for thread in threads:
        thread.start()
    with _patience(solve, arguments[0].dtype):
        solve(*first)
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def _patience(*version: object) -> Iterator[None]:
    """Say what takes so long where a kernel is compiled."""
    if version in _READY:
        yield
        return
    waiting = threading.Timer(_PATIENCE, _tell)
    waiting.start()
    try:
        yield
    finally:
        waiting.cancel()
    _READY.add(version)


def _tell() -> None:
    """Once a process, unless what this library logs is not listened to."""
    if not _TOLD and logging.getLogger("specialists").isEnabledFor(logging.INFO):
        _TOLD.append(_COMPILING)
        print(_COMPILING, file=sys.stderr)
