"""How fast and how exact is the combination? Ratios measured side by side in one run.

    python -m pipelines.benchmarks.combination [--quick] [--device cpu]

Rows a second of ``combine`` and ``combine_sparse`` beside one ``copy_`` of the same matrix, the
paper's gradient descent, and cvxpy with Clarabel (building and solving one row's problem). Gradient
descent takes 200 steps of Adam, its gradients written out. Times are the best of several rounds in
which every rival has its turn; ``combine`` and ``copy_`` write into the same memory, and gradient
descent gets the number of rows at a time that suits it best. The last table solves rows whose
masses spread over up to 60 decades, with exact zeros.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.combination import Subsets, combine, combine_sparse

from .gradient_descent import gradient_descent
from .predictions import (
    CASES,
    QUICK_CASES,
    Case,
    Inputs,
    adversarial,
    draw,
)

N_ROUNDS = 7
GRADIENT_BATCHES = (32, 256)
N_CVXPY_ROWS = 2
ADVERSARIAL_ROWS = 100_000


def speed_table(cases: tuple[Case, ...], device: str) -> str:
    """Rows a second, and ratios."""
    header = ["case", "active a row", "`combine`, rows/s", "times one `copy_`"]
    header += ["over `gradient_descent`", "its residual (median)", "over cvxpy + Clarabel"]
    rows = [header, ["---", *["---:"] * 6]]
    for case in cases:
        rows.append(_speed_cells(case, draw(case).to(device)))
    return _markdown(rows)


def _speed_cells(case: Case, inputs: Inputs) -> list[str]:
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
    return [
        case.name,
        f"{float(inputs.active.float().sum(1).mean()):.1f}",
        f"{rate:,.0f}",
        f"{seconds['combine'] / seconds['copy']:.1f}",
        f"{rate / descent:,.0f}",
        f"{float(residual.median()):.0e}",
        f"{rate * _cvxpy_seconds(inputs.head(N_CVXPY_ROWS)):,.0f}",
    ]


def sparse_table(n_rows: int, n_classes: int, shapes: tuple[tuple[int, int, int], ...]) -> str:
    """Rows a second of ``combine_sparse``: (subsets, size, k most probable classes)."""
    rows = [["case", "`combine_sparse`, rows/s", "converged"], ["---", "---:", "---:"]]
    for n_subsets, size, k in shapes:
        random = torch.Generator().manual_seed(0)
        order = torch.randperm(n_classes, generator=random)
        subsets = Subsets.from_indices(list(order[: n_subsets * size].split(size)), n_classes)
        top = torch.rand(n_rows, 64 * k, generator=random).argsort(1)[:, :k]
        top = top * (n_classes // (64 * k))
        active = _without_repetitions(subsets.owners[top[:, :3], 0])
        log_g = (3 * torch.randn(n_rows, k + 1, generator=random)).log_softmax(1)
        specialists = (3 * torch.randn(n_rows, 3, size + 1, generator=random)).log_softmax(2)
        arguments = (top, log_g[:, :-1], log_g[:, -1], specialists, active, subsets)
        seconds = _best_times({"sparse": lambda a=arguments: combine_sparse(*a)}, 3)["sparse"]
        share = float(combine_sparse(*arguments).converged.double().mean())
        name = f"C = {n_classes:,}, {n_subsets:,} subsets of {size}, of the top 3 classes, k = {k}"
        rows.append([name, f"{n_rows / seconds:,.0f}", f"{share:.1%}"])
    return _markdown(rows)


def _without_repetitions(active: Tensor) -> Tensor:
    """-1 instead of a specialist that stands further left already."""
    again = active[:, :, None] == active[:, None, :]
    return active.masked_fill(again.tril(-1).any(2), -1)


def accuracy_table(n_rows: int, device: str) -> str:
    """Residuals of random and adversarial rows of every shape of active sets."""
    rows = [["rows", "dtype", "converged", "largest residual", "steps, median (most)"]]
    rows.append(["---", "---", "---:", "---:", "---:"])
    for dtype in (torch.float64, torch.float32):
        parts = [
            combine(*(arguments), direction="forward")
            for arguments in adversarial(n_rows, dtype, device)
        ]
        residual = torch.cat([part.kkt_residual for part in parts])
        steps = torch.cat([part.n_iterations for part in parts])
        share = torch.cat([part.converged for part in parts]).double().mean()
        cells = [f"{len(residual):,}", str(dtype).removeprefix("torch."), f"{float(share):.2%}"]
        cells += [f"{float(residual.max()):.0e}", f"{int(steps.median())} ({int(steps.max())})"]
        rows.append(cells)
    return _markdown(rows)


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


def _cvxpy_seconds(inputs: Inputs) -> float:
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


def _markdown(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def machine(device: str) -> str:
    """One line on the hardware and the library."""
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    print(machine(options.device), "\n")
    print(speed_table(QUICK_CASES if options.quick else CASES, options.device), "\n")
    if options.quick:
        print(sparse_table(64, 10_000, ((20, 10, 4),)), "\n")
    else:
        print(sparse_table(20_000, 1_000_000, ((10_000, 100, 32), (33_000, 30, 16))), "\n")
    print(accuracy_table(1600 if options.quick else ADVERSARIAL_ROWS, options.device))


if __name__ == "__main__":
    main()
