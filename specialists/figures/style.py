"""One quiet look for all figures, and the way they get into a page.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with any colour
vision can tell apart. Figures are drawn without pyplot, so nothing is shared between two of them.
Text stays text in the SVG: the page's reader can search it, and scripts that matplotlib's fonts
lack are drawn by the browser.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from specialists import catalogue as models
from specialists.escaping import one_line, printable, readable

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, INK, GREY, FAINT = "#56B4E9", "#CC79A7", "#222222", "#767676", "#DDDDDD"
MAUVE, VIOLET = "#8C6BB1", "#5B3A8C"

_TAG = re.compile("<[^>]*>")
_UNNEEDED = re.compile(r' (?:id="[A-Za-z0-9.]+_\d+"|xmlns(?::xlink)?="[^"]*")')

WIDTH = 7.4
FONT_SIZE = 9.0

# What the page's style sheet calls each colour, so that it can have another on a dark screen.
THEME = {
    colour.lower(): f"var(--{name}, {colour.lower()})"
    for name, colours in {
        "ink": (INK, "#000000"),
        "paper": ("#ffffff",),
        "grey": (GREY,),
        "faint": (FAINT,),
        "blue": (BLUE,),
        "orange": (ORANGE,),
        "green": (GREEN,),
        "vermilion": (VERMILION,),
        "sky": (SKY,),
        "purple": (PURPLE,),
        "mauve": (MAUVE,),
        "violet": (VIOLET,),
    }.items()
    for colour in colours
}
_COLOUR = re.compile('#[0-9a-f]{6}(?=[;"])')

MODEL_COLOURS = {
    models.GENERALIST: INK,
    models.CONTINUED: SKY,
    models.WIDE: BLUE,
    models.AVERAGED: PURPLE,
    models.SAME_INFERENCE: MAUVE,
    models.DEFERRED: VIOLET,
    models.ENSEMBLE: VERMILION,
    models.PAPER: ORANGE,
    models.ALL: ORANGE,
    models.STUDENT: GREEN,
}


def model_colour(name: str) -> str:
    """The colour that stands for a model in every figure."""
    return MODEL_COLOURS.get(name, GREY)


def model_label(name: str) -> str:
    """A model's name for people: ``generalist_wide`` is "generalist wide"."""
    return name.replace("_", " ")


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters of ``text`` on one line, literal for matplotlib."""
    line = one_line(text)
    line = line if len(line) <= length else line[: length - 1].rstrip() + "…"
    return line.replace("$", r"\$")


def class_names_in_words(names: Sequence[str], length: int) -> str:
    """The names of some classes on a line of at most ``length`` characters."""
    return shorten(", ".join(map(readable, names)), length)


@contextmanager
def no_glyph_warnings() -> Iterator[None]:
    """No warnings of glyphs that matplotlib's fonts lack, since the browser draws them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph.*missing")
        warnings.filterwarnings("ignore", message=r"(?s).*natively support")
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of ``width`` x ``height`` inches whose parts do not overlap."""
    return Figure(figsize=(width, height), layout="constrained")


def one_panel(height: float) -> tuple[Figure, Axes]:
    """A figure of ``height`` inches with a single panel."""
    figure = new_figure(height)
    return figure, figure.add_subplot()


def panel_grid(n: int, columns: int, margin: float, *, shared: bool = False) -> tuple[Figure, Any]:
    """A figure of at least ``n`` panels in ``columns``, as an array; those beyond stay empty.

    ``margin`` is its height in inches beside the panels; ``shared`` says whether axes are common.
    """
    n_rows = -(-max(n, 1) // columns)
    figure = new_figure(margin + 1.95 * n_rows)
    panels = figure.subplots(n_rows, columns, sharex=shared, sharey=shared, squeeze=False).flat
    for axes in panels[n:]:
        axes.set_axis_off()
    return figure, panels


def name_rows(axes: Axes, names: Sequence[str], n_rows: int = 0) -> None:
    """Name the rows of a panel from its top, with room for ``n_rows`` if these are more."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(max(len(names), n_rows) - 0.4, -0.6)


def legend_above(figure: Figure, *parts: Sequence[Any]) -> None:
    """A legend above all panels: ``parts`` are lines and names; none: those of the panels."""
    style = {"loc": "outside upper center", "ncols": 3, "frameon": False, "fontsize": FONT_SIZE}
    figure.legend(*parts, **style)


def colour_bar(axes: Axes, image: AxesImage, label: str, extend: str = "neither") -> Colorbar:
    """A bar beside ``axes`` that says what the colours of ``image`` are."""
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, extend=extend)
    bar.set_label(label, size=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return bar


def draw_interval(
    axes: Axes, x: float, ends: Sequence[float], model: str, width: float = 1.4, alpha: float = 0.6
) -> None:
    """An upright line in the model's colour between fractions, which the axis has in per cent."""
    y = [100 * end for end in ends]
    axes.plot([x, x], y, color=model_colour(model), linewidth=width, alpha=alpha)


def quieten(axes: Axes, grid: str | None = "y") -> None:
    """Leave the frame, ticks and grid lines that help to read values."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=FONT_SIZE, colors=INK, color=GREY, length=3)
    axes.xaxis.label.set_fontsize(FONT_SIZE)
    axes.yaxis.label.set_fontsize(FONT_SIZE)
    axes.title.set_fontsize(FONT_SIZE + 0.5)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)  # pyright: ignore[reportArgumentType]


def log_axis(axes: Axes) -> None:
    """Ticks at powers of ten; or, where too few, at 1, 2 and 5 of each, or at round numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    steps = (1.0, 2.0, 5.0) if high < 30 * low else (1.0,)
    locator = MaxNLocator(4) if high < 4 * low else LogLocator(subs=steps)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if high < 4 * low:
        axes.xaxis.set_minor_locator(NullLocator())


def to_svg(figure: Figure, description: str) -> str:
    """``figure`` as an SVG element for an HTML page, in colours that its style sheet may change.

    Identifiers that nothing refers to, name spaces and metadata are left out: HTML needs none of
    them, and several figures share one page. ``description`` says what it shows, for people who
    cannot see it, and makes its identifiers its own.
    """
    svg = _TAG.sub(lambda tag: _themed(_UNNEEDED.sub("", tag[0])), _plain_svg(figure, description))
    return _described(svg, description)


def to_svg_file(figure: Figure, description: str) -> str:
    """The same with the name spaces and fixed colours that a file of its own needs."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = _TAG.sub(lambda tag: _UNNEEDED.sub("", tag[0]), _plain_svg(figure, description))
    return _described(svg, description).replace("<svg", f"<svg {names}", 1)


def _plain_svg(figure: Figure, description: str) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    settings = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": description})
    with settings, no_glyph_warnings():
        figure.savefig(buffer, format="svg", metadata=nothing)
    svg = printable(buffer.getvalue())
    return svg[svg.index("<svg") :]


def _themed(tag: str) -> str:
    return _COLOUR.sub(lambda colour: THEME.get(colour[0], colour[0]), tag)


def _described(svg: str, description: str) -> str:
    return svg.replace("<svg", f'<svg role="img" aria-label={quoteattr(one_line(description))}', 1)
