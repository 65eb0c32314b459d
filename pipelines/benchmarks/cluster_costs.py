"""What do clusters of up to a million classes cost? Seconds and peak memory of one process each.

    python -m pipelines.benchmarks.cluster_costs CLASSES ROWS_PER_CLASS METHOD

A sketch is fed planted rows of 11 classes in batches of 50,000 and then clustered; making up the
rows is not counted. The command prints one line of JSON; :func:`cost_table` runs it for each line
of its table, so that no memory is shared between two of them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from specialists.clustering import cluster_classes
from specialists.covariance import PredictionSketch

from .planted import PlantedPredictions

GOALS = {100_000: (600, 8.0), 1_000_000: (2400, 16.0)}
HEADER = [
    "classes",
    "clusters",
    "rows",
    "pairs kept",
    "method",
    "sketch, s",
    "clusters, s",
    "total, min",
    "peak, GB",
    "goal met",
    "inside",
    "random clusters",
    "largest / mean",
    "NMI with planted",
]


def cost_table(cases: tuple[tuple[int, int, str], ...]) -> list[list[str]]:
    """A line for each number of classes, rows a class and method; goals are seconds and GB."""
    table = [HEADER]
    for n_classes, rows_per_class, method in cases:
        cost = _measured(n_classes, rows_per_class, method)
        total = cost["sketch"] + cost["clusters"]
        table.append(
            [
                f"{n_classes:,}",
                f"{cost['n_clusters']:,}",
                f"{cost['rows']:,}",
                f"{cost['pairs']:,}",
                f"`{method}`",
                f"{cost['sketch']:.1f}",
                f"{cost['clusters']:.1f}",
                f"{total / 60:.1f}",
                f"{cost['peak']:.2f}",
                _goal_met(n_classes, total, cost["peak"]),
                f"{cost['inside']:.1%}",
                f"{cost['random']:.1%}",
                f"{cost['ratio']:.2f}",
                f"{cost['nmi']:.3f}",
            ]
        )
    return table


def _goal_met(n_classes: int, seconds: float, peak: float) -> str:
    if n_classes not in GOALS:
        return ""
    most_seconds, most_memory = GOALS[n_classes]
    return "yes" if seconds <= most_seconds and peak <= most_memory else "NO"


def _measured(n_classes: int, rows_per_class: int, method: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "pipelines.benchmarks.cluster_costs"]
    command += [str(n_classes), str(rows_per_class), method]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def measure(n_classes: int, rows_per_class: int, method: str) -> dict[str, Any]:
    """Seconds, peak memory in GB and figures of the clusters of one streamed sketch."""
    from sklearn.metrics import normalized_mutual_info_score

    planted = PlantedPredictions(n_classes)
    sketch, seconds = PredictionSketch(n_classes), 0.0
    for classes, probs in planted.sparse_rows(rows_per_class * n_classes):
        start = time.perf_counter()
        sketch.update_sparse(classes, probs)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    clusters = cluster_classes(sketch, method=method)
    clustering = time.perf_counter() - start
    peak = _peak()
    return {
        "rows": sketch.n_samples,
        "n_clusters": clusters.n_clusters,
        "sketch": seconds,
        "clusters": clustering,
        "peak": peak,
        "pairs": sketch.co_prediction().nnz,
        "inside": clusters.total_share,
        "random": clusters.random_share,
        "ratio": max(clusters.sizes) * clusters.n_clusters / n_classes,
        "nmi": float(normalized_mutual_info_score(planted.labels, clusters.labels)),
    }


def _peak() -> float:
    """Most memory that this process held, in GB; Linux's own record of it where there is one."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else []:
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
