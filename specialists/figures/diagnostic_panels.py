"""How do clusterings compare? A panel for each diagnostic, and clusters against known groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from specialists.clustering import ClusterDiagnostics, GroupComparison
from specialists.figures import style

MAX_POINTS = 80
MAX_NUMBERS = 1200


def diagnostic_panels(diagnostics: Mapping[str, ClusterDiagnostics]) -> Figure:
    """Share of confusions, silhouettes, stability, sizes and coverage of several clusterings.

    Each clustering has a row, in the order of ``diagnostics`` from the top.
    """
    names, rows = list(diagnostics), list(diagnostics.values())
    figure = style.new_figure(1.1 + 0.36 * len(names), width=11.0)
    panels = figure.subplots(1, 5, sharey=True, squeeze=False, width_ratios=(5, 5, 4, 4, 3))[0]
    _shares(panels[0], rows)
    _strips(panels[1], [d.silhouettes for d in rows], "silhouette of classes")
    _strips(panels[2], [d.stability for d in rows], "stability: adjusted Rand\nover bootstraps")
    _strips(panels[3], [d.sizes for d in rows], "classes in a cluster")
    _coverages(panels[4], [d.coverage for d in rows])
    _scales(panels)
    style.name_rows(panels[0], [style.shorten(name, 32) for name in names])
    for panel in panels:
        style.quieten(panel, grid="x")
        panel.tick_params(axis="y", length=0)
    return figure


def group_table(comparison: GroupComparison, n_groups: int = 40) -> Figure:
    """Number of classes in each cluster of each known group, the largest groups first."""
    table = np.array(comparison.table)
    order = np.argsort(-table.sum(axis=0), kind="stable")[:n_groups]
    shown = table[:, order]
    figure, axes = style.one_panel(1.6 + 0.16 * len(shown))
    image = axes.imshow(shown, cmap="Blues", aspect="auto", vmin=0)
    names = [style.shorten(comparison.groups[g], 20) for g in order]
    axes.set_xticks(range(len(order)), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_xlabel("known group, the largest first")
    axes.set_ylabel("cluster")
    if shown.size <= MAX_NUMBERS:
        _numbers(axes, shown)
    style.quieten(axes, grid=None)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = style.colour_bar(axes, image, "classes")
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _numbers(axes: Axes, shown: NDArray[np.int64]) -> None:
    for row, column in np.argwhere(shown).tolist():
        value = int(shown[row, column])
        colour = "white" if value > 0.6 * shown.max() else style.INK
        look = {"fontsize": style.FONT_SIZE - 3, "ha": "center", "va": "center"}
        axes.text(column, row, str(value), color=colour, **look)


def _shares(axes: Axes, diagnostics: Sequence[ClusterDiagnostics]) -> None:
    rows = range(len(diagnostics))
    shares = [100 * d.share_of_confusions for d in diagnostics]
    axes.barh(rows, shares, color=style.BLUE, height=0.55, label="found")
    random = [100 * d.random_share for d in diagnostics]
    look = {"color": style.ORANGE, "marker": "|", "linewidths": 2.5, "zorder": 3}
    axes.scatter(random, rows, s=160, label="at random", **look)
    axes.set_xlabel("% of confusions inside")
    axes.set_xlim(0, 100)
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderpad": 0}
    axes.legend(fontsize=style.FONT_SIZE - 1, frameon=False, ncols=2, handlelength=1, **place)


def _strips(axes: Axes, values: Sequence[Sequence[float]], label: str) -> None:
    """Each row's range, its points or, of many, the middle half, and the mean."""
    for row, points in enumerate(values):
        known = np.array([point for point in points if point == point])
        if not len(known):
            continue
        axes.plot([known.min(), known.max()], [row, row], color=style.FAINT, linewidth=6, zorder=1)
        if len(known) <= MAX_POINTS:
            rows = np.full(len(known), row)
            axes.scatter(known, rows, color=style.BLUE, s=14, alpha=0.4, linewidths=0, zorder=2)
        else:
            axes.plot(np.quantile(known, [0.25, 0.75]), [row, row], color=style.SKY, linewidth=6)
        axes.scatter(
            [known.mean()], [row], color=style.INK, marker="|", s=160, linewidths=1.5, zorder=3
        )
    axes.set_xlabel(label)


def _coverages(axes: Axes, values: Sequence[Sequence[int]]) -> None:
    """A dot for each number of clusters that a class lies in, its area the share of classes."""
    for row, coverage in enumerate(values):
        counts = np.bincount(coverage)
        held = np.flatnonzero(counts)
        areas = 140 * counts[held] / len(coverage)
        axes.scatter(held, np.full(len(held), row), s=areas + 3, color=style.BLUE, linewidths=0)
    most = max((max(coverage, default=0) for coverage in values), default=0)
    axes.set_xlim(-0.6, max(2, most) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("clusters of a class\n(area: classes)")


def _scales(panels: Sequence[Axes]) -> None:
    """Axes on which two figures can be compared: silhouettes about 0, stability to 1, log sizes."""
    panels[1].axvline(0, color=style.INK, linewidth=0.6)
    low, high = panels[1].get_xlim()
    panels[1].set_xlim(min(low, -0.1), max(high, 0.3))
    panels[2].set_xlim(min(panels[2].get_xlim()[0], 0.0), 1.02)
    panels[3].set_xscale("log")
    low, high = panels[3].get_xlim()
    steps = (1, 2, 5) if high < 50 * low else (1,)
    panels[3].xaxis.set_major_locator(LogLocator(subs=steps))
    panels[3].xaxis.set_minor_locator(NullLocator())
    panels[3].set_xlim(low / 1.1, high * 1.1)
    panels[3].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
