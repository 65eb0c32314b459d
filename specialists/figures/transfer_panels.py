"""What of a teacher got across to its students, as shares of rows, and by class."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from specialists.evaluation.transferred import MEASURES, ModelTransfer, Transfer
from specialists.figures import style
from specialists.figures.models import draw_changes

LAST_SHARE = "ece"
COLOURS = (style.GREEN, style.VERMILION, style.BLUE, style.PURPLE, style.ORANGE, style.SKY)


def transfer_figure(transfer: Transfer) -> Figure:
    """A line a measure with a point a model, above the classes in which each student changed most.

    Only measures that are shares of rows are drawn; the table has the others.
    """
    shares = list(MEASURES)[: list(MEASURES).index(LAST_SHARE) + 1]
    shares = [key for key in shares if any(getattr(m, key) is not None for m in transfer.models)]
    changed = {name: transfer.changed_classes(name) for name in transfer.students}
    n_rows = max(3, *(len(classes) for classes in changed.values()))
    heights = (0.22 * len(shares) + 0.5, 0.2 * n_rows + 0.6)
    figure = style.new_figure(sum(heights) + 0.5)
    grid = figure.add_gridspec(2, max(1, len(changed)), height_ratios=heights)
    _draw_shares(figure.add_subplot(grid[0, :]), transfer.models, shares)
    for column, (name, classes) in enumerate(changed.items()):
        axes = figure.add_subplot(grid[1, column])
        draw_changes(axes, [(c.name, c.gain(name)) for c in classes], n_rows)
        axes.set_title(style.shorten(style.model_label(name), 30))
        axes.set_xlabel("right answers beyond the teacher's")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    style.legend_above(figure)
    return figure


def _draw_shares(axes: Axes, models: tuple[ModelTransfer, ...], keys: list[str]) -> None:
    for model, colour in zip(models, (style.INK, *_colours(len(models))), strict=False):
        known = [
            (100 * v, i) for i, key in enumerate(keys) if (v := getattr(model, key)) is not None
        ]
        x, y = zip(*known, strict=True)
        label = style.shorten(style.model_label(model.name), 30)
        axes.plot(x, y, "o", color=colour, markersize=5, alpha=0.85, label=label)
    style.name_rows(axes, [MEASURES[key] for key in keys])
    axes.set_xlim(-2, 102)
    axes.set_xlabel("per cent of the rows")
    style.quieten(axes, grid="both")


def _colours(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]
