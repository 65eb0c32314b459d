"""Where does a large result lie? In the caller's memory, or in huge pages where there are any.

A fresh matrix costs a page fault every 4 KiB when it is first written, which can take as long as
the whole combination. Huge pages make that 512 times rarer.
"""

from __future__ import annotations

import contextlib
import mmap

import torch
from torch import Tensor

from specialists.combination.problem import Problem
from specialists.errors import InputError

_LEAST_BYTES = 2**24


def result_memory(problem: Problem, out: Tensor | None = None) -> Tensor:
    """``out`` if it fits the problem's result, otherwise an uninitialised tensor that does.

    Raises
    ------
    InputError
        Another shape, dtype or device than the result's, not contiguous, in the memory of an input,
        or with a gradient.
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
        raise InputError(
            "out cannot take the result",
            got=f"{out.dtype} {tuple(out.shape)} on {out.device}, inputs with a gradient"
            if problem.requires_grad
            else f"{out.dtype} {tuple(out.shape)} on {out.device}",
            expected=f"a contiguous {log_g.dtype} tensor of shape {tuple(log_g.shape)} on "
            f"{log_g.device}, and inputs without a gradient",
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
