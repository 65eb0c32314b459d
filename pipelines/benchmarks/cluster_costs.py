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

from specialists.clustering import cluster_classes
from specialists.covariance import PredictionSketch

from .markdown_tables import Line
from .planted import PlantedPredictions

GOALS = {100_000: (600, 8.0), 1_000_000: (2400, 16.0)}


def cost_table(cases: tuple[tuple[int, int, str], ...]) -> list[Line]:
    """A line for each number of classes, rows a class and method; goals are seconds and GB."""
    return [_line(*case) for case in cases]


def _line(n_classes: int, rows_per_class: int, method: str) -> Line:
    """Of a fresh process."""
    command = [sys.executable, "-m", "pipelines.benchmarks.cluster_costs"]
    command += [str(n_classes), str(rows_per_class), method]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    cost = json.loads(answer.stdout.splitlines()[-1])
    seconds = cost["sketch"] + cost["clusters"]
    return {
        "classes": f"{n_classes:,}",
        "clusters": f"{cost['n_clusters']:,}",
        "rows": f"{cost['rows']:,}",
        "pairs kept": f"{cost['pairs']:,}",
        "method": f"`{method}`",
        "sketch, s": f"{cost['sketch']:.1f}",
        "clusters, s": f"{cost['clusters']:.1f}",
        "total, min": f"{seconds / 60:.1f}",
        "peak, GB": f"{cost['peak']:.2f}",
        "goal met": _goal_met(n_classes, seconds, cost["peak"]),
        "inside": f"{cost['inside']:.1%}",
        "random clusters": f"{cost['random']:.1%}",
        "largest / mean": f"{cost['ratio']:.2f}",
        "NMI with planted": f"{cost['nmi']:.3f}",
    }


def _goal_met(n_classes: int, seconds: float, peak: float) -> str:
    if n_classes not in GOALS:
        return ""
    most_seconds, most_memory = GOALS[n_classes]
    return "yes" if seconds <= most_seconds and peak <= most_memory else "NO"


def measure_cost(n_classes: int, rows_per_class: int, method: str) -> dict[str, float]:
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
    clustering, peak = time.perf_counter() - start, _peak()
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
    print(json.dumps(measure_cost(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
