"""How does a figure in a notebook say in words what lies under the pointer?

Transparent rectangles with titles lie over the drawing: one HTML element that needs no script and
loads nothing. Where no HTML is shown, the same figure is a plain picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from specialists.escaping import one_line
from specialists.figures.style import no_glyph_warnings, to_svg

DOTS_PER_INCH = 110
POINTS_PER_INCH = 72  # the unit of matplotlib's SVG
STYLE = (
    ".hovered rect { fill: transparent; pointer-events: all } "
    ".hovered rect:hover { stroke: #222222; stroke-width: 1.2 }"
)


@dataclass(frozen=True)
class HoverArea:
    """A rectangle of a panel, in its data's coordinates, and what is said of it, in lines."""

    axes: Axes
    x: tuple[float, float]
    y: tuple[float, float]
    text: str


class Picture:
    """A figure that a notebook shows with words under the pointer, or else as a plain picture.

    Parameters
    ----------
    figure : Figure
    description : str
        What it shows, for people who cannot see it.
    areas : sequence of HoverArea
        Later ones lie above earlier ones.
    """

    def __init__(self, figure: Figure, description: str, areas: Sequence[HoverArea] = ()) -> None:
        self.figure, self.description, self.areas = figure, description, tuple(areas)

    def to_html(self) -> str:
        """One SVG element for an HTML page."""
        svg = to_svg(self.figure, self.description)  # which also lays the figure out
        rectangles = "".join(map(self._rectangle, self.areas))
        over = f'<style>{STYLE}</style><g class="hovered">{rectangles}</g></svg>'
        head, _, tail = svg.rpartition("</svg>")
        return head + over + tail

    def to_png(self) -> bytes:
        """A plain picture."""
        buffer = io.BytesIO()
        with no_glyph_warnings():
            self.figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_png_(self) -> bytes:
        return self.to_png()

    def _rectangle(self, area: HoverArea) -> str:
        corners = area.axes.transData.transform(list(zip(area.x, area.y, strict=True)))
        (x0, y0), (x1, y1) = self.figure.transFigure.inverted().transform(corners)
        width, height = POINTS_PER_INCH * self.figure.get_size_inches()
        left, top = width * min(x0, x1), height * (1 - max(y0, y1))
        size = f'width="{width * abs(x1 - x0):.1f}" height="{height * abs(y1 - y0):.1f}"'
        words = "\n".join(escape(one_line(line)) for line in area.text.splitlines())
        return f'<rect x="{left:.1f}" y="{top:.1f}" {size}><title>{words}</title></rect>'
