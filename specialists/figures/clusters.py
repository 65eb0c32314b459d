"""Which classes are predicted together, and does each group's specialist help?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from specialists.escaping import readable
from specialists.figures import style
from specialists.figures.gain_intervals import gains_with_intervals

MAX_NAMED_CLASSES = 40
MAX_CLUSTER_TICKS = 30
MAX_PIXELS = 700
MATRIX_HEIGHT = 5.6
MAX_ROWS = 40
MIN_COLUMNS = 6
MAX_BOLD_OUTLINES = 80
OUTLINE = "#333333"  # on an image that is as light on a dark screen


def correlation_from_covariance(covariance: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlation of predicted probabilities, shape (C, C); 0 for classes never predicted."""
    deviation = np.sqrt(np.clip(np.diag(covariance).astype(np.float64), 0, None))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.clip(covariance.astype(np.float64) * inverse[:, None] * inverse, -1, 1)


def correlation_matrix(
    correlation: NDArray[np.floating], clusters: Sequence[Sequence[int]], names: Sequence[str]
) -> Figure:
    """Correlation between classes' predicted probabilities, classes in the order of clusters.

    ``correlation`` has shape (C, C). Clusters are class indices and may overlap: a class is shown
    in the first that holds it, and uncovered classes come last.
    """
    order, sizes = cluster_order(clusters, len(names))
    ordered = np.array(correlation, dtype=np.float64)[np.ix_(order, order)]
    np.fill_diagonal(ordered, 0)
    limit = _colour_limit(ordered, sizes)
    figure, axes = style.one_panel(MATRIX_HEIGHT)
    figure.set_layout_engine("compressed")  # a square in a page: other layouts cut its labels
    image = axes.imshow(
        _shrink(ordered),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        extent=(0, len(order), len(order), 0),
        interpolation="nearest",
    )
    outline_clusters(axes, sizes)
    style.quieten(axes, grid=None)
    label_classes(axes, [names[j] for j in order], sizes)
    axes.spines[:].set_visible(False)
    style.colour_bar(axes, image, "correlation of predicted probabilities", extend="both")
    return figure


def cluster_order(clusters: Sequence[Sequence[int]], n_classes: int) -> tuple[list[int], list[int]]:
    """Every class once, in the order of clusters, uncovered ones last; sizes of the clusters."""
    seen: set[int] = set()
    order: list[int] = []
    sizes: list[int] = []
    for cluster in clusters:
        new = [j for j in cluster if j not in seen]
        seen.update(new)
        order += new
        sizes.append(len(new))
    return order + [j for j in range(n_classes) if j not in seen], sizes


def _colour_limit(ordered: NDArray[np.float64], sizes: Sequence[int]) -> float:
    stops = np.cumsum([0, *sizes])
    inside = [ordered[a:b, a:b].ravel() for a, b in pairwise(stops)]
    values = np.abs(np.concatenate([*inside, ordered.ravel()[:1]]))
    values = values[values > 0]
    return max(float(np.quantile(values, 0.9)), 0.02) if len(values) else 0.02


