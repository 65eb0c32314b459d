"""How do arrays of images of any size become uint8 tensors [n, channels, height, width]?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.errors import DataError
from specialists.runtime import memory

_CHANNELS = (1, 3)
_LAYOUTS = "uint8 of shape [n, h, w], [n, channels, h, w] or [n, h, w, channels]; channels 1 or 3"
_CHUNK = 4096


def check_memory(n: int, channels: int, size: tuple[int, int]) -> None:
    """Raise a DataError if so many images of this height and width are larger than the memory."""
    needed = n * channels * size[0] * size[1]
    if needed > memory():
        raise DataError(
            "these images are larger than this machine's memory",
            got=f"{n:,} images of {size[0]} x {size[1]} pixels: {needed / 2**30:,.1f} GiB",
            expected=f"less than {memory() / 2**30:,.1f} GiB",
            fix="set a smaller data.image_size",
        )


def fit_images(
    images: np.ndarray, channels: int, size: tuple[int, int], where: object = None
) -> Tensor:
    """Images of an array, resampled (area-weighted, antialiased) where their size differs.

    Those of the right size and layout are not copied.

    Raises
    ------
    DataError
        Not uint8, not of shape [n, h, w], [n, channels, h, w] or [n, h, w, channels], or of
        another number of channels.
    """
    pixels = with_channels(images, where)
    if pixels.shape[1] != channels:
        raise DataError(
            "images have the wrong number of channels",
            where=where,
            got=f"{pixels.shape[1]}, of shape {images.shape}",
            expected=f"{channels}, as in training",
            fix="make them grey, or coloured, as image files are: pass images of Pillow",
        )
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

    Raises
    ------
    DataError
        Not uint8, no pixels, or of another layout or number of channels.
    """
    if images.ndim in (3, 4):
        if images.dtype != np.uint8:
            raise DataError(
                "images are not bytes",
                where=where,
                got=f"dtype {images.dtype} of shape {images.shape}",
                expected=f"{_LAYOUTS}; features have the shape [n, d]",
                fix=_as_bytes(images),
            )
        if 0 in images.shape[1:]:
            raise DataError("images without pixels", where=where, got=f"shape {images.shape}")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in _CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in _CHANNELS:
        return images.transpose(0, 3, 1, 2)
    alpha = images.ndim == 4 and {images.shape[1], images.shape[3]} & {2, 4}
    raise DataError(
        "images have the wrong shape",
        where=where,
        got=f"shape {images.shape}",
        expected=_LAYOUTS,
        fix="if the last channel is transparency, leave it out" if alpha else None,
    )


def layout_note(images: np.ndarray, where: object) -> list[str]:
    """Which layout is taken, where the shape fits two."""
    both = images.ndim == 4 and images.shape[1] in _CHANNELS and images.shape[3] in _CHANNELS
    told = f"{where}: the shape {images.shape} is read as [n, channels, height, width]"
    return [told] if both else []


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
