"""How do image files and arrays of any size become uint8 tensors [n, channels, height, width]?

Files are read by Pillow, turned upright, laid on white where they are transparent, made grey
(one channel) or RGB (three), and resampled to the wanted size, which may change their proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY = ("1", "L", "LA", "I", "I;16", "F")
_SHOWN = 5


def read_images(paths: Sequence[Path], channels: int, size: tuple[int, int]) -> Tensor:
    """Read image files.

    Parameters
    ----------
    paths : sequence of paths
    channels : {1, 3}
    size : (int, int)
        Height and width in pixels.

    Raises
    ------
    DataError
        Some files cannot be read; it names them.
    """
    pixels = np.zeros((len(paths), *size, channels), dtype=np.uint8)
    unreadable: list[str] = []
    for i, path in enumerate(paths):
        try:
            pixels[i] = _read(path, channels, size)
        except (OSError, ValueError, SyntaxError) as error:
            unreadable.append(f"{path} ({error or type(error).__name__})")
    _refuse(unreadable)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def all_grey(paths: Sequence[Path]) -> bool:
    """True where no file has colour, judged by its mode. Unreadable files are a DataError."""
    from PIL import Image

    grey = True
    unreadable: list[str] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                grey &= image.mode in _GREY
        except (OSError, ValueError, SyntaxError) as error:
            unreadable.append(f"{path} ({error or type(error).__name__})")
    _refuse(unreadable)
    return grey


def fit_images(images: np.ndarray, channels: int, size: tuple[int, int]) -> Tensor:
    """Images of an array, resampled (area-weighted, antialiased) where their size differs.

    Raises
    ------
    DataError
        Not uint8, or not of shape [n, h, w], [n, channels, h, w] or [n, h, w, channels].
    """
    pixels = with_channels(images)
    if pixels.shape[1] != channels:
        raise DataError(
            "images have the wrong number of channels", got=pixels.shape[1], expected=channels
        )
    tensor = torch.from_numpy(np.array(pixels, order="C", copy=True))
    if tuple(tensor.shape[2:]) == tuple(size) or not len(tensor):
        return tensor
    chunks = [
        F.interpolate(chunk.float(), size=size, mode="bilinear", antialias=True)
        for chunk in tensor.split(4096)
    ]
    return torch.cat([chunk.round().clamp(0, 255).to(torch.uint8) for chunk in chunks])


def with_channels(images: np.ndarray, where: object = None) -> np.ndarray:
    """Images of shape [n, channels, h, w] from any of the layouts in use."""
    expected = "uint8 of shape [n, h, w], [n, channels, h, w] or [n, h, w, channels]"
    if images.dtype != np.uint8:
        raise DataError(
            "images are not bytes",
            where=where,
            got=f"dtype {images.dtype}",
            expected=expected,
            fix="scale them to 0..255 and store them as uint8",
        )
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    raise DataError("images have the wrong shape", where=where, got=images.shape, expected=expected)


def _read(path: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        image = _on_white(image).convert("L" if channels == 1 else "RGB")
        height, width = size
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def _on_white(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    if image.mode not in ("LA", "RGBA", "PA") and "transparency" not in image.info:
        return image
    white = Images.new("RGBA", image.size, "white")
    return Images.alpha_composite(white, image.convert("RGBA"))


def _eight_bits(image: Image) -> Image:
    """A 16-bit or float image, scaled so that the largest value of its type is white."""
    from PIL import Image as Images

    values = np.asarray(image, dtype=np.float64)
    top = 1.0 if image.mode == "F" and values.max(initial=0) <= 1 else 65535.0
    return Images.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8))


def _refuse(unreadable: Sequence[str]) -> None:
    if unreadable:
        more = len(unreadable) - _SHOWN
        raise DataError(
            f"{len(unreadable)} unreadable image{'s' if len(unreadable) > 1 else ''}",
            where="; ".join(unreadable[:_SHOWN]) + (f"; and {more} more" if more > 0 else ""),
            expected="PNG or JPEG files that Pillow can open",
            fix="remove or replace them",
        )
