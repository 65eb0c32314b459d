"""How do clusterings compare? A panel for each diagnostic, and clusters against known groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from specialists.clustering.comparison import Comparison
from specialists.clustering.diagnostics import ClusterDiagnostics
from specialists.figures.style import (
    BLUE,
    FAINT,
    FONT_SIZE,
    INK,
    ORANGE,
    new_figure,
    quieten,
    shorten,
)


def diagnostic_panels(diagnostics: Mapping[str, ClusterDiagnostics]) -> Figure:
    """Share of confusions, silhouettes, stability, sizes and coverage of several clusterings.

    Parameters
    ----------
    diagnostics : mapping of name to ClusterDiagnostics
        One row a clustering, in this order from the top.
    """
    names, found = list(diagnostics), list(diagnostics.values())
    figure = new_figure(1.3 + 0.42 * len(names), width=11.0)
    panels = figure.subplots(1, 5, sharey=True, squeeze=False)[0]
    _shares(panels[0], found)
    _strips(panels[1], [d.silhouettes for d in found], "silhouette of classes")
    _strips(panels[2], [d.stability for d in found], "stability (adjusted Rand)")
    _strips(panels[3], [d.sizes for d in found], "sizes of clusters")
    _strips(panels[4], [d.coverage for d in found], "clusters that hold a class")
    panels[0].set_yticks(range(len(names)), [shorten(name, 28) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for panel in panels:
        quieten(panel, grid="x")
    return figure


def group_table(comparison: Comparison, n_groups: int = 40) -> Figure:
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
    axes.set_ylabel("cluster")
    quieten(axes, grid=None)
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.set_label("classes", size=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE)
    return figure


def _shares(axes: Axes, found: Sequence[ClusterDiagnostics]) -> None:
    rows = range(len(found))
    axes.barh(rows, [d.share_of_confusions for d in found], color=BLUE, height=0.6)
    random = [d.random_share for d in found]
    axes.scatter(random, rows, color=ORANGE, marker="|", s=160, linewidths=2, label="if random")
    axes.set_xlabel("confusions inside")
    axes.set_xlim(0, 1)
    axes.legend(fontsize=FONT_SIZE - 1, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98))


def _strips(axes: Axes, values: Sequence[Sequence[float]], label: str) -> None:
    for row, points in enumerate(values):
        known = np.array([point for point in points if point == point])
        if not len(known):
            continue
        axes.plot([known.min(), known.max()], [row, row], color=FAINT, linewidth=6, zorder=1)
        rows = np.full(len(known), row)
        axes.scatter(known, rows, color=BLUE, s=14, alpha=0.4, linewidths=0, zorder=2)
        axes.scatter([known.mean()], [row], color=INK, marker="|", s=160, linewidths=1.5, zorder=3)
    axes.set_xlabel(label)
