"""Pictures for a notebook: which classes are confused, and what do the clusters hold of that?

Beside every share stands what random clusters of the same sizes would hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from specialists.clustering import ClassClusters
from specialists.clustering.co_predictions import CoPredictions
from specialists.clustering.confused_pairs import heaviest_pairs
from specialists.covariance.rows import row_blocks
from specialists.escaping import readable
from specialists.figures import style
from specialists.figures.clusters import (
    MATRIX_HEIGHT,
    MAX_PIXELS,
    MAX_ROWS,
    cluster_order,
    label_classes,
    outline_clusters,
)
from specialists.figures.hover import HoverArea, Picture

MAX_BLOCKS = 72  # areas a side that a pointer can tell apart
MAX_AREAS = 500  # of pairs, each on both sides of the diagonal
MAX_PAIRS = 4000
NAMED = 30  # classes of a cluster, under the pointer
ROW_HEIGHT = 0.24


def picture_of_shares(clusters: ClassClusters) -> Picture:
    """Sizes of clusters, and shares of confusions inside them and inside random ones.

    At most 40 clusters are shown, those with the largest shares.
    """
    order = np.argsort(-np.array(clusters.share_of_confusions), kind="stable")[:MAX_ROWS].tolist()
    figure = style.new_figure(1.25 + ROW_HEIGHT * len(order), width=9.4)
    sizes, shares, names = figure.subplots(1, 3, width_ratios=(0.8, 1.7, 2.6), sharey=True)
    rows = np.arange(len(order))
    sizes.barh(rows, [clusters.sizes[m] for m in order], color=style.GREY, height=0.7)
    sizes.set_xlabel("classes")
    sizes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    held = [100 * clusters.share_of_confusions[m] for m in order]
    shares.barh(rows, held, color=style.BLUE, height=0.7, label="in the cluster")
    random = [100 * clusters.random_shares[m] for m in order]
    look: dict[str, object] = {"color": style.ORANGE, "marker": "|", "linewidths": 2.5, "zorder": 3}
    shares.scatter(random, rows, s=80, label="in as many random classes", **look)
    shares.set_xlabel("% of all confusions")
    style.name_rows(sizes, [str(m) for m in order])
    sizes.set_ylabel("cluster")
    for panel in (sizes, shares):
        style.quieten(panel, grid="x")
    shares.tick_params(axis="y", length=0)
    _write_names(names, [clusters.names(m) for m in order])
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderpad": 0, "ncols": 2}
    shares.legend(fontsize=style.FONT_SIZE - 1, frameon=False, handlelength=1, **place)
    areas = [
        HoverArea(panel, panel.get_xlim(), (row - 0.5, row + 0.5), _cluster_in_words(clusters, m))
        for panel in (sizes, shares, names)
        for row, m in enumerate(order)
    ]
    said = (
        f"{clusters.n_clusters} clusters hold {clusters.total_share:.1%} of the confusions, random "
        f"clusters of the same sizes {clusters.random_share:.1%}"
    )
    return Picture(_titled(figure, said), f"Sizes and shares of clusters. {said}", areas)


def picture_of_confusions(clusters: ClassClusters, covariance: Any) -> Picture:
    """How often each pair of classes is confused, over the average pair.

    Parameters
    ----------
    clusters : ClassClusters
        They give the order of the classes. A class is shown in the first that holds it.
    covariance : PredictionCovariance, PredictionSketch, or array or tensor of shape (C, C)
        Of the predictions, as ``cluster_classes`` takes it.

    Raises
    ------
    InputError
        It is none of these, or of another number of classes.
    """
    pairs = CoPredictions.from_source(covariance)
    order, sizes = cluster_order(clusters.first_partition, pairs.n_classes)
    place = np.argsort(order)
    times = _over_average(pairs, place)
    figure, axes = style.one_panel(MATRIX_HEIGHT)
    figure.set_layout_engine("compressed")
    n = len(order)
    shown = np.ma.masked_less(times, 1.0)
    image = axes.imshow(
        shown,
        cmap=colormaps["Blues"],
        norm=LogNorm(0.7, max(10.0, float(times.max()))),  # so that 1 is not white
        extent=(0, n, n, 0),
        interpolation="nearest",
    )
    outline_clusters(axes, sizes)
    style.quieten(axes, grid=None)
    label_classes(axes, [clusters.class_names[j] for j in order], sizes)
    axes.spines[:].set_visible(False)
    bar = style.colour_bar(axes, image, "times as often confused as the average pair")
    bar.ax.set_ylim(1, None)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    areas = [
        *_areas_of_clusters(axes, clusters, sizes),
        *_areas_of_pairs(axes, clusters, pairs, place),
    ]
    said = "Which classes are confused: a square for each pair, classes in the order of clusters"
    return Picture(figure, said, areas)


def _over_average(pairs: CoPredictions, place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Confusion over that of the average pair, the largest of each pixel; at most 700 a side."""
    n = pairs.n_classes
    n_pixels = min(n, MAX_PIXELS)
    pixel = place * n_pixels // n
    times = np.zeros((n_pixels, n_pixels))
    average = pairs.confusion_mass / (n * (n - 1)) or 1.0
    starts = np.arange(n + 1) * n
    for rows in row_blocks(getattr(pairs.confusion, "indptr", starts)):
        block = sparse.coo_matrix(pairs.confusion[rows])
        at = pixel[block.row + rows.start], pixel[block.col]
        np.maximum.at(times, at, np.divide(block.data, average))
    return times


