"""Adagrad's step for the rows of a table that were read, in one pass over them.

PyTorch takes a pass for each operation. Compiled code reads and writes a row once, in a quarter of
the time. It may be compiled otherwise than PyTorch's, so results differ in their last bits between
machines with and without Numba.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.compiled_code import compiled

LEAST_NUMBERS = 2**22  # of a table; smaller ones lie in the processor's cache
ROWS_A_THREAD = 2**11


def descends_compiled(table: Tensor) -> bool:
    """Whether compiled code moves the rows of this table."""
    large = table.numel() >= LEAST_NUMBERS and table.dtype == torch.float32
    return large and table.device.type == "cpu" and _kernel() is not None


def descend_rows(
    table: Tensor, sums: Tensor, rows: Tensor, gradient: Tensor, rate: float, epsilon: float
) -> None:
    """Move distinct rows of a table and their sums of squares.

    ``rows`` are int64 of shape (n,) and ``gradient`` (n, d) is theirs.
    """
    kernel, n = _kernel(), len(rows)
    assert kernel is not None
    arrays = (table.detach().numpy(), sums.numpy(), rows.numpy(), gradient.contiguous().numpy())
    numbers = (np.float32(rate), np.float32(epsilon))
    n_parts = max(1, min(torch.get_num_threads(), n // ROWS_A_THREAD))
    bounds = [n * i // n_parts for i in range(n_parts + 1)]
    first, *others = [(*arrays, *numbers, *part) for part in itertools.pairwise(bounds)]
    threads = [threading.Thread(target=kernel, args=other) for other in others]
    for thread in threads:
        thread.start()
    kernel(*first)
    for thread in threads:
        thread.join()


@functools.cache
def _kernel() -> Callable[..., None] | None:
    try:
        return compiled(_descend, [Path(__file__)])
    except ImportError:
        return None


def _descend(
    table: Any, sums: Any, rows: Any, gradient: Any, rate: Any, epsilon: Any, first: int, last: int
) -> None:
    for i in range(first, last):
        weights, total, slope = table[rows[i]], sums[rows[i]], gradient[i]
        for j in range(len(slope)):
            value = total[j] + slope[j] * slope[j]
            total[j] = value
            weights[j] -= rate * (slope[j] / (np.sqrt(value) + epsilon))
