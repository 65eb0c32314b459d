"""Did each model learn, and did it stop in time?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from specialists.figures.style import BLUE, FONT_SIZE, GREY, VERMILION, new_figure, quieten

History = Sequence[Mapping[str, float | None]]

COLUMNS = 3


def training_curves(panels: Mapping[str, Sequence[History]]) -> Figure:
    """Training and validation loss by epoch, one panel for each kind of model.

    Parameters
    ----------
    panels : mapping of title to histories
        Each history is a list of {"epoch", "train_loss", "validation_loss"} (nats; None where
        there is none). Many histories in a panel (the specialists) are drawn thin.
    """
    n_rows = -(-max(len(panels), 1) // COLUMNS)
    figure = new_figure(0.5 + 1.95 * n_rows)
    grid = figure.subplots(n_rows, COLUMNS, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, histories) in zip(grid.flat, panels.items(), strict=False):
        _draw(axes, title, histories)
    figure.supxlabel("epoch", fontsize=FONT_SIZE)
    figure.supylabel("loss, nats", fontsize=FONT_SIZE)
    lines = [Line2D([], [], color=GREY), Line2D([], [], color=BLUE), _best_marker()]
    figure.legend(
        lines,
        ["training", "validation", "epoch that was kept"],
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=FONT_SIZE,
    )
    return figure


def _best_marker() -> Line2D:
    return Line2D([], [], color=VERMILION, marker="o", markersize=5, linestyle="")


def _draw(axes: Axes, title: str, histories: Sequence[History]) -> None:
    many = len(histories) > 1
    width, alpha = (0.7, 0.55) if many else (1.5, 1.0)
    for history in histories:
        losses: list[tuple[float, float]] = []
        for key, colour in (("train_loss", GREY), ("validation_loss", BLUE)):
            losses = [(e["epoch"] or 0, y) for e in history if (y := e.get(key)) is not None]
            if losses:
                axes.plot(*zip(*losses, strict=True), color=colour, linewidth=width, alpha=alpha)
        if losses:  # of validation
            best = min(losses, key=lambda point: point[1])
            axes.plot(*best, "o", color=VERMILION, markersize=2.5 if many else 5)
    axes.set_title(f"{title} ({len(histories)})" if many else title)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    quieten(axes)
