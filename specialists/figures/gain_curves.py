"""What does a gain in accuracy cost, for several numbers of classes?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from specialists.figures import style

TIMES_OF_INFERENCE, TIMES_OF_TRAINING = (1.0, 1.25, 2.0, 3.0, 5.0), (1.0, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class PricedGain:
    """A model's gain over its generalist, and what the model costs.

    Parameters
    ----------
    family : str
        Points of a family share its colour.
    top1 : float
        The gain, a fraction.
    ends : tuple of float
        Lowest and highest gain over seeds.
    costs : tuple of float
        Over the generalist's: of a prediction first, then of all its trainings, in one unit or
        several.
    """

    family: str
    top1: float
    ends: tuple[float, float]
    costs: tuple[float, ...]


def gain_against_cost(
    columns: Mapping[str, Sequence[PricedGain]], names: Mapping[str, str], costs: Sequence[str]
) -> Figure:
    """Gain in top-1 against each cost, a row of panels a cost and a column for each title.

    Lines join what a family gains for more and more inference, the first cost. The others are of
    trainings, which several points share.

    Parameters
    ----------
    columns : mapping
        Points by the title of their column.
    names : mapping
        What the legend calls the families.
    costs : sequence of str
        What each of the points' costs is.
    """
    figure = style.new_figure(1.0 + 2.2 * len(costs))
    panels = figure.subplots(len(costs), len(columns), sharey=True, sharex="row", squeeze=False)
    for i, (row, cost) in enumerate(zip(panels, costs, strict=True)):
        for axes, points in zip(row, columns.values(), strict=True):
            _draw(axes, points, i)
        row[len(columns) // 2].set_xlabel(f"{cost}, over the generalist's (log scale)")
    for axes, title in zip(panels[0], columns, strict=True):
        axes.set_title(title)
    figure.supylabel("gain in top-1, percentage points", fontsize=style.FONT_SIZE)
    families = dict.fromkeys(point.family for points in columns.values() for point in points)
    look = {"marker": "o", "markersize": 4, "linewidth": 1.1}
    lines = [Line2D([], [], color=style.model_colour(family), **look) for family in families]
    labels = [names.get(family, style.model_label(family)) for family in families]
    style.legend_above(figure, lines, labels)
    return figure


def _draw(axes: Axes, points: Sequence[PricedGain], which: int) -> None:
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xscale("log")
    for family in dict.fromkeys(point.family for point in points):
        line = sorted((p.costs[which], p.top1, p.ends) for p in points if p.family == family)
        for cost, _, ends in line:
            style.draw_interval(axes, cost, ends, family, width=1.0)
        xs, gains = [cost for cost, *_ in line], [100 * top1 for _, top1, _ in line]
        look = {"markersize": 3.5, "linewidth": 1.1, "color": style.model_colour(family)}
        axes.plot(xs, gains, "o" if which else "o-", **look)
    axes.xaxis.set_major_locator(FixedLocator(TIMES_OF_TRAINING if which else TIMES_OF_INFERENCE))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    style.quieten(axes)
