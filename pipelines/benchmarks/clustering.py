"""Do sketched clusters agree with exact ones, what do a million classes cost, are clusters good?

    python -m pipelines.benchmarks.clustering [--quick] [--data FOLDER]

Predictions are planted ones (``pipelines.benchmarks.planted``), and real ones where FOLDER holds
``onet_titles``, ``omniglot`` or ``clinc150``. Agreement is normalised mutual information (NMI), a
mean over pairs of seeds; a sketch meets its goal where it is no lower than between seeds of the
exact method, less 0.02 (``balanced`` looks at no columns, random or not). Costs are those of a
fresh process for each line (``pipelines.benchmarks.cluster_costs``).
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
from numpy.typing import NDArray

from specialists.clustering import cluster_classes
from specialists.covariance import PredictionCovariance, PredictionSketch

from .cluster_costs import cost_table
from .cluster_quality import (
    planted_halves,
    real_halves,
    share_inside,
    share_table,
    size_table,
)
from .combination import machine
from .planted import PlantedPredictions

TOLERANCE = 0.02
SKETCHED_METHODS = ("balanced", "spherical", "kmeans", "minibatch")
N_SIGNS = 512
LIBRARIES = f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-learn {sklearn.__version__}"
AGREEMENT_HEADER = [
    "method",
    "between exact seeds",
    "co-prediction",
    f"random signs, d = {N_SIGNS}",
    "goal met by co-prediction",
    "inside: exact, co-prediction, signs",
    "seconds: exact, co-prediction, signs",
]


@dataclass(frozen=True)
class Scale:
    """Sizes of one run of the benchmark; costs are classes, rows a class and a method."""

    agreement_classes: int
    share_classes: int
    size_classes: tuple[int, ...]
    rows_per_class: int
    n_seeds: int
    costs: tuple[tuple[int, int, str], ...]


FULL = Scale(
    agreement_classes=5000,
    share_classes=2000,
    size_classes=(300, 2000, 20_000),
    rows_per_class=10,
    n_seeds=4,
    costs=tuple(
        (n_classes, rows_per_class, method)
        for method in SKETCHED_METHODS
        for n_classes, rows_per_class in (
            (10_000, 10),
            (30_000, 8),
            (100_000, 5),
            (300_000, 4),
            (1_000_000, 3),
        )
    ),
)
QUICK = Scale(
    agreement_classes=300,
    share_classes=100,
    size_classes=(100, 200),
    rows_per_class=20,
    n_seeds=2,
    costs=((1000, 10, "balanced"), (1000, 10, "minibatch")),
)


def agreement_table(n_classes: int, rows_per_class: int, n_seeds: int) -> list[list[str]]:
    """NMI of sketched and exact clusters, beside that between seeds of the exact method."""
    exact = PredictionCovariance(n_classes)
    sources = (exact, PredictionSketch(n_classes), PredictionSketch(n_classes, N_SIGNS))
    for rows in PlantedPredictions(n_classes).dense_rows(rows_per_class * n_classes):
        for source in sources:
            source.update(rows)
    confusion = exact.confusion()
    table = [AGREEMENT_HEADER]
    for method in SKETCHED_METHODS:
        with_columns = 2 if method == "balanced" else 3
        found = [_seeds(source, method, n_seeds) for source in sources[:with_columns]]
        labels = [labels for labels, _ in found]
        between = _mean_nmi(itertools.combinations(labels[0], 2))
        sketched = [_mean_nmi(itertools.product(labels[0], other)) for other in labels[1:]]
        shares = [np.mean([share_inside(confusion, one) for one in group]) for group in labels]
        table.append(
            [
                f"`{method}`",
                f"{between:.3f}",
                *(f"{value:.3f}" for value in sketched),
                *["-"] * (3 - with_columns),
                "yes" if sketched[0] >= between - TOLERANCE else "NO",
                ", ".join(f"{share:.1%}" for share in shares),
                ", ".join(f"{seconds:.1f}" for _, seconds in found),
            ]
        )
    return table


def _seeds(source: Any, method: str, n_seeds: int) -> tuple[list[NDArray[np.int64]], float]:
    start = time.perf_counter()
    labels = [cluster_classes(source, method=method, seed=seed).labels for seed in range(n_seeds)]
    return labels, (time.perf_counter() - start) / n_seeds


def _mean_nmi(pairs: Iterable[tuple[NDArray[np.int64], ...]]) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(np.mean([normalized_mutual_info_score(*pair) for pair in pairs]))


def run(scale: Scale, data: Path | None, show: Callable[[str], None]) -> dict[str, list[list[str]]]:
    """All tables, each shown as soon as it is there."""
    tables: dict[str, list[list[str]]] = {}

    def add(name: str, title: str, table: list[list[str]]) -> None:
        tables[name] = table
        show(f"\n{title}\n\n{markdown(table)}")

    n_classes, rows = scale.agreement_classes, scale.rows_per_class
    title = f"Sketched against exact clusters (NMI), C = {n_classes:,}, {rows} rows a class"
    add("agreement", title, agreement_table(n_classes, rows, scale.n_seeds))
    add("sizes", "Sizes of `balanced`, sketched", size_table(scale.size_classes, rows))
    n_classes = scale.share_classes
    halves, groups = planted_halves(n_classes, rows * n_classes)
    shares = share_table(f"planted, C = {n_classes:,}", halves, groups)
    for name, halves, groups in real_halves(data) if data is not None else ():
        shares += share_table(name, halves, groups)[1:]
    add("shares", "Confusions inside, beside shuffled clusters; known groups", shares)
    add("costs", "Time and memory against the number of classes", cost_table(scale.costs))
    return tables


def markdown(table: list[list[str]]) -> str:
    """A Markdown table, its first row the header."""
    rows = [table[0], ["---"] * len(table[0]), *table[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Print the machine and all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--data", type=Path, help="folder with real data")
    options = parser.parse_args()
    print(f"{machine('cpu')}, {os.cpu_count()} cores, {LIBRARIES}", flush=True)
    scale = QUICK if options.quick else FULL
    run(scale, options.data, lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
