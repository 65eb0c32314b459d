"""Which gains are clear? Points with their intervals, a row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from specialists.figures import style


@dataclass(frozen=True)
class SignedGain:
    """A gain in top-1, a fraction, with its interval.

    Parameters
    ----------
    top1 : float
    ends : tuple of float
    sign : int
        1: clearly above 0, -1: clearly below; 0: neither.
    """

    top1: float
    ends: tuple[float, float]
    sign: int


def gains_with_intervals(
    labels: Sequence[str],
    gains: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    what: str,
    width: float = style.WIDTH,
) -> Figure:
    """Gains in top-1 as points with their intervals, fractions, a row each from the top.

    Blue lie clearly above 0, red clearly below. ``what`` is written at the axis.
    """
    signs = [1 if low > 0 else -1 if high < 0 else 0 for low, high in intervals]
    column = {"": [SignedGain(*gain) for gain in zip(gains, intervals, signs, strict=True)]}
    return gains_in_columns(labels, column, what, width)


def gains_in_columns(
    labels: Sequence[str],
    columns: Mapping[str, Sequence[SignedGain | None]],
    what: str,
    width: float = style.WIDTH,
) -> Figure:
    """Gains as points with their intervals, a row a label from the top, a panel a title.

    Blue lie clearly above 0, red clearly below. A row may have no gain in a panel. ``what`` is
    written at every axis.
    """
    figure = style.new_figure(0.9 + 0.22 * len(labels), width)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, (title, gains) in zip(panels, columns.items(), strict=True):
        for row, gain in enumerate(gains):
            if gain is not None:
                colour = (style.GREY, style.BLUE, style.VERMILION)[gain.sign]
                ends = [100 * x for x in gain.ends]
                axes.plot(ends, [row, row], color=colour, linewidth=1.6, alpha=0.7)
                axes.plot(100 * gain.top1, row, "o", color=colour, markersize=5)
        axes.axvline(0, color=style.INK, linewidth=0.8)
        style.name_rows(axes, [style.shorten(label, 44) for label in labels])
        axes.set_title(title)
        axes.set_xlabel(what)
        style.quieten(axes, grid="x")
    return figure
