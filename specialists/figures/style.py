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
from collections.abc import Iterator
from contextlib import contextmanager
from xml.sax.saxutils import quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from specialists.escaping import one_line, printable

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, INK, GREY, FAINT = "#56B4E9", "#CC79A7", "#222222", "#767676", "#DDDDDD"
MAUVE, VIOLET = "#8C6BB1", "#5B3A8C"

_TAG = re.compile("<[^>]*>")
_UNNEEDED = re.compile(r' (?:id="[A-Za-z0-9.]+_\d+"|xmlns(?::xlink)?="[^"]*")')

WIDTH = 7.4
FONT_SIZE = 9.0

FAMILY_COLOURS = {
    "generalist": INK,
    "generalist_uncalibrated": GREY,
    "generalist_continued": SKY,
    "generalist_wide": BLUE,
    "generalist_ensemble": PURPLE,
    "generalist_ensemble_same_inference": MAUVE,
    "generalist_ensemble_deferred": VIOLET,
    "ensemble": VERMILION,
    "ensemble_paper": ORANGE,
    "ensemble_all": ORANGE,
    "student": GREEN,
    "student_hard_labels": GREY,
}


def model_colour(name: str) -> str:
    """The colour that stands for a model in every figure."""
    return FAMILY_COLOURS.get(name, GREY)


def model_label(name: str) -> str:
    """A model's name for people: ``generalist_wide`` is "generalist wide"."""
    return name.replace("_", " ")


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters of ``text`` on one line, literal for matplotlib."""
    line = one_line(text)
    line = line if len(line) <= length else line[: length - 1].rstrip() + "…"
    return line.replace("$", r"\$")


@contextmanager
def no_glyph_warnings() -> Iterator[None]:
    """The browser draws what matplotlib's fonts lack, so their lack is no news."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph.*missing")
        warnings.filterwarnings("ignore", message=r"(?s).*natively support")
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of ``width`` x ``height`` inches whose parts do not overlap."""
    return Figure(figsize=(width, height), layout="constrained")


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


def to_svg(figure: Figure, description: str) -> str:
    """``figure`` as an SVG element for an HTML page.

    Identifiers that nothing refers to, name spaces and metadata are left out: HTML needs none of
    them, and several figures share one page.

    Parameters
    ----------
    figure : Figure
    description : str
        What it shows, for people who cannot see it; also makes its identifiers its own.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    settings = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": description})
    with settings, no_glyph_warnings():
        figure.savefig(buffer, format="svg", metadata=nothing)
    svg = printable(buffer.getvalue())
    svg = svg[svg.index("<svg") :]
    svg = _TAG.sub(lambda tag: _UNNEEDED.sub("", tag[0]), svg)
    return svg.replace("<svg", f'<svg role="img" aria-label={quoteattr(one_line(description))}', 1)


def to_svg_file(figure: Figure, description: str) -> str:
    """The same as :func:`to_svg` with the name spaces that a file of its own needs."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return to_svg(figure, description).replace("<svg", f"<svg {names}", 1)
