"""How good, how dear and how well calibrated is each model, and which classes does it serve?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from specialists.evaluation.scores import Bin
from specialists.figures.label_placement import Label, place_labels
from specialists.figures.style import (
    BLUE,
    FAINT,
    FONT_SIZE,
    GREY,
    INK,
    VERMILION,
    log_axis,
    model_colour,
    model_label,
    new_figure,
    quieten,
    shorten,
)

MAX_CLASSES_A_SIDE = 12


@dataclass(frozen=True)
class CostPoint:
    """One model of the figure of accuracy against cost.

    Parameters
    ----------
    name : str
    inference_flops : float
        Per example, positive.
    top1 : float
    interval : (float, float)
    """

    name: str
    inference_flops: float
    top1: float
    interval: tuple[float, float]


def accuracy_against_cost(points: Sequence[CostPoint], lines: str = "95% interval") -> Figure:
    """Top-1 against FLOPs per example on a logarithmic axis.

    Parameters
    ----------
    points : sequence of CostPoint
    lines : str
        What their intervals are; empty where they have none.
    """
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    for point in points:
        low, high = (100 * x for x in point.interval)
        colour = model_colour(point.name)
        axes.plot([point.inference_flops] * 2, [low, high], color=colour, linewidth=1.4, alpha=0.6)
        axes.plot(point.inference_flops, 100 * point.top1, "o", color=colour, markersize=6)
    axes.margins(x=0.18, y=0.12)
    log_axis(axes)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    axes.set_xlabel("inference cost, FLOPs per example (log scale)")
    axes.set_ylabel("top-1 accuracy, %" + f" (line: {lines})" * bool(lines))
    quieten(axes)
    place_labels(figure, {axes: [_label(point) for point in points]})
    return figure


def _label(point: CostPoint) -> Label:
    low, high = (100 * x for x in point.interval)
    name, x, y = model_label(point.name), point.inference_flops, 100 * point.top1
    return Label(name, x, y, (low, high), model_colour(point.name))


def reliability_diagrams(bins: Mapping[str, Sequence[Bin]]) -> Figure:
    """Accuracy against confidence for each model; on the diagonal a model knows what it knows.

    Parameters
    ----------
    bins : mapping of model name to bins
    """
    columns = min(4, max(2, len(bins)))
    n_rows = -(-len(bins) // columns)
    figure = new_figure(0.35 + 1.95 * n_rows)
    grid = figure.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(bins) :]:
        axes.set_axis_off()
    for axes, (name, rows) in zip(grid.flat, bins.items(), strict=False):
        _reliability(axes, name, rows)
    figure.supxlabel("confidence", fontsize=FONT_SIZE)
    figure.supylabel("accuracy", fontsize=FONT_SIZE)
    return figure


def _reliability(axes: Axes, name: str, bins: Sequence[Bin]) -> None:
    used = [b for b in bins if b.n]
    total = sum(b.n for b in used)
    widths = [b.high - b.low for b in used]
    shares = [b.n / total for b in used]
    axes.bar([b.low for b in used], shares, widths, align="edge", color=FAINT, linewidth=0)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(
        [b.confidence or 0.0 for b in used],
        [b.accuracy or 0.0 for b in used],
        "o-",
        color=model_colour(name),
        markersize=3.5,
        linewidth=1.4,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_title(model_label(name))
    quieten(axes, grid=None)


def class_changes(
    names: Sequence[str], changes: Mapping[str, Sequence[float | None]], base: str
) -> Figure:
    """Classes that gain and lose most accuracy against ``base``, a panel for each model.

    Parameters
    ----------
    names : sequence of C str
    changes : mapping of model name to C differences of accuracy
        Fractions; None for classes without examples.
    base : str
    """
    chosen = {model: _largest_changes(values) for model, values in changes.items()}
    n_rows = max((len(rows) for rows in chosen.values()), default=1)
    figure = new_figure(1.0 + 0.2 * max(n_rows, 3))
    panels = figure.subplots(1, len(changes), squeeze=False)[0]
    for axes, (model, rows) in zip(panels, chosen.items(), strict=True):
        values = [100 * value for _, value in rows]
        axes.barh(
            range(len(rows)),
            values,
            color=[BLUE if v > 0 else VERMILION for v in values],
            height=0.7,
        )
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [shorten(names[j], 24) for j, _ in rows])
        axes.set_ylim(max(n_rows, 3) - 0.4, -0.6)
        axes.set_title(f"{model_label(model)} against {model_label(base)}")
        axes.set_xlabel("accuracy, percentage points")
        quieten(axes, grid="x")
    return figure


def _largest_changes(values: Sequence[float | None]) -> list[tuple[int, float]]:
    known = sorted(
        ((j, v) for j, v in enumerate(values) if v is not None and v != 0), key=lambda x: -x[1]
    )
    gains = [entry for entry in known if entry[1] > 0][:MAX_CLASSES_A_SIDE]
    losses = [entry for entry in known if entry[1] < 0][-MAX_CLASSES_A_SIDE:]
    return gains + losses
