"""The compiled code, as it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from specialists.combination.kernels.crossing_rows import crossing_memory, solve_crossing_rows
from specialists.combination.kernels.separate_rows import separate_memory, solve_separate_rows
from specialists.compiled_code import compiled

Kernel = tuple[Callable[..., None], Callable[..., list[Any]]]
"""Compiled code, and what makes its memory for one thread."""


def compile_kernels() -> tuple[Kernel, Kernel]:
    """For rows with separate and with crossing subsets; compiled where they are called first."""
    sources = list(Path(__file__).parent.glob("*.py"))
    return (
        (compiled(solve_separate_rows, sources), separate_memory),
        (compiled(solve_crossing_rows, sources), crossing_memory),
    )
