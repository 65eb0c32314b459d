"""How do clusterings compare? A panel for each diagnostic, and clusters against known groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from specialists.clustering import ClusterDiagnostics, GroupComparison
from specialists.figures.style import (
    BLUE,
    FAINT,
    FONT_SIZE,
    INK,
    ORANGE,
    SKY,
    new_figure,
    quieten,
    shorten,
)

MAX_POINTS = 80
MAX_NUMBERS = 1200


def diagnostic_panels(diagnostics: Mapping[str, ClusterDiagnostics]) -> Figure:
    """Share of confusions, silhouettes, stability, sizes and coverage of several clusterings.

    Parameters
    ----------
    diagnostics : mapping of name to ClusterDiagnostics
        One row a clustering, in this order from the top.
    """
    names, found = list(diagnostics), list(diagnostics.values())
    figure = new_figure(1.1 + 0.36 * len(names), width=11.0)
    panels = figure.subplots(1, 5, sharey=True, squeeze=False, width_ratios=(5, 5, 4, 4, 3))[0]
    _shares(panels[0], found)
    _strips(panels[1], [d.silhouettes for d in found], "silhouette of classes")
    _strips(panels[2], [d.stability for d in found], "stability: adjusted Rand\nover bootstraps")
    _strips(panels[3], [d.sizes for d in found], "classes in a cluster")
    _coverages(panels[4], [d.coverage for d in found])
    _scales(panels)
    panels[0].set_yticks(range(len(names)), [shorten(name, 32) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for panel in panels:
        quieten(panel, grid="x")
        panel.tick_params(axis="y", length=0)
    return figure


def group_table(comparison: GroupComparison, n_groups: int = 40) -> Figure:
    """Number of classes in each cluster of each known group, the largest groups first."""
    table = np.array(comparison.table)
    order = np.argsort(-table.sum(axis=0), kind="stable")[:n_groups]
    shown = table[:, order]
    figure = new_figure(1.6 + 0.16 * len(shown))
    axes = figure.add_subplot()
    image = axes.imshow(shown, cmap="Blues", aspect="auto", vmin=0)
    axes.set_xticks(
        range(len(order)),
        [shorten(comparison.groups[g], 20) for g in order],
        rotation=60,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_xlabel("known group, the largest first")
    axes.set_ylabel("cluster")
    if shown.size <= MAX_NUMBERS:
        _numbers(axes, shown)
    quieten(axes, grid=None)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.set_label("classes", size=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE)
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def _numbers(axes: Axes, shown: NDArray[np.int64]) -> None:
    for row, column in np.argwhere(shown).tolist():
        value = int(shown[row, column])
        colour = "white" if value > 0.6 * shown.max() else INK
        axes.text(
            column, row, str(value), color=colour, fontsize=FONT_SIZE - 3, ha="center", va="center"
        )


def _shares(axes: Axes, found: Sequence[ClusterDiagnostics]) -> None:
    rows = range(len(found))
    shares = [100 * d.share_of_confusions for d in found]
    axes.barh(rows, shares, color=BLUE, height=0.55, label="found")
    random = [100 * d.random_share for d in found]
    style: dict[str, Any] = {"color": ORANGE, "marker": "|", "s": 160, "linewidths": 2.5}
    axes.scatter(random, rows, label="at random", zorder=3, **style)
    axes.set_xlabel("% of confusions inside")
    axes.set_xlim(0, 100)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderpad": 0}
    axes.legend(fontsize=FONT_SIZE - 1, frameon=False, ncols=2, handlelength=1, **place)


def _strips(axes: Axes, values: Sequence[Sequence[float]], label: str) -> None:
    """Each row's range, its points or, of many, the middle half, and the mean."""
    for row, points in enumerate(values):
        known = np.array([point for point in points if point == point])
        if not len(known):
            continue
        axes.plot([known.min(), known.max()], [row, row], color=FAINT, linewidth=6, zorder=1)
        if len(known) <= MAX_POINTS:
            rows = np.full(len(known), row)
            axes.scatter(known, rows, color=BLUE, s=14, alpha=0.4, linewidths=0, zorder=2)
        else:
            axes.plot(np.quantile(known, [0.25, 0.75]), [row, row], color=SKY, linewidth=6)
        axes.scatter([known.mean()], [row], color=INK, marker="|", s=160, linewidths=1.5, zorder=3)
    axes.set_xlabel(label)


def _coverages(axes: Axes, values: Sequence[Sequence[int]]) -> None:
    """A dot for each number of clusters that a class lies in, its area the share of classes."""
    for row, coverage in enumerate(values):
        counts = np.bincount(coverage)
        held = np.flatnonzero(counts)
        areas = 140 * counts[held] / len(coverage)
        axes.scatter(held, np.full(len(held), row), s=areas + 3, color=BLUE, linewidths=0)
    most = max((max(coverage, default=0) for coverage in values), default=0)
    axes.set_xlim(-0.6, max(2, most) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("clusters of a class\n(area: classes)")


def _scales(panels: Sequence[Axes]) -> None:
    """Axes on which two figures can be compared: silhouettes about 0, stability to 1, log sizes."""
    panels[1].axvline(0, color=INK, linewidth=0.6)
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
