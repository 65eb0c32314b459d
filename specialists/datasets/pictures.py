"""How do image files become pixels, uint8 [n, channels, height, width]?

Pillow reads them, but only the formats of ``FORMATS``, by their content and not by their suffix:
some of its other readers start programs. Pictures are turned upright (EXIF), laid on white where
they are transparent, made grey or RGB, and resampled to the wanted size, which may change their
proportions. Of an animation or a file of several pages the first picture is used. Colour profiles
are not applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.pixels import check_memory
from specialists.errors import DataError, DataWarning

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)
READ = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM"
_GREY = ("1", "L", "LA", "F")
_DRAFT = 4  # a JPEG is decoded at a smaller scale, but at least so many times the wanted size
_DARK = 8  # from 12 bits stored as 16 on, a picture is told to be dark
_NAMED = 100


@dataclass(frozen=True)
class Pictures:
    """Pixels of n image files.

    Parameters
    ----------
    pixels : uint8 array of shape (n, channels, height, width)
    notes : tuple of str
        What was read otherwise than one might think, with counts.
    """

    pixels: np.ndarray
    notes: tuple[str, ...]


def read_pictures(
    paths: Sequence[Path], size: tuple[int, int], channels: int | None = None
) -> Pictures:
    """Read image files, each once.

    Parameters
    ----------
    paths : sequence of Path
    size : (int, int)
        Height and width in pixels.
    channels : {1, 3}, optional
        None: 1 if the mode of no file has colour, else 3.

    Raises
    ------
    DataError
        Some files cannot be read; it names them all.
    """
    check_memory(len(paths), channels or 1, size)
    pixels = np.zeros((len(paths), channels or 1, *size), dtype=np.uint8)
    unreadable, several, warned = [], [], []
    for i, path in enumerate(paths):
        try:
            picture, has_more, told = _decoded(path, size, channels)
        except Exception as error:  # on damaged bytes a decoder may raise anything
            unreadable.append(f"{path} ({_reason(path, error)})")
            continue
        several += [str(path)] * has_more
        warned += [f"{path} ({told[0]})"] if told else []
        if len(picture) > pixels.shape[1]:
            pixels = _with_colour(pixels, i)
        pixels[i] = picture
    _refuse(unreadable)
    return Pictures(pixels, tuple(_notes(several, warned)))


def read_images(paths: Sequence[Path], channels: int, size: tuple[int, int]) -> Tensor:
    """The same as a tensor, with what is to be told as a DataWarning."""
    pictures = read_pictures(paths, size, channels)
    for note in pictures.notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return torch.from_numpy(pictures.pixels)


def image_pixels(
    image: Image, channels: int, size: tuple[int, int], where: object = None
) -> np.ndarray:
    """Pixels of an image of Pillow, uint8 of shape (channels, height, width).

    Raises
    ------
    DataError
        It cannot be decoded, which Pillow does when it is asked for pixels.
    """
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        pixels = np.asarray(_resized(upright, "L" if channels == 1 else "RGB", size), np.uint8)
    except Exception as error:  # on damaged bytes a decoder may raise anything
        raise DataError("this picture cannot be decoded", where=where, got=error) from None
    return np.array(
        pixels.reshape(*size, -1).transpose(2, 0, 1), order="C"
    )  # Pillow's are read-only


def _decoded(
    path: Path, size: tuple[int, int], channels: int | None
) -> tuple[np.ndarray, bool, list[str]]:
    """Pixels of shape (1 or 3, height, width), whether more pictures follow, Pillow's warnings."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Image.open(path, formats=FORMATS) as image:
            has_more = bool(getattr(image, "is_animated", False))
            image.draft(image.mode, (_DRAFT * max(size), _DRAFT * max(size)))
            ImageOps.exif_transpose(image, in_place=True)
            grey = channels == 1 or (channels is None and _is_grey(image))
            pixels = np.asarray(_resized(image, "L" if grey else "RGB", size), dtype=np.uint8)
    told = [str(w.message) for w in caught if w.category is not Image.DecompressionBombWarning]
    return pixels.reshape(*size, -1).transpose(2, 0, 1), has_more, told


def _is_grey(image: Image) -> bool:
    return image.mode in _GREY or image.mode.startswith("I")


def _resized(image: Image, mode: str, size: tuple[int, int]) -> Image:
    """A small picture in ``mode``, of a large one that is copied as seldom as possible."""
    from PIL import Image as Images

    transparent = image.mode in ("LA", "RGBA", "RGBa", "PA") or "transparency" in image.info
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    elif transparent and image.mode != "RGBA":
        image = image.convert("RGBA")
    elif not transparent and image.mode != mode:
        image = image.convert(mode)
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Images.Resampling.BILINEAR)
    if image.mode == "RGBA":
        image = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _eight_bits(image: Image) -> Image:
    """A 16-bit or float image, scaled so that the largest value of its type is white."""
    from PIL import Image as Images

    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    top, largest = 65535.0, values.max()
    if image.mode == "F" and largest <= 255:
        top = 1.0 if largest <= 1 else 255.0
    if 0 < largest < top / _DARK:
        warnings.warn(
            f"its 16-bit values end at {largest:.0f} of {top:.0f}: it is read nearly black",
            DataWarning,
            stacklevel=2,
        )
    return Images.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8))


def _with_colour(pixels: np.ndarray, n: int) -> np.ndarray:
    """Room for colour, after the first n pictures were grey."""
    coloured = np.zeros((len(pixels), 3, *pixels.shape[2:]), dtype=np.uint8)
    coloured[:n] = pixels[:n]
    return coloured


def _reason(path: Path, error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "no picture of these formats" if path.stat().st_size else "an empty file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _notes(several: Sequence[str], warned: Sequence[str]) -> list[str]:
    told = (
        (several, "files of several pictures, of which the first is used"),
        (warned, "image files read in spite of a warning"),
    )
    return [f"{what} ({len(files)}), for instance {files[0]}" for files, what in told if files]


def _refuse(unreadable: Sequence[str]) -> None:
    if unreadable:
        more = [f"and {len(unreadable) - _NAMED} more"] * (len(unreadable) > _NAMED)
        raise DataError(
            f"{len(unreadable)} unreadable image{'s' if len(unreadable) > 1 else ''}",
            where="\n    ".join([*unreadable[:_NAMED], *more]),
            expected=f"image files that Pillow can open ({READ})",
            fix="remove or replace them",
        )