def _areas_of_clusters(
    axes: Axes, clusters: ClassClusters, sizes: Sequence[int]
) -> Iterator[HoverArea]:
    start = 0
    for m, size in enumerate(sizes):
        ends = (start, start + size)
        yield HoverArea(axes, ends, ends, _cluster_in_words(clusters, m))
        start += size


def _areas_of_pairs(
    axes: Axes, clusters: ClassClusters, pairs: CoPredictions, place: NDArray[np.int64]
) -> Iterator[HoverArea]:
    """The most confused pair of each part of the picture that a pointer can point at."""
    n = len(place)
    n_blocks = min(n, MAX_BLOCKS)
    edges = np.linspace(0, n, n_blocks + 1)
    said: set[tuple[int, int]] = set()
    for a, b, share in heaviest_pairs(pairs, MAX_PAIRS):
        times = share * n * (n - 1) / 2
        if times < 1 or len(said) >= 2 * MAX_AREAS:
            return
        blocks = [int(place[j]) * n_blocks // n for j in (a, b)]
        text = _pair_in_words(clusters, a, b, share, times)
        for row, column in {tuple(blocks), tuple(blocks[::-1])} - said:
            said.add((row, column))
            x, y = ((float(edges[i]), float(edges[i + 1])) for i in (column, row))
            yield HoverArea(axes, x, y, text)


def _pair_in_words(clusters: ClassClusters, a: int, b: int, share: float, times: float) -> str:
    held = [[m for m, members in enumerate(clusters.classes) if j in members] for j in (a, b)]
    both = sorted(set(held[0]) & set(held[1]))
    where = f"both in cluster {both[0]}" if both else "in no cluster together"
    names = " \N{LEFT RIGHT ARROW} ".join(readable(clusters.class_names[j]) for j in (a, b))
    return f"{names}\n{share:.2%} of all confusions, {times:,.1f} times the average pair\n{where}"


def _cluster_in_words(clusters: ClassClusters, m: int) -> str:
    names = [readable(name) for name in clusters.names(m)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"cluster {m}: {len(names)} classes\n"
        f"{clusters.share_of_confusions[m]:.2%} of all confusions; "
        f"as many random classes {clusters.random_shares[m]:.2%}\n"
        f"{', '.join(names[:NAMED])}{more}"
    )


def _write_names(axes: Axes, names: Sequence[Sequence[str]]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    look = {"fontsize": style.FONT_SIZE - 1, "color": style.INK, "va": "center", "clip_on": False}
    for row, classes in enumerate(names):
        axes.text(0, row, style.class_names_in_words(classes, 80), **look)


def _titled(figure: Figure, text: str) -> Figure:
    figure.suptitle(text, x=0.01, ha="left", fontsize=style.FONT_SIZE + 1)
    return figure
