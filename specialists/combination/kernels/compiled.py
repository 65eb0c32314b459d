"""Where is the compiled code, and which version of its sources does it belong to?

Numba keeps what it compiled beside this module, or in the user's cache folder where that cannot be
written to, and in memory alone where neither can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

from specialists.combination.kernels.crossing_rows import crossing_memory, solve_crossing_rows
from specialists.combination.kernels.separate_rows import separate_memory, solve_separate_rows

Kernel = tuple[Callable[..., None], Callable[..., list[Any]]]
"""Compiled code, and what makes its memory for one thread."""


def compile_kernels() -> tuple[Kernel, Kernel]:
    """For rows with separate and with crossing subsets; compiled where they are called first.

    Numba looks at the age of one source file only, so what it keeps has a hash of all in its name.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    version = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    return (
        (_compiled(solve_separate_rows, version), separate_memory),
        (_compiled(solve_crossing_rows, version), crossing_memory),
    )


def _compiled(kernel: Callable[..., None], version: str) -> Callable[..., None]:
    kernel.__qualname__ = f"{kernel.__name__}_{version}"
    try:
        return njit(kernel, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # no folder that can be written to
        return njit(kernel, nogil=True, error_model="numpy")