def _shrink(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most 700 x 700 values, each the strongest of its block, so that none is averaged away."""
    n = len(matrix)
    if n <= MAX_PIXELS:
        return matrix
    edges = np.linspace(0, n, MAX_PIXELS + 1).astype(int)[:-1]
    low, high = (
        f.reduceat(f.reduceat(matrix, edges, axis=0), edges, axis=1)
        for f in (np.minimum, np.maximum)
    )
    return np.where(high >= -low, high, low)


def outline_clusters(axes: Axes, sizes: Sequence[int]) -> None:
    """A square around each cluster on the diagonal; clusters of ``sizes`` come first."""
    start, width = 0, 0.6 if len(sizes) <= MAX_BOLD_OUTLINES else 0.2
    for size in sizes:
        end = start + size
        x, y = [start, end, end, start, start], [start, start, end, end, start]
        axes.plot(x, y, color=OUTLINE, linewidth=width, clip_on=False)
        start = end


def label_classes(axes: Axes, names: Sequence[str], sizes: Sequence[int]) -> None:
    """Name the rows of a matrix by classes, or by clusters where there are many classes."""
    axes.set_xticks([])
    if len(names) <= MAX_NAMED_CLASSES:
        axes.set_yticks(
            np.arange(len(names)) + 0.5, [style.shorten(readable(name), 24) for name in names]
        )
        fitting = 72 * 0.8 * MATRIX_HEIGHT / len(names)
        axes.tick_params(axis="y", length=0, labelsize=min(style.FONT_SIZE, fitting))
        return
    ticks = _cluster_ticks(sizes, len(names) / MAX_CLUSTER_TICKS)
    axes.set_yticks([centre for centre, _ in ticks], [label for _, label in ticks])
    axes.set_ylabel("cluster")


def _cluster_ticks(sizes: Sequence[int], room: float) -> list[tuple[float, str]]:
    """Centre and number of each cluster; those too thin for ``room`` share a tick, as "7 to 9"."""
    stops = np.cumsum([0, *sizes])
    starts = [0]
    for index in range(1, len(sizes)):
        if min(stops[index] - stops[starts[-1]], stops[-1] - stops[index]) >= room:
            starts.append(index)
    ends = [*starts[1:], len(sizes)]
    return [
        ((stops[a] + stops[b]) / 2, str(a) if b - a == 1 else f"{a} to {b - 1}")
        for a, b in zip(starts, ends, strict=True)
        if b > a
    ]


def cluster_overview(
    names: Sequence[Sequence[str]], shares: Sequence[float], random_shares: Sequence[float]
) -> Figure:
    """Share of the generalist's confusions inside each cluster, with the classes' names.

    ``shares`` and ``random_shares`` are fractions: inside each of the M clusters, and inside as
    many random classes. ``names`` are those of each cluster's classes.
    """
    numbered = zip(shares, random_shares, range(len(shares)), names, strict=True)
    rows = sorted(numbered, key=lambda row: -row[0])[:MAX_ROWS]
    figure = style.new_figure(0.9 + 0.235 * len(rows))
    bars, words = figure.subplots(1, 2, width_ratios=(1, 2.4), sharey=True)
    heights = np.arange(len(rows))
    bars.barh(heights, [100 * row[0] for row in rows], color=style.BLUE, height=0.7)
    random = [100 * row[1] for row in rows]
    bars.scatter(random, heights, s=80, color=style.ORANGE, marker="|", linewidths=2, zorder=3)
    style.name_rows(bars, [str(row[2]) for row in rows])
    bars.set_xlabel("% of all confusions")
    bars.set_ylabel("cluster")
    style.quieten(bars, grid="x")
    words.set_axis_off()
    words.set_xlim(0, 1)
    for height, (*_, classes) in enumerate(rows):
        label = f"{len(classes)}: " + style.class_names_in_words(classes, 84)
        words.text(
            0, height + 0.18, label, fontsize=style.FONT_SIZE - 1, color=style.INK, clip_on=False
        )
    words.set_title("number of classes: their names", loc="left", fontsize=style.FONT_SIZE)
    return figure


def gain_per_cluster(
    labels: Sequence[str], gains: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> Figure:
    """Gain in top-1 of the ensemble over the generalist on each cluster's own test examples.

    There are M labels, M gains and M intervals (low, high), in fractions.
    """
    order = _extremes(gains)
    return gains_with_intervals(
        [labels[m] for m in order],
        [gains[m] for m in order],
        [intervals[m] for m in order],
        "gain in top-1, percentage points, with 95% interval",
    )


def _extremes(values: Sequence[float]) -> list[int]:
    order = sorted(range(len(values)), key=lambda m: -values[m])
    half = MAX_ROWS // 2
    return order if len(order) <= MAX_ROWS else order[:half] + order[-half:]


def gain_by_coverage(
    specialists: Sequence[int], n_test: Sequence[int], gains: Sequence[float], model: str
) -> Figure:
    """Gain of ``model`` in top-1 by the number of specialists whose subset holds the true class.

    ``gains`` are fractions, one for each number of specialists.
    """
    figure, axes = style.one_panel(2.9)
    points = [100 * gain for gain in gains]
    positions = range(len(points))
    axes.bar(
        positions,
        points,
        color=[style.BLUE if g >= 0 else style.VERMILION for g in points],
        width=0.6,
    )
    axes.axhline(0, color=style.INK, linewidth=0.8)
    for x, value, n in zip(positions, points, n_test, strict=True):
        offset, va = ((0, 3), "bottom") if value >= 0 else ((0, -3), "top")
        text, size = f"{value:+.2f}\nn = {n:,}", style.FONT_SIZE - 1
        axes.annotate(
            text, (x, value), offset, textcoords="offset points", ha="center", va=va, fontsize=size
        )
    axes.margins(y=0.35)
    spare = max(0.0, MIN_COLUMNS - len(points)) / 2
    axes.set_xlim(-0.5 - spare, len(points) - 0.5 + spare)
    axes.set_xticks(positions, [str(k) for k in specialists])
    axes.set_xlabel("specialists whose classes include the true one")
    axes.set_ylabel(f"gain of {style.model_label(model)},\npercentage points")
    style.quieten(axes)
    return figure
