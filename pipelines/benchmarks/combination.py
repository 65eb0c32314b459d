"""How fast and how exact is the combination? Ratios measured side by side in one run.

    python -m pipelines.benchmarks.combination [--quick] [--device cpu]

Rows a second of ``combine`` and ``combine_sparse`` beside one ``copy_`` of the same matrix, the
paper's gradient descent, and cvxpy with Clarabel (building and solving one row's problem). Gradient
descent takes 200 steps of Adam, its gradients written out. Times are the best of several rounds in
which each has its turn; ``combine`` and ``copy_`` write into the same memory, and gradient
descent gets the number of rows at a time that suits it best. The last table solves rows whose
masses spread over up to 60 decades, with exact zeros.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.combination import Subsets, combine, combine_sparse
from specialists.runtime import processor_name

from .gradient_descent import gradient_descent
from .markdown_tables import Line, markdown_table
from .random_predictions import (
    CASES,
    QUICK_CASES,
    Case,
    CombineArguments,
    adversarial,
    draw_predictions,
)

N_ROUNDS = 7
GRADIENT_BATCHES = (32, 256)
N_CVXPY_ROWS = 2
ADVERSARIAL_ROWS = 100_000
# Rows, classes, subsets, their size, and the k most probable classes.
SPARSE = ((20_000, 1_000_000, 10_000, 100, 32), (20_000, 1_000_000, 33_000, 30, 16))
QUICK_SPARSE = ((64, 10_000, 20, 10, 4),)


def speed_line(case: Case, device: str) -> Line:
    """Rows a second, and ratios."""
    inputs = draw_predictions(case).to(device)
    target = torch.empty_like(inputs.generalist)
    jobs = {
        "copy": lambda: target.copy_(inputs.generalist),
        "combine": inputs.combined_by(partial(combine, out=target)),
    }
    heads = [inputs.head(n) for n in GRADIENT_BATCHES if n <= case.n_rows]
    for i, head in enumerate(heads):
        jobs[f"descent {i}"] = head.combined_by(gradient_descent)
    seconds = _best_times(jobs, 1 if case.n_rows < 1000 else N_ROUNDS)
    rate = case.n_rows / seconds["combine"]
    descent = max(len(head.generalist) / seconds[f"descent {i}"] for i, head in enumerate(heads))
    residual = heads[0].combined_by(gradient_descent)().kkt_residual
    return {
        "case": case.name,
        "active a row": f"{float(inputs.active.float().sum(1).mean()):.1f}",
        "`combine`, rows/s": f"{rate:,.0f}",
        "times one `copy_`": f"{seconds['combine'] / seconds['copy']:.1f}",
        "over `gradient_descent`": f"{rate / descent:,.0f}",
        "its residual (median)": f"{float(residual.median()):.0e}",
        "over cvxpy + Clarabel": f"{rate * _cvxpy_seconds(inputs.head(N_CVXPY_ROWS)):,.0f}",
    }


def sparse_line(n_rows: int, n_classes: int, n_subsets: int, size: int, k: int) -> Line:
    """Rows a second of ``combine_sparse`` for the k most probable classes."""
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(n_classes, generator=random)
    subsets = Subsets.from_indices(list(order[: n_subsets * size].split(size)), n_classes)
    top = torch.rand(n_rows, 64 * k, generator=random).argsort(1)[:, :k]
    top = top * (n_classes // (64 * k))
    active = _without_repetitions(subsets.owners[top[:, :3], 0])
    log_g = (3 * torch.randn(n_rows, k + 1, generator=random)).log_softmax(1)
    specialists = (3 * torch.randn(n_rows, 3, size + 1, generator=random)).log_softmax(2)
    arguments = (top, log_g[:, :-1], log_g[:, -1], specialists, active, subsets)
    seconds = _best_times({"sparse": lambda: combine_sparse(*arguments)}, 3)["sparse"]
    share = float(combine_sparse(*arguments).converged.double().mean())
    shape = f"C = {n_classes:,}, {n_subsets:,} subsets of {size}"
    return {
        "case": f"{shape}, of the top 3 classes, k = {k}",
        "`combine_sparse`, rows/s": f"{n_rows / seconds:,.0f}",
        "converged": f"{share:.1%}",
    }


def _without_repetitions(active: Tensor) -> Tensor:
    """-1 instead of a specialist that stands further left already."""
    again = active[:, :, None] == active[:, None, :]
    return active.masked_fill(again.tril(-1).any(2), -1)


def accuracy_line(n_rows: int, dtype: torch.dtype, device: str) -> Line:
    """Residuals of random and adversarial rows of every shape of active sets."""
    parts = [combine(*arguments) for arguments in adversarial(n_rows, dtype, device)]
    residual = torch.cat([part.kkt_residual for part in parts])
    steps = torch.cat([part.n_iterations for part in parts])
    share = torch.cat([part.converged for part in parts]).double().mean()
    return {
        "rows": f"{len(residual):,}",
        "dtype": str(dtype).removeprefix("torch."),
        "converged": f"{float(share):.2%}",
        "largest residual": f"{float(residual.max()):.0e}",
        "steps, median (most)": f"{int(steps.median())} ({int(steps.max())})",
    }


def _best_times(jobs: dict[str, Callable], n_rounds: int) -> dict[str, float]:
    """Shortest time of each job in rounds in which each has its turn."""
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(n_rounds + 1):
        for name, job in jobs.items():
            _wait()
            began = time.perf_counter()
            job()
            _wait()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _cvxpy_seconds(inputs: CombineArguments) -> float:
    """Mean time of one row's problem, whether Clarabel solves it or gives up."""
    import cvxpy

    began = time.perf_counter()
    for row in range(len(inputs.generalist)):
        g = inputs.generalist[row].double().exp().cpu().numpy()
        q = cvxpy.Variable(len(g))
        cost = cvxpy.sum(cvxpy.rel_entr(g, q))
        for m in inputs.active[row].nonzero().squeeze(1).tolist():
            subset = inputs.subsets[m].cpu().numpy()
            p = inputs.specialists[m][row].double().exp().cpu().numpy()
            beyond = np.setdiff1d(np.arange(len(g)), subset)
            merged = cvxpy.hstack([q[subset], cvxpy.sum(q[beyond])])
            cost += cvxpy.sum(cvxpy.rel_entr(p, merged))
        limits: list[Any] = [cvxpy.sum(q) == 1]
        task = cvxpy.Problem(cvxpy.Minimize(cost), limits)
        with contextlib.suppress(cvxpy.SolverError):
            task.solve(solver=cvxpy.CLARABEL)
    return (time.perf_counter() - began) / len(inputs.generalist)


def machine(device: str) -> str:
    """One line on the hardware and the library."""
    name, n_threads = processor_name(torch.device(device)), torch.get_num_threads()
    return f"{name}, {n_threads} threads, torch {torch.__version__}"


def options_of(text: str | None, option: str, **keywords: Any) -> argparse.Namespace:
    """``--quick`` and one other option of the command line, whose help is ``text``."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument(option, **keywords)
    return parser.parse_args()


if __name__ == "__main__":
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    options = options_of(__doc__, "--device", default=usual)
    quick, device = options.quick, options.device
    print(machine(device), "\n")
    cases, sparse = (QUICK_CASES, QUICK_SPARSE) if quick else (CASES, SPARSE)
    print(markdown_table([speed_line(case, device) for case in cases]), "\n")
    print(markdown_table([sparse_line(*shape) for shape in sparse]), "\n")
    n_rows = 1600 if quick else ADVERSARIAL_ROWS
    dtypes = (torch.float64, torch.float32)
    print(markdown_table([accuracy_line(n_rows, dtype, device) for dtype in dtypes]))
