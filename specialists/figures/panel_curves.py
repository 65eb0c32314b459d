"""How does something change along an axis, for several cases side by side?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from specialists.figures import style

COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)


@dataclass(frozen=True)
class Curve:
    """A line through points, or a level that holds along the whole axis.

    Parameters
    ----------
    name : str
        In the legend; a name has one colour in all panels.
    xs, ys : sequence of float
        A level has one y and no x.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]


def curves_in_panels(
    panels: Mapping[str, Sequence[Curve]],
    x_label: str,
    y_label: str,
    ticks: Mapping[float, str] | None = None,
    log_y: bool = False,
) -> Figure:
    """Curves against a logarithmic axis, a panel for each title.

    ``ticks`` are the places named on that axis; None: powers of ten.
    """
    columns = min(2, len(panels))
    figure, axes_of = style.panel_grid(len(panels), columns, 1.0)
    names = list(dict.fromkeys(curve.name for curves in panels.values() for curve in curves))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    handles = {}
    for axes, (title, curves) in zip(axes_of, panels.items(), strict=False):
        axes.set_xscale("log")
        for curve in curves:
            look = {"color": colours[curve.name], "linewidth": 1.2}
            if len(curve.xs):
                (line,) = axes.plot(curve.xs, curve.ys, "o-", markersize=3.5, **look)
            else:
                line = axes.axhline(curve.ys[0], linestyle="--", **look)
            handles.setdefault(curve.name, line)
        if log_y:
            axes.set_yscale("log")
        if ticks is not None:
            axes.set_xticks(list(ticks), list(ticks.values()), minor=False)
            axes.minorticks_off()
        axes.set_title(title)
        style.quieten(axes)
    figure.supxlabel(x_label, fontsize=style.FONT_SIZE)
    figure.supylabel(y_label, fontsize=style.FONT_SIZE)
    style.legend_above(figure, [handles[name] for name in names], names)
    return figure
