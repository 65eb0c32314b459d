"""How do image files and arrays of images become pixels, uint8 [n, channels, height, width]?

Pillow reads files, but only the formats of ``PILLOW_FORMATS``, by their content and not by their
suffix: some of its other readers start programs. Pictures are turned upright (EXIF), laid on white
where they are transparent, made grey or RGB, and resampled to the wanted size, which may change
their proportions. Of an animation or a file of several pages the first picture is used. Colour
profiles are not applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.errors import DataError, DataWarning
from specialists.runtime import memory

if TYPE_CHECKING:
    from PIL.Image import Image


PILLOW_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
READ = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM"
_GREY = ("1", "L", "LA", "F")
_DRAFT = 4  # a JPEG is decoded at a smaller scale, but at least so many times the wanted size
_DARK = 8  # from 12 bits stored as 16 on, a picture is told to be dark
_NAMED = 100
_CHANNELS = (1, 3)
_LAYOUTS = "uint8 of shape [n, h, w], [n, channels, h, w] or [n, h, w, channels]; channels 1 or 3"
_CHUNK = 4096


@dataclass
class ReadFiles:
    """Which image files could not be read, and which were read otherwise than one might think."""

    unreadable: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """What is to be told, with counts.

        Raises DataError: some files cannot be read; it names them all.
        """
        if n := len(self.unreadable):
            more = [f"and {n - _NAMED} more"] * (n > _NAMED)
            what = f"{n} unreadable image{'s' if n > 1 else ''}"
            where = "\n    ".join([*self.unreadable[:_NAMED], *more])
            expected, fix = f"image files that Pillow can open ({READ})", "remove or replace them"
            raise DataError(what, where=where, expected=expected, fix=fix)
        counted = {
            "files of several pictures, of which the first is used": self.several,
            "image files read in spite of a warning": self.warned,
        }
        return tuple(
            f"{what} ({len(paths)}), for instance {paths[0]}"
            for what, paths in counted.items()
            if paths
        )


def read_pictures(
    paths: Sequence[Path], size: tuple[int, int], channels: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Image files as uint8 (n, channels, height, width), each read once, and notes with counts.

    ``size`` is height and width in pixels. Without ``channels`` there is 1 if the mode of no file
    has colour, else 3. The notes say what was read otherwise than one might think.

    Raises DataError: some files cannot be read; it names them all.
    """
    read = ReadFiles()
    pixels = decoded_pictures(paths, size, channels, read)
    return pixels, read.notes()


def decoded_pictures(
    paths: Sequence[Path], size: tuple[int, int], channels: int | None, read: ReadFiles
) -> np.ndarray:
    """As :func:`read_pictures`; what is to be told goes to ``read``, unreadable files are black."""
    check_memory(len(paths), channels or 1, size)
    pixels = np.zeros((len(paths), channels or 1, *size), dtype=np.uint8)
    for i, path in enumerate(paths):
        try:
            picture, has_more, messages = _decoded(path, size, channels)
        except Exception as error:  # on damaged bytes a decoder may raise anything
            read.unreadable.append(f"{path} ({_reason(path, error)})")
            continue
        read.several += [str(path)] * has_more
        read.warned += [f"{path} ({messages[0]})"] if messages else []
        if len(picture) > pixels.shape[1]:  # all before were grey
            coloured = np.zeros((len(pixels), 3, *size), dtype=np.uint8)
            coloured[:i] = pixels[:i]
            pixels = coloured
        pixels[i] = picture
    return pixels


def read_images(paths: Sequence[Path], channels: int, size: tuple[int, int]) -> Tensor:
    """The same as a tensor, with what is to be told as a DataWarning."""
    pixels, notes = read_pictures(paths, size, channels)
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    return torch.from_numpy(pixels)


def size_of_picture(path: Path) -> tuple[int, int]:
    """Height and width of an image file, upright; a DataError if it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            width, height = ImageOps.exif_transpose(image).size
    except Exception as error:  # on damaged bytes a decoder may raise anything
        raise DataError("1 unreadable image", where=path, got=_reason(path, error)) from None
    return height, width


def image_pixels(
    image: Image, channels: int, size: tuple[int, int], where: object = None
) -> np.ndarray:
    """Pixels of an image of Pillow, uint8 of shape (channels, height, width).

    Raises DataError: it cannot be decoded, which Pillow does when it is asked for pixels.
    """
    from PIL import ImageOps

    try:
        pixels = _pixels(ImageOps.exif_transpose(image), channels == 1, size)
    except Exception as error:  # on damaged bytes a decoder may raise anything
        raise DataError("this picture cannot be decoded", where=where, got=error) from None
    return np.array(pixels, order="C")  # Pillow's pixels are read-only


def _decoded(
    path: Path, size: tuple[int, int], channels: int | None
) -> tuple[np.ndarray, bool, list[str]]:
    """Pixels of shape (1 or 3, height, width), whether more pictures follow, Pillow's warnings."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            has_more = bool(getattr(image, "is_animated", False))
            image.draft(image.mode, (_DRAFT * max(size), _DRAFT * max(size)))
            ImageOps.exif_transpose(image, in_place=True)
            is_grey = image.mode in _GREY or image.mode.startswith("I")
            grey = is_grey if channels is None else channels == 1
            pixels = _pixels(image, grey, size)
    messages = [str(w.message) for w in caught if w.category is not Image.DecompressionBombWarning]
    return pixels, has_more, messages


