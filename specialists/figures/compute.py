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

from specialists.figures.label_placement import Label, place_labels
from specialists.figures.style import (
    FONT_SIZE,
    GREY,
    INK,
    log_axis,
    model_colour,
    model_label,
    new_figure,
    quieten,
)

DODGE = 5.0  # points between the series at one place
LOG_ROOM, ROOM = 1.25, 0.5
POINTS_ON_A_LINE = 16


@dataclass(frozen=True)
class ComputePoint:
    """One model of the figure of accuracy against training and inference.

    Parameters
    ----------
    family : str
        A model's name: points of a family share its colour, and a line where there are several.
    mark : str
        What is written beside the point; empty: nothing.
    training_flops, inference_flops : float
        Of the whole training, and of one prediction. A point without (0) is left out of a panel.
    top1 : float
    ends : (float, float)
        Lowest and highest top-1 over seeds.
    """

    family: str
    mark: str
    training_flops: float
    inference_flops: float
    top1: float
    ends: tuple[float, float]


def accuracy_against_compute(
    points: Sequence[ComputePoint], names: Mapping[str, str] | None = None
) -> Figure:
    """Top-1 against FLOPs of training (left) and of one prediction (right), logarithmic axes.

    Parameters
    ----------
    points : sequence of ComputePoint
    names : mapping of family to what the legend calls it, optional
    """
    figure = new_figure(5.2)
    left, right = figure.subplots(1, 2, sharey=True)
    panels = {
        left: [(point.training_flops, point) for point in points if point.training_flops > 0],
        right: [(point.inference_flops, point) for point in points if point.inference_flops > 0],
    }
    for axes, placed in panels.items():
        _families(axes, placed)
        log_axis(axes)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        quieten(axes)
        axes.margins(x=0.14, y=0.1)
    left.set_xlabel("training, FLOPs (log scale)")
    right.set_xlabel("inference, FLOPs per example (log scale)")
    left.set_ylabel("top-1 accuracy, %")
    families = dict.fromkeys(point.family for point in points)
    _legend(figure, {family: (names or {}).get(family, model_label(family)) for family in families})
    labels = {axes: [*_labels(placed), *_lines(placed)] for axes, placed in panels.items()}
    place_labels(figure, labels, FONT_SIZE - 1)
    return figure


def _families(axes: Axes, placed: Sequence[tuple[float, ComputePoint]]) -> None:
    for family in dict.fromkeys(point.family for _, point in placed):
        own = _of_family(placed, family)
        colour = model_colour(family)
        for x, point in own:
            ends = [100 * end for end in point.ends]
            axes.plot([x, x], ends, color=colour, linewidth=1.4, alpha=0.6)
        xs, tops = [x for x, _ in own], [100 * point.top1 for _, point in own]
        axes.plot(xs, tops, "o-", color=colour, markersize=5, linewidth=0.9)


def _of_family(
    placed: Sequence[tuple[float, ComputePoint]], family: str
) -> list[tuple[float, ComputePoint]]:
    """Its points with their places, in the order of its line."""
    own = [(x, point) for x, point in placed if point.family == family]
    return sorted(own, key=lambda pair: (pair[0], pair[1].top1))


def _labels(placed: Sequence[tuple[float, ComputePoint]]) -> list[Label]:
    return [
        Label(
            point.mark,
            x,
            100 * point.top1,
            (100 * point.ends[0], 100 * point.ends[1]),
            model_colour(point.family),
        )
        for x, point in placed
    ]


def _lines(placed: Sequence[tuple[float, ComputePoint]]) -> list[Label]:
    """Nameless points along the families' lines, which names keep clear of."""
    found = []
    for family in dict.fromkeys(point.family for _, point in placed):
        for (x, a), (z, b) in pairwise(_of_family(placed, family)):
            for share in np.linspace(0, 1, POINTS_ON_A_LINE)[1:-1]:
                at = float(x ** (1 - share) * z**share)
                y = float(100 * ((1 - share) * a.top1 + share * b.top1))
                found.append(Label("", at, y, (y, y), "", room=2.0))
    return found


def _legend(figure: Figure, names: Mapping[str, str]) -> None:
    lines = [
        Line2D([], [], color=model_colour(family), marker="o", markersize=5, linewidth=0.9)
        for family in names
    ]
    figure.legend(
        lines,
        list(names.values()),
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=FONT_SIZE,
    )


@dataclass(frozen=True)
class Gain:
    """A difference of top-1, a fraction, with its 95% interval."""

    value: float
    interval: tuple[float, float]


def gain_along_axis(
    places: Sequence[float],
    ticks: Sequence[str],
    gains: Mapping[str, Sequence[Gain | None]],
    what: str,
    logarithmic: bool = True,
) -> Figure:
    """Gain in top-1 of the ensemble over several rivals, with intervals, along an axis.

    Parameters
    ----------
    places : sequence of n floats
        Where the measurements lie; positive on a logarithmic axis.
    ticks : sequence of n str
    gains : mapping of the rival's name to n gains, None where there is none
    what : str
        Of the axis.
    logarithmic : bool
    """
    figure = new_figure(3.6)
    axes = figure.add_subplot()
    axes.axhline(0, color=INK, linewidth=0.8)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xlim(min(places) / LOG_ROOM, max(places) * LOG_ROOM)
    else:
        axes.set_xlim(min(places) - ROOM, max(places) + ROOM)
    figure.canvas.draw()  # the width of the axes, in which the series stand side by side
    shifts = DODGE * (np.arange(len(gains)) - (len(gains) - 1) / 2)
    for shift, (rival, values) in zip(shifts, gains.items(), strict=True):
        known = [(x, gain) for x, gain in zip(places, values, strict=True) if gain is not None]
        _series(axes, _beside(axes, [x for x, _ in known], shift), [g for _, g in known], rival)
    axes.set_xticks(list(places), list(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(what)
    axes.set_ylabel("gain in top-1 of the ensemble,\npercentage points")
    quieten(axes)
    axes.spines["bottom"].set_color(GREY)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=FONT_SIZE)
    return figure


def _series(axes: Axes, xs: Sequence[float], gains: Sequence[Gain], rival: str) -> None:
    colour = model_colour(rival)
    for x, gain in zip(xs, gains, strict=True):
        axes.plot([x, x], [100 * end for end in gain.interval], color=colour, linewidth=1.6)
    values = [100 * gain.value for gain in gains]
    name = f"over {model_label(rival)}"
    axes.plot(xs, values, "o-", color=colour, markersize=5, linewidth=0.9, label=name)


def _beside(axes: Axes, places: Sequence[float], points: float) -> list[float]:
    """The places moved to the right by a number of points."""
    pixels = points * axes.figure.dpi / 72  # pyright: ignore[reportAttributeAccessIssue]
    moved = [axes.transData.transform((x, 0))[0] + pixels for x in places]
    return [float(axes.transData.inverted().transform((x, 0))[0]) for x in moved]
