"""What does accuracy cost to train and to run, and where do specialists gain?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullLocator

from specialists.figures import style
from specialists.figures.label_placement import Label, label_beside, place_labels

DODGE = 5.0  # points between the series at one place
LOG_ROOM, ROOM = 1.25, 0.5
POINTS_ON_A_LINE = 16


@dataclass(frozen=True)
class ComputePoint:
    """One model of the figure of accuracy against training and inference.

    Points of a family share its colour, and a line where there are several. A point without FLOPs
    (0) is left out of a panel.
    """

    family: str  # a model's name
    mark: str  # what is written beside the point; empty: nothing
    training_flops: float  # of the whole training
    inference_flops: float  # of one prediction
    top1: float
    ends: tuple[float, float]  # lowest and highest top-1 over seeds


Placed = Sequence[tuple[float, ComputePoint]]  # FLOPs with their point


def accuracy_against_compute(
    points: Sequence[ComputePoint], names: Mapping[str, str] | None = None
) -> Figure:
    """Top-1 against FLOPs of training (left) and of one prediction (right), logarithmic axes.

    ``names`` says what the legend calls the families.
    """
    figure = style.new_figure(5.2)
    left, right = figure.subplots(1, 2, sharey=True)
    panels = {
        left: [(point.training_flops, point) for point in points if point.training_flops > 0],
        right: [(point.inference_flops, point) for point in points if point.inference_flops > 0],
    }
    for axes, placed in panels.items():
        _draw_families(axes, placed)
        style.log_axis(axes)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        style.quieten(axes)
        axes.margins(x=0.14, y=0.1)
    left.set_xlabel("training, FLOPs (log scale)")
    right.set_xlabel("inference, FLOPs per example (log scale)")
    left.set_ylabel("top-1 accuracy, %")
    families = list(dict.fromkeys(point.family for point in points))
    look = {"marker": "o", "markersize": 5, "linewidth": 0.9}
    lines = [Line2D([], [], color=style.model_colour(family), **look) for family in families]
    style.legend_above(
        figure, lines, [(names or {}).get(name, style.model_label(name)) for name in families]
    )
    labels = {axes: [*_labels(placed), *_lines(placed)] for axes, placed in panels.items()}
    place_labels(figure, labels, style.FONT_SIZE - 1)
    return figure


def _draw_families(axes: Axes, placed: Placed) -> None:
    for family, line in _families(placed).items():
        for x, point in line:
            style.draw_interval(axes, x, point.ends, family)
        xs, tops = [x for x, _ in line], [100 * point.top1 for _, point in line]
        axes.plot(xs, tops, "o-", color=style.model_colour(family), markersize=5, linewidth=0.9)


def _families(placed: Placed) -> dict[str, Placed]:
    """Each family's points with their places, in the order of its line."""
    ordered = sorted(placed, key=lambda pair: (pair[0], pair[1].top1))
    families = dict.fromkeys(point.family for _, point in placed)
    return {name: [pair for pair in ordered if pair[1].family == name] for name in families}


def _labels(placed: Placed) -> list[Label]:
    return [label_beside(p.mark, x, p.top1, p.ends, p.family) for x, p in placed]


def _lines(placed: Placed) -> list[Label]:
    """Nameless points along the families' lines, which names keep clear of."""
    labels = []
    for line in _families(placed).values():
        for (x, a), (z, b) in pairwise(line):
            for share in np.linspace(0, 1, POINTS_ON_A_LINE)[1:-1]:
                between = float(x ** (1 - share) * z**share)
                y = float(100 * ((1 - share) * a.top1 + share * b.top1))
                labels.append(Label("", between, y, (y, y), "", room=2.0))
    return labels


@dataclass(frozen=True)
class Gain:
    """A difference of top-1, a fraction, with its 95% interval."""

    value: float
    interval: tuple[float, float]


def gain_along_axis(
    positions: Sequence[float],
    ticks: Sequence[str],
    gains: Mapping[str, Sequence[Gain | None]],
    what: str,
    logarithmic: bool = True,
) -> Figure:
    """Gain in top-1 of the ensemble over several baselines, with intervals, along an axis.

    Parameters
    ----------
    positions : sequence of n floats
        Where the measurements lie; positive on a logarithmic axis.
    ticks : sequence of n str
    gains : mapping of a baseline's name to n gains, None where there is none
    what : str
        Of the axis.
    """
    figure, axes = style.one_panel(3.6)
    axes.axhline(0, color=style.INK, linewidth=0.8)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(positions) / LOG_ROOM, max(positions) * LOG_ROOM)
    else:
        axes.set_xlim(min(positions) - ROOM, max(positions) + ROOM)
    figure.canvas.draw()  # the width of the axes, in which the series stand side by side
    shifts = DODGE * (np.arange(len(gains)) - (len(gains) - 1) / 2)
    for shift, (baseline, values) in zip(shifts, gains.items(), strict=True):
        known = [(x, gain) for x, gain in zip(positions, values, strict=True) if gain is not None]
        _series(axes, _beside(axes, [x for x, _ in known], shift), [g for _, g in known], baseline)
    axes.set_xticks(list(positions), list(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(what)
    axes.set_ylabel("gain in top-1 of the ensemble,\npercentage points")
    style.quieten(axes)
    axes.spines["bottom"].set_color(style.GREY)
    style.legend_above(figure)
    return figure


def _series(axes: Axes, xs: Sequence[float], gains: Sequence[Gain], baseline: str) -> None:
    for x, gain in zip(xs, gains, strict=True):
        style.draw_interval(axes, x, gain.interval, baseline, width=1.6, alpha=1.0)
    values, name = [100 * gain.value for gain in gains], f"over {style.model_label(baseline)}"
    look = {"color": style.model_colour(baseline), "markersize": 5, "linewidth": 0.9}
    axes.plot(xs, values, "o-", label=name, **look)


def _beside(axes: Axes, positions: Sequence[float], points: float) -> list[float]:
    """The positions, moved to the right by a number of points."""
    pixels = points * axes.figure.dpi / 72  # pyright: ignore[reportAttributeAccessIssue]
    moved = [axes.transData.transform((x, 0))[0] + pixels for x in positions]
    return [float(axes.transData.inverted().transform((x, 0))[0]) for x in moved]