def _pixels(image: Image, grey: bool, size: tuple[int, int]) -> np.ndarray:
    """Pixels (1 or 3, height, width) of a picture, which is copied as seldom as possible."""
    from PIL import Image as Images

    mode = "L" if grey else "RGB"
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
    pixels = np.asarray(image.convert(mode), dtype=np.uint8)
    return pixels.reshape(*size, -1).transpose(2, 0, 1)


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


def _reason(path: Path, error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"too large: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "no picture of these formats" if path.stat().st_size else "an empty file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def check_memory(n: int, channels: int, size: tuple[int, int]) -> None:
    """Raise a DataError if so many images of this height and width are larger than the memory."""
    needed = n * channels * size[0] * size[1]
    if needed > memory():
        what = "these images are larger than this machine's memory"
        got = f"{n:,} images of {size[0]} x {size[1]} pixels: {needed / 2**30:,.1f} GiB"
        expected = f"less than {memory() / 2**30:,.1f} GiB"
        raise DataError(what, got=got, expected=expected, fix="set a smaller data.image_size")


def fit_images(
    images: np.ndarray, channels: int, size: tuple[int, int], where: object = None
) -> Tensor:
    """Images of an array, resampled (area-weighted, antialiased) where their size differs.

    Those of the right size and layout are not copied.

    Raises DataError: not uint8, not of shape [n, h, w], [n, channels, h, w] or [n, h, w, channels],
    or of another number of channels.
    """
    pixels = with_channels(images, where)
    if pixels.shape[1] != channels:
        what = "images have the wrong number of channels"
        got = f"{pixels.shape[1]}, of shape {images.shape}"
        fix = "make them grey, or coloured, as image files are: pass images of Pillow"
        raise DataError(what, where=where, got=got, expected=f"{channels}, as in training", fix=fix)
    check_memory(len(pixels), channels, size)
    tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    if tuple(tensor.shape[2:]) == tuple(size):
        return tensor
    fitted = torch.empty((len(tensor), channels, *size), dtype=torch.uint8)
    for chunk, out in zip(tensor.split(_CHUNK), fitted.split(_CHUNK), strict=True):
        resampled = F.interpolate(chunk.float(), size=size, mode="bilinear", antialias=True)
        out.copy_(resampled.round().clamp(0, 255))
    return fitted


def with_channels(images: np.ndarray, where: object = None) -> np.ndarray:
    """Images of shape [n, channels, h, w], a view, from any of the layouts in use.

    Where both layouts are possible, channels come first.

    Raises DataError: not uint8, no pixels, or of another layout or number of channels.
    """
    if images.ndim in (3, 4):
        if images.dtype != np.uint8:
            got = f"dtype {images.dtype} of shape {images.shape}"
            expected, fix = f"{_LAYOUTS}; features have the shape [n, d]", _as_bytes(images)
            what = "images are not bytes"
            raise DataError(what, where=where, got=got, expected=expected, fix=fix)
        if 0 in images.shape[1:]:
            raise DataError("images without pixels", where=where, got=f"shape {images.shape}")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in _CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in _CHANNELS:
        return images.transpose(0, 3, 1, 2)
    alpha = images.ndim == 4 and {images.shape[1], images.shape[3]} & {2, 4}
    what = "images have the wrong shape"
    fix = "if the last channel is transparency, leave it out" if alpha else None
    raise DataError(what, where=where, got=f"shape {images.shape}", expected=_LAYOUTS, fix=fix)


def layout_note(images: np.ndarray, where: object) -> list[str]:
    """Which layout is taken, where the shape fits two."""
    both = images.ndim == 4 and images.shape[1] in _CHANNELS and images.shape[3] in _CHANNELS
    note = f"{where}: the shape {images.shape} is read as [n, channels, height, width]"
    return [note] if both else []


def _as_bytes(images: np.ndarray) -> str:
    if images.dtype.kind == "b":
        return "store x.astype('uint8') * 255"
    if images.dtype.kind in "iuf" and images.size:
        low, high = images.min(), images.max()
        if low >= 0 and high <= 1:
            return "the values lie in 0..1: store (x * 255).round().astype('uint8')"
        if low >= 0 and high <= 255:
            return "the values lie in 0..255: store x.round().astype('uint8')"
    return "scale them to 0..255 and store them as uint8"
