"""Where does a large result lie? In huge pages where the system has them.

A fresh matrix costs a page fault every 4 KiB when it is first written, which took as long as the
whole combination (C = 10,000: 30 ms of 65). Huge pages make that 512 times rarer.
"""

from __future__ import annotations

import contextlib
import mmap

import torch
from torch import Tensor

_LEAST_BYTES = 2**24


def empty_like(matrix: Tensor) -> Tensor:
    """An uninitialised contiguous tensor of the same shape, dtype and device."""
    n_bytes = matrix.numel() * matrix.element_size()
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if matrix.device.type != "cpu" or n_bytes < _LEAST_BYTES or advice is None:
        return torch.empty_like(matrix, memory_format=torch.contiguous_format)
    memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        memory.madvise(advice)
    return torch.frombuffer(memory, dtype=matrix.dtype).view(matrix.shape)
