"""What does a gain in accuracy cost, for several numbers of classes?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from specialists.figures import style

TIMES = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class PricedGain:
    """A model's gain over its generalist, and what the model costs.

    Parameters
    ----------
    family : str
        Points of a family share its colour and a line.
    top1 : float
        The gain, a fraction.
    ends : tuple of float
        Lowest and highest gain over seeds.
    inference, training : float
        Cost of a prediction, and of all its trainings, over the generalist's.
    """

    family: str
    top1: float
    ends: tuple[float, float]
    inference: float
    training: float


def gain_against_cost(
    columns: Mapping[str, Sequence[PricedGain]],
    names: Mapping[str, str],
    training: str = "training, over the generalist's",
) -> Figure:
    """Gain in top-1 against inference (above) and training (below), a column for each title.

    ``names`` says what the legend calls the families, ``training`` what the lower axes show.
    """
    figure = style.new_figure(5.6)
    panels = figure.subplots(2, len(columns), sharey=True, sharex="row", squeeze=False)
    costs: tuple[Callable[[PricedGain], float], ...]
    costs = (lambda p: p.inference, lambda p: p.training)
    for row, cost in zip(panels, costs, strict=True):
        for axes, points in zip(row, columns.values(), strict=True):
            _draw(axes, points, cost)
    for axes, title in zip(panels[0], columns, strict=True):
        axes.set_title(title)
    middle = len(columns) // 2
    panels[0][middle].set_xlabel("inference, over the generalist's (log scale)")
    panels[1][middle].set_xlabel(f"{training} (log scale)")
    figure.supylabel("gain in top-1, percentage points", fontsize=style.FONT_SIZE)
    families = dict.fromkeys(point.family for points in columns.values() for point in points)
    look = {"marker": "o", "markersize": 4, "linewidth": 1.1}
    lines = [Line2D([], [], color=style.model_colour(family), **look) for family in families]
    labels = [names.get(family, style.model_label(family)) for family in families]
    style.legend_above(figure, lines, labels)
    return figure


def _draw(axes: Axes, points: Sequence[PricedGain], cost: Callable[[PricedGain], float]) -> None:
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.set_xscale("log")
    for family in dict.fromkeys(point.family for point in points):
        line = sorted((p for p in points if p.family == family), key=lambda p: (cost(p), p.top1))
        for point in line:
            style.draw_interval(axes, cost(point), point.ends, family, width=1.0)
        xs, gains = [cost(point) for point in line], [100 * point.top1 for point in line]
        colour = style.model_colour(family)
        axes.plot(xs, gains, "o-", color=colour, markersize=3.5, linewidth=1.1)
    axes.xaxis.set_major_locator(FixedLocator(TIMES))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    style.quieten(axes)
