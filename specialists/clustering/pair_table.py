"""How do confused pairs look in a notebook? As a table of pandas, whose examples are seen."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from specialists.escaping import one_line, readable

MAX_SHOWN = 60  # pairs
MAX_CHARACTERS = 80  # of an example
HEIGHT = 36  # of a picture on the page, in pixels
MAX_PIXELS = 96  # of the longer side of a stored picture
NO_CLUSTER = -1
LEFT = '<div style="text-align: left">{}</div>'
NOT_BROKEN = '<span style="white-space: nowrap">{}</span>'
PICTURE = '<img src="data:image/png;base64,{}" style="height: {}px; image-rendering: pixelated">'


class PairTable(pd.DataFrame):
    """What :func:`specialists.clustering.confused_pairs` found: a DataFrame to look at.

    A notebook shows shares in per cent, images as pictures, and the first 60 pairs.
    """

    @property
    def _constructor(self) -> type[PairTable]:
        return PairTable  # also of its first rows, or of those that fulfil a condition

    def _repr_html_(self) -> str:
        """The table as HTML; whatever names and examples hold is escaped."""
        columns = {
            escape(str(name)): [_shown(str(name), value) for value in self[name].head(MAX_SHOWN)]
            for name in self.columns
        }
        shown = pd.DataFrame(columns, index=self.index[:MAX_SHOWN])
        more = len(self) - len(shown)
        with pd.option_context("display.max_colwidth", None):
            table = shown.to_html(border=0, escape=False)
        return table + (f"\n<p>and {more:,} more pairs</p>" if more > 0 else "")


def _shown(column: str, value: Any) -> str:
    if column == "share_of_confusions":
        return f"{value:.2%}"
    if column == "times_average":
        return f"{value:,.1f}"
    if column == "examples":
        return _pictures(value) if _is_image_list(value) else _texts(value)
    if column == "cluster" and value == NO_CLUSTER:
        return "none"
    if isinstance(value, list):
        return NOT_BROKEN.format(escape(", ".join(map(str, value))))
    return escape(one_line(readable(str(value))))


def _is_image_list(values: list[Any]) -> bool:
    return bool(values) and all(np.ndim(value) in (2, 3) for value in values)


def _texts(values: list[Any]) -> str:
    lines = [one_line(str(value)) for value in values]
    return LEFT.format(
        "<br>".join(
            escape(line if len(line) <= MAX_CHARACTERS else line[: MAX_CHARACTERS - 1] + "…")
            for line in lines
        )
    )


def _pictures(values: list[Any]) -> str:
    return NOT_BROKEN.format(" ".join(map(_picture, values)))


def _picture(image: Any) -> str:
    """A small picture of an image, each at its own full contrast unless it has bytes."""
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = (255 * (pixels.astype(float) - low) / ((high - low) or 1.0)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_PIXELS, MAX_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return PICTURE.format(base64.b64encode(buffer.getvalue()).decode("ascii"), HEIGHT)
