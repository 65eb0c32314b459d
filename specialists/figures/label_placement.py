"""Where can a point's name be written, so that it hides neither a point nor another name?

Every name goes to the free place nearest to its point: places at both sides, above and below are
tried in steps, and each costs the area that it would hide, the part of it that would lie outside of
the frame and, much less, its distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from specialists.figures.style import FONT_SIZE, GREY, model_colour

GAP = 2.5  # pixels around a name
OUTSIDE = 10.0  # how much worse a part outside of the frame is than one that hides something
_ASIDE = (1.0, -1.0, 0.0, 0.5, -0.5, 1.5, -1.5, 2.0, -2.0)  # half widths of the name
_UP = np.concatenate([[0.0], *((step, -step) for step in np.arange(0.8, 13.0, 0.6))])  # its heights
_PLACES = np.array([(x, y) for x in _ASIDE for y in _UP])


@dataclass(frozen=True)
class Label:
    """A name to be written beside the point (x, y), in the units of its axes."""

    text: str  # empty: the point is only kept clear of other names
    x: float
    y: float
    ends: tuple[float, float]  # lowest and highest y that is drawn there
    colour: str
    room: float = 5.0  # pixels around the point that are kept clear


def label_beside(text: str, x: float, top1: float, ends: tuple[float, float], model: str) -> Label:
    """The label of a model's point; ``top1`` and ``ends`` are fractions, drawn in per cent."""
    low, high = (100 * end for end in ends)
    return Label(text, x, 100 * top1, (low, high), model_colour(model))


def place_labels(
    figure: Figure, panels: Mapping[Axes, Sequence[Label]], size: float = FONT_SIZE
) -> None:
    """Write the names of all panels, those of the rightmost points first.

    The layout is fixed from here on, so everything else must have been drawn.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")
    for axes, labels in panels.items():
        taken = [_point_box(axes, label) for label in labels]
        for label in sorted(labels, key=lambda one: -one.x):
            if label.text:
                taken.append(_write(canvas, axes, label, taken, size))


def _write(
    canvas: FigureCanvasAgg, axes: Axes, label: Label, taken: Sequence[Bbox], size: float
) -> Bbox:
    anchor = axes.transData.transform((label.x, label.y))
    probe = canvas.figure.text(0, 0, label.text, fontsize=size)
    extent = np.array(probe.get_window_extent(canvas.get_renderer()).size)
    probe.remove()
    box = _nearest_free_place(anchor, extent, taken, axes.get_window_extent())
    centre = (box.get_points().mean(axis=0) - anchor) * 72 / canvas.figure.dpi
    is_far = _gap(box, Bbox([anchor - label.room, anchor + label.room])) > extent[1]
    axes.annotate(
        label.text,
        (label.x, label.y),
        centre,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=size,
        color=label.colour,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5} if is_far else None,
    )
    return box


def _point_box(axes: Axes, label: Label) -> Bbox:
    values = [*label.ends, label.y]
    corners = axes.transData.transform([(label.x, min(values)), (label.x, max(values))])
    return Bbox([corners[0] - label.room, corners[1] + label.room])


def _nearest_free_place(
    anchor: NDArray[np.float64], size: NDArray[np.float64], taken: Sequence[Bbox], frame: Bbox
) -> Bbox:
    moved = _PLACES * (size[0] / 2 + 10, size[1])
    low, high = anchor + moved - size / 2 - GAP, anchor + moved + size / 2 + GAP
    hidden = sum(_shared_areas(low, high, other) for other in taken)
    outside = np.prod(high - low, axis=1) - _shared_areas(low, high, frame)
    cost = hidden + OUTSIDE * outside + np.hypot(*moved.T) / 100
    best = np.argmin(cost)
    return Bbox([low[best], high[best]])


def _gap(a: Bbox, b: Bbox) -> float:
    width = max(a.x0 - b.x1, b.x0 - a.x1, 0.0)
    height = max(a.y0 - b.y1, b.y0 - a.y1, 0.0)
    return float(np.hypot(width, height))


def _shared_areas(
    low: NDArray[np.float64], high: NDArray[np.float64], other: Bbox
) -> NDArray[np.float64]:
    sides = np.minimum(high, other.max) - np.maximum(low, other.min)
    return np.prod(np.maximum(sides, 0.0), axis=1)
