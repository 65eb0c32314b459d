"""Do sketched clusters agree with exact ones, what do a million classes cost, are clusters good?

    python -m pipelines.benchmarks.clustering [--quick] [--data FOLDER]

Predictions are planted ones (``pipelines.benchmarks.planted``), and real ones where FOLDER holds
``onet_titles``, ``omniglot`` or ``clinc150``. Agreement is normalised mutual information (NMI), a
mean over pairs of seeds; a sketch meets its goal where it is no lower than between seeds of the
exact method, less 0.02 (``balanced`` looks at no columns, random or not). Shares of confusions are
found on one half of the predictions and measured on the other, beside clusters of the same sizes
whose classes were drawn at random, and the groups that people know. Costs are those of a fresh
process for each line (``pipelines.benchmarks.cluster_costs``).
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
import sklearn
from numpy.typing import NDArray

from specialists.clustering import ClassClusters, cluster_classes, compare
from specialists.covariance import PredictionCovariance, PredictionSketch

from .cluster_costs import cost_table
from .combination import machine, options_of
from .markdown_tables import Line, markdown_table
from .planted import PlantedPredictions
from .real_predictions import real_predictions

TOLERANCE = 0.02
SKETCHED_METHODS = ("balanced", "spherical", "kmeans", "minibatch")
METHODS = ("balanced", "spherical", "agglomerative", "kmeans", "minibatch", "correlation")
N_SIGNS = 512
COST_ROWS = {10_000: 10, 30_000: 8, 100_000: 5, 300_000: 4, 1_000_000: 3}  # rows a class
LIBRARIES = f"numpy {np.__version__}, scipy {scipy.__version__}, scikit-learn {sklearn.__version__}"


@dataclass(frozen=True)
class Scale:
    """Sizes of one run of the benchmark; costs are classes, rows a class and a method."""

    agreement_classes: int = 5000
    share_classes: int = 2000
    size_classes: tuple[int, ...] = (300, 2000, 20_000)
    rows_per_class: int = 10
    n_seeds: int = 4
    costs: tuple[tuple[int, int, str], ...] = tuple(
        (n_classes, rows_per_class, method)
        for method in SKETCHED_METHODS
        for n_classes, rows_per_class in COST_ROWS.items()
    )


QUICK = Scale(300, 100, (100, 200), 20, 2, ((1000, 10, "balanced"), (1000, 10, "minibatch")))


def agreement_table(n_classes: int, rows_per_class: int, n_seeds: int) -> list[Line]:
    """NMI of sketched and exact clusters, beside that between seeds of the exact method."""
    exact = PredictionCovariance(n_classes)
    sources = (exact, PredictionSketch(n_classes), PredictionSketch(n_classes, N_SIGNS))
    for rows in PlantedPredictions(n_classes).dense_rows(rows_per_class * n_classes):
        for source in sources:
            source.update(rows)
    confusion = exact.confusion()
    return [_agreement(sources, confusion, method, n_seeds) for method in SKETCHED_METHODS]


def _agreement(
    sources: Sequence[PredictionCovariance | PredictionSketch],
    confusion: NDArray[np.float64],
    method: str,
    n_seeds: int,
) -> Line:
    labels, seconds = [], []
    for source in sources[: 2 if method == "balanced" else 3]:
        start = time.perf_counter()
        labels.append(
            [cluster_classes(source, method=method, seed=seed).labels for seed in range(n_seeds)]
        )
        seconds.append((time.perf_counter() - start) / n_seeds)
    between = _mean_nmi(itertools.combinations(labels[0], 2))
    sketched = [_mean_nmi(itertools.product(labels[0], other)) for other in labels[1:]]
    shares = [np.mean([share_inside(confusion, each) for each in group]) for group in labels]
    return {
        "method": f"`{method}`",
        "between exact seeds": f"{between:.3f}",
        "co-prediction": f"{sketched[0]:.3f}",
        f"random signs, d = {N_SIGNS}": f"{sketched[1]:.3f}" if len(sketched) > 1 else "-",
        "goal met by co-prediction": "yes" if sketched[0] >= between - TOLERANCE else "NO",
        "inside: exact, co-prediction, signs": ", ".join(f"{share:.1%}" for share in shares),
        "seconds: exact, co-prediction, signs": ", ".join(f"{s:.1f}" for s in seconds),
    }


def _mean_nmi(pairs: Iterable[tuple[NDArray[np.int64], ...]]) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(np.mean([normalized_mutual_info_score(*pair) for pair in pairs]))


def size_table(n_classes: tuple[int, ...], rows_per_class: int) -> list[Line]:
    """Largest size over mean size of ``balanced``, for several numbers of classes and clusters."""
    table = []
    for n in n_classes:
        sketch = PredictionSketch(n)
        for classes, probs in PlantedPredictions(n).sparse_rows(rows_per_class * n):
            sketch.update_sparse(classes, probs)
        for n_clusters in sorted({5, n // 100, n // 30, n // 7} - {1}):
            clusters, shuffled = (
                cluster_classes(sketch, n_clusters, shuffled=shuffled) for shuffled in (False, True)
            )
            line = {
                "classes": f"{n:,}",
                "clusters": f"{n_clusters:,}",
                "sizes": f"{min(clusters.sizes)} to {max(clusters.sizes)}",
                "largest / mean": f"{largest_over_mean(clusters):.3f}",
                "at most 2": "yes" if largest_over_mean(clusters) <= 2 else "NO",
                "inside": f"{clusters.total_share:.1%}",
                "shuffled": f"{shuffled.total_share:.1%}",
            }
            table.append(line)
    return table


def share_table(name: str, halves: list[PredictionCovariance], groups: list[str]) -> list[Line]:
    """Share of confusions inside for every method beside shuffled clusters, and known groups."""
    confusion = halves[1].confusion()
    return [_share_line(name, halves[0], confusion, groups, method) for method in METHODS]


def _share_line(
    name: str,
    covariance: PredictionCovariance,
    confusion: NDArray[np.float64],
    groups: list[str],
    method: str,
) -> Line:
    start = time.perf_counter()
    clusters = cluster_classes(covariance, method=method)
    seconds = time.perf_counter() - start
    both = [clusters, cluster_classes(covariance, method=method, shuffled=True)]
    inside, at_random = (share_inside(confusion, each.labels) for each in both)
    known = [compare(each, groups) for each in both]
    return {
        "data": name,
        "method": f"`{method}`",
        "clusters": str(clusters.n_clusters),
        "largest / mean": f"{largest_over_mean(clusters):.2f}",
        "inside": f"{inside:.1%}",
        "shuffled": f"{at_random:.1%}",
        "times": f"{inside / at_random:.1f}",
        "adjusted Rand: found, shuffled": ", ".join(f"{k.adjusted_rand:.3f}" for k in known),
        "adjusted MI: found, shuffled": ", ".join(
            f"{k.adjusted_mutual_information:.3f}" for k in known
        ),
        "seconds": f"{seconds:.1f}",
    }


def share_inside(confusion: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Share of confusions between classes of one label; a class at -1 is alone."""
    together = (labels[:, None] == labels) & (labels >= 0)
    return float(confusion[together].sum() / confusion.sum())


