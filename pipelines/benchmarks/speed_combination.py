"""How fast is the combination of few and of many rows? By torch's operations and fused.

Lines of `python -m pipelines.benchmarks.speed`. "torch" are the solvers that every row can go to.
"fused" is what a call takes now: NumPy and plain Python for up to 8 rows whose subsets are
disjoint, code compiled by Numba for larger calls. 200 steps of Adam take 256 rows at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from unittest import mock

import torch

from specialists.combination import combine
from specialists.combination.kernels import few_rows, fused

from .gradient_descent import gradient_descent
from .markdown_tables import Line
from .random_predictions import Case, draw_predictions

CASES = (
    Case("1 row of 1,000, 3 of 20 disjoint subsets of 40", 1, 1000, 20, 40, False, n_active=3),
    Case("32 rows of 1,000, the same", 32, 1000, 20, 40, False, n_active=3),
    Case("2,048 rows of 1,000, the same", 2048, 1000, 20, 40, False, n_active=3),
    Case("1,024 rows of 15,000, 61 overlapping of 300, n = 5", 1024, 15_000, 61, 300, True, top=5),
)
QUICK_CASES = (
    Case("1 row", 1, 50, 3, 8, False, n_active=2),
    Case("400 rows", 400, 50, 4, 20, True, top=2),
)
DESCENT_ROWS = 256


def combination_calls(quick: bool) -> list[Line]:
    """A line a case: milliseconds of a call, and what else takes as long."""
    return [_line(case, 2 if quick else 30) for case in (QUICK_CASES if quick else CASES)]


def _line(case: Case, n_rounds: int) -> Line:
    inputs = draw_predictions(case)
    target = torch.empty_like(inputs.generalist)
    call = inputs.combined_by(partial(combine, out=target))
    head = inputs.head(DESCENT_ROWS)
    jobs = {
        "copy": lambda: target.copy_(inputs.generalist),
        "fused": call,
        "torch": partial(_by_torch, call),
        "descent": head.combined_by(gradient_descent),
    }
    seconds = _shortest(jobs, {"descent": 1 + n_rounds // 15, "torch": 1 + n_rounds // 3}, n_rounds)
    descent = seconds["descent"] * case.n_rows / len(head.generalist)
    return {
        "combination": case.name,
        "torch, ms": f"{1e3 * seconds['torch']:.2f}",
        "fused, ms": f"{1e3 * seconds['fused']:.2f}",
        "ratio": f"{seconds['torch'] / seconds['fused']:.1f}",
        "copies of the matrix, torch": f"{seconds['torch'] / seconds['copy']:.1f}",
        "copies, fused": f"{seconds['fused'] / seconds['copy']:.1f}",
        "over 200 steps of Adam": f"{descent / seconds['fused']:,.0f}",
    }


def _by_torch(call: Callable[[], object]) -> None:
    """The same call as if nothing else were installed."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(few_rows, "MOST_FEW", -1))
        stack.enter_context(mock.patch.object(fused, "LEAST_ELEMENTS", math.inf))
        call()


def _shortest(
    jobs: Mapping[str, Callable[[], object]], most: Mapping[str, int], n_rounds: int
) -> dict[str, float]:
    """Shortest wall time of each job in rounds in which each has its turn, some only so often."""
    best = dict.fromkeys(jobs, float("inf"))
    for i in range(n_rounds + 1):
        for name, job in jobs.items():
            if i <= most.get(name, n_rounds):
                began = time.perf_counter()
                job()
                best[name] = min(best[name], time.perf_counter() - began)
    return best
