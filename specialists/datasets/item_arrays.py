"""What is one input of a dataset, and how do several become an array?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from specialists.datasets.base import Kind
from specialists.datasets.encoding import encode_images
from specialists.datasets.pictures import size_of_picture
from specialists.errors import DataError


def kind_of_item(item: Any, where: object = None) -> Kind:
    """Of an input: a string, numbers in one axis, or a picture.

    Raises DataError: it is another thing.
    """
    if isinstance(item, str):
        return "text"
    if hasattr(item, "getbands") or isinstance(item, Path):
        return "images"
    shape = np.shape(_plain_array(item))
    if len(shape) not in (1, 2, 3):
        got = f"{type(item).__name__} of shape {shape}" if shape else type(item).__name__
        expected = "a string, numbers [d], a picture, or a Path of one"
        raise DataError("inputs of another form", where=where, got=got, expected=expected)
    return "features" if len(shape) == 1 else "images"


def shape_of_item(item: Any, kind: Kind, side: int | None) -> tuple[int, ...]:
    """Of an input as it is read; pictures have ``side`` pixels a side, or as many as the first."""
    if kind == "features":
        return np.shape(_plain_array(item))
    if hasattr(item, "getbands") or isinstance(item, Path):
        height, width = size_of_picture(item) if isinstance(item, Path) else item.size[::-1]
        return (3, side or height, side or width)
    channels, height, width = _picture(item, 0).shape
    return (channels, side or height, side or width)


def as_rows(inputs: Any, kind: Kind, shape: tuple[int, ...], numbers: np.ndarray) -> np.ndarray:
    """Inputs of some rows as one array, float32 [k, d] or uint8 [k, channels, height, width].

    Raises DataError: they differ in shape, or are no numbers or pictures; it names the row.
    """
    if kind == "features":
        if isinstance(inputs, Tensor | np.ndarray) and inputs.shape[1:] == shape:
            return _plain_array(inputs).astype(np.float32, copy=False)
        rows = [_plain_array(item) for item in inputs]
        for row, number in zip(rows, numbers.tolist(), strict=True):
            if row.shape != shape or row.dtype.kind not in "fiub":
                got, expected = f"{row.dtype} of shape {row.shape}", f"numbers of shape {shape}"
                raise DataError("rows differ", where=f"row {number}", got=got, expected=expected)
        return np.stack(rows).astype(np.float32, copy=False)
    channels, height, width = shape
    size = {"channels": channels, "height": height, "width": width}
    pictures = [
        item if hasattr(item, "getbands") or isinstance(item, Path) else _picture(item, number)
        for item, number in zip(inputs, numbers.tolist(), strict=True)
    ]
    return encode_images({"kind": "images", **size}, pictures).numpy()


def _picture(item: Any, number: int) -> np.ndarray:
    """Bytes [channels, height, width] of an array; numbers from 0 to 1 are scaled to bytes."""
    picture = _plain_array(item)
    if picture.dtype.kind == "f":
        if not (picture.size and picture.min() >= 0 and picture.max() <= 1):
            raise DataError(
                "a picture of numbers beyond 0 to 1",
                where=f"row {number}",
                got=f"{picture.dtype} from {picture.min():.3g} to {picture.max():.3g}",
                expected="bytes, or numbers from 0 to 1, as ToTensor gives",
                fix="leave Normalize out: networks here scale pictures themselves",
            )
        picture = (picture * 255).round().astype(np.uint8)
    if picture.ndim == 2:
        picture = picture[None]
    if picture.shape[0] not in (1, 3) and picture.shape[-1] in (1, 3):
        picture = np.moveaxis(picture, -1, 0)
    return picture


def _plain_array(item: Any) -> np.ndarray:
    return item.detach().cpu().numpy() if isinstance(item, Tensor) else np.asarray(item)
