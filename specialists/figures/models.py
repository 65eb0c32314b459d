"""How good, how dear and how well calibrated is each model, and which classes does it serve?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from specialists.figures.style import (
    BLUE,
    FAINT,
    FONT_SIZE,
    GREY,
    INK,
    VERMILION,
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


def accuracy_against_cost(points: Sequence[CostPoint]) -> Figure:
    """Top-1, with its 95% interval, against FLOPs per example on a logarithmic axis."""
    figure = new_figure(4.6)
    axes = figure.add_subplot()
    for point in points:
        low, high = (100 * x for x in point.interval)
        colour = model_colour(point.name)
        axes.plot([point.inference_flops] * 2, [low, high], color=colour, linewidth=1.4, alpha=0.6)
        axes.plot(point.inference_flops, 100 * point.top1, "o", color=colour, markersize=6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.18, y=0.12)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    axes.set_xlabel("inference cost, FLOPs per example (log scale)")
    axes.set_ylabel("top-1 accuracy, %")
    quieten(axes)
    _place_labels(figure, axes, points)
    return figure


def _place_labels(figure: Figure, axes: Axes, points: Sequence[CostPoint]) -> None:
    """Write each name at the nearest free place around its point, the dearest model's first."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")
    frame = axes.get_window_extent()
    taken = [_point_box(axes, point) for point in points]
    for point in sorted(points, key=lambda p: -p.inference_flops):
        anchor = axes.transData.transform((point.inference_flops, 100 * point.top1))
        probe = figure.text(0, 0, model_label(point.name), fontsize=FONT_SIZE)
        size = np.array(probe.get_window_extent(canvas.get_renderer()).size)
        probe.remove()
        box = _nearest_free_place(anchor, size, taken, frame)
        taken.append(box)
        centre = (box.get_points().mean(axis=0) - anchor) * 72 / figure.dpi
        far = _gap(box, _point_box(axes, point)) > size[1]
        axes.annotate(
            model_label(point.name),
            (point.inference_flops, 100 * point.top1),
            centre,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=FONT_SIZE,
            color=model_colour(point.name),
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5} if far else None,
        )


def _point_box(axes: Axes, point: CostPoint) -> Bbox:
    values = [100 * x for x in (*point.interval, point.top1)]
    ends = [(point.inference_flops, min(values)), (point.inference_flops, max(values))]
    corners = axes.transData.transform(ends)
    return Bbox([corners[0] - 5, corners[1] + 5])


def _nearest_free_place(
    anchor: NDArray[np.float64], size: NDArray[np.float64], taken: Sequence[Bbox], frame: Bbox
) -> Bbox:
    def cost(box: Bbox) -> float:
        hidden = sum(_shared_area(box, other) for other in taken)
        outside = box.width * box.height - _shared_area(box, frame)
        distance = float(np.hypot(*(box.get_points().mean(axis=0) - anchor)))
        return hidden + outside + distance / 100

    return min((_box(anchor, size, x, y) for x in (1, -1, 0) for y in _STEPS), key=cost)


_STEPS = (0.0, 0.8, -0.8, 1.2, -1.2, 1.8, -1.8, 2.4, -2.4, 3.2, -3.2, 4.2, -4.2, 5.5, -5.5)


def _box(anchor: NDArray[np.float64], size: NDArray[np.float64], x: int, y: float) -> Bbox:
    middle = anchor + np.array([x * (size[0] / 2 + 10), y * size[1]])
    return Bbox([middle - size / 2 - 1.5, middle + size / 2 + 1.5])


def _gap(a: Bbox, b: Bbox) -> float:
    width = max(a.x0 - b.x1, b.x0 - a.x1, 0.0)
    height = max(a.y0 - b.y1, b.y0 - a.y1, 0.0)
    return float(np.hypot(width, height))


def _shared_area(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)


def reliability_diagrams(bins: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Accuracy against confidence for each model; on the diagonal a model knows what it knows.

    Parameters
    ----------
    bins : mapping of model name to bins
        Each bin {"low", "high", "n", "confidence", "accuracy"}; None where empty.
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


def _reliability(axes: Axes, name: str, bins: Sequence[Mapping[str, Any]]) -> None:
    used = [b for b in bins if b["n"]]
    total = sum(b["n"] for b in used)
    widths = [b["high"] - b["low"] for b in used]
    shares = [b["n"] / total for b in used]
    axes.bar([b["low"] for b in used], shares, widths, align="edge", color=FAINT, linewidth=0)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(
        [b["confidence"] for b in used],
        [b["accuracy"] for b in used],
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