def largest_over_mean(clusters: ClassClusters) -> float:
    """Largest size over mean size."""
    return max(clusters.sizes) * clusters.n_clusters / sum(clusters.sizes)


def planted_halves(n_classes: int, n_rows: int) -> tuple[list[PredictionCovariance], list[str]]:
    """Two halves of planted predictions, and the planted clusters."""
    planted = PlantedPredictions(n_classes)
    halves = [PredictionCovariance(n_classes) for _ in range(2)]
    for seed, half in enumerate(halves):
        for rows in planted.dense_rows(n_rows, seed=1 + seed):
            half.update(rows)
    return halves, [str(label) for label in planted.labels]


def real_halves(folder: Path) -> Iterator[tuple[str, list[PredictionCovariance], list[str]]]:
    """Name, two halves of real predictions, and known groups."""
    for data in real_predictions(folder):
        order = np.random.default_rng(0).permutation(len(data.probs))
        halves = [
            PredictionCovariance(len(data.groups)).update(data.probs[order[k::2]]) for k in range(2)
        ]
        yield f"{data.name}, top-1 {data.top1:.2f}", halves, data.groups


def run(scale: Scale, data: Path | None, show: Callable[[str], None]) -> dict[str, list[Line]]:
    """All tables, each shown as soon as it is there."""
    tables: dict[str, list[Line]] = {}

    def add(name: str, title: str, table: list[Line]) -> None:
        tables[name] = table
        show(f"\n{title}\n\n{markdown_table(table)}")

    n_classes, rows = scale.agreement_classes, scale.rows_per_class
    title = f"Sketched against exact clusters (NMI), C = {n_classes:,}, {rows} rows a class"
    add("agreement", title, agreement_table(n_classes, rows, scale.n_seeds))
    add("sizes", "Sizes of `balanced`, sketched", size_table(scale.size_classes, rows))
    n_classes = scale.share_classes
    planted = (f"planted, C = {n_classes:,}", *planted_halves(n_classes, rows * n_classes))
    sources = itertools.chain([planted], real_halves(data) if data is not None else ())
    shares = [line for source in sources for line in share_table(*source)]
    add("shares", "Confusions inside, beside shuffled clusters; known groups", shares)
    add("costs", "Time and memory against the number of classes", cost_table(scale.costs))
    return tables


if __name__ == "__main__":
    options = options_of(__doc__, "--data", type=Path, help="folder with real data")
    print(f"{machine('cpu')}, {os.cpu_count()} cores, {LIBRARIES}", flush=True)
    scale = QUICK if options.quick else Scale()
    run(scale, options.data, lambda text: print(text, flush=True))
