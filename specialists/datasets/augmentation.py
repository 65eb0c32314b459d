"""How are training batches varied at random, without a loop over examples?

Images: a random affine map each (rotation, shear, scale, shift), applied to the whole batch by
``affine_grid`` and ``grid_sample``; or a shift by whole pixels. Text: n-grams dropped at random.
Features: numbers dropped at random. All draw from a generator that the caller owns, so that a run
can be repeated; it is of the device of the batch, or of the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.datasets.base import Inputs, Kind, Ragged


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    degrees: float = 10.0,
    translate: float = 0.06,
    scale: float = 0.1,
    shear: float = 0.1,
) -> Tensor:
    """Apply an affine map of its own to each image.

    Pixel x of the result is pixel A x + b of the image, with A = R(angle) [[1, shear], [0, 1]] /
    scale, and bilinear between pixels. What comes from outside takes the image's background: the
    median of the pixels at its rim.

    ``images`` have shape (n, channels, height, width), uint8 or float, and so has the result.
    ``degrees``, ``shear`` and ``translate`` (a share of the image's side) are the largest either
    way, and sizes lie in [1 - scale, 1 + scale].
    """
    n = len(images)
    if not n:
        return images
    draws = torch.rand(n, 5, generator=generator, device=generator.device) * 2 - 1
    draws = draws.to(images.device)
    theta = _maps(draws, math.radians(degrees), translate, scale, shear)
    pixels = images if images.is_floating_point() else images.float()
    background = _background(pixels)
    height, width = images.shape[2:]
    if height != width:
        ratio = height / width  # grid coordinates run from -1 to 1 along both sides
        theta = theta * theta.new_tensor([[1.0, ratio, 1.0], [1 / ratio, 1.0, 1.0]])
    grid = F.affine_grid(theta.to(pixels.dtype), list(images.shape), align_corners=False)
    moved = F.grid_sample(pixels - background, grid, align_corners=False) + background
    if images.is_floating_point():
        return moved
    return moved.round_().clamp_(0, 255).to(images.dtype)


def shift_pixels(images: Tensor, generator: torch.Generator, most: int = 2) -> Tensor:
    """Move each image by whole pixels, at most ``most`` either way along both sides.

    All shifts are equally probable. What comes from outside takes the image's background, as in
    :func:`random_affine`, whose images and result have the same shapes and types.
    """
    n, _, height, width = images.shape
    if not n:
        return images
    draws = torch.randint(2 * most + 1, (2, n), generator=generator, device=generator.device)
    down, right = draws.to(images.device)
    background = _background(images)
    frame = background.expand(-1, -1, height + 2 * most, width + 2 * most).clone()
    frame[..., most : most + height, most : most + width] = images
    windows = frame.unfold(2, height, 1).unfold(3, width, 1)  # [n, c, shift, shift, h, w], a view
    return windows[torch.arange(n, device=images.device), :, down, right]


def drop_ngrams(ragged: Ragged, generator: torch.Generator, rate: float = 0.1) -> Ragged:
    """Drop each value with probability ``rate`` in [0, 1); rows may become empty."""
    draws = torch.rand(ragged.values.numel(), generator=generator, device=generator.device)
    kept = draws.to(ragged.values.device) >= rate
    before = torch.zeros(kept.numel() + 1, dtype=torch.int64, device=kept.device)
    torch.cumsum(kept, 0, out=before[1:])
    return Ragged(ragged.values[kept], before[ragged.offsets])


def drop_features(features: Tensor, generator: torch.Generator, rate: float = 0.2) -> Tensor:
    """Set each number to 0 with probability ``rate`` and divide the others by 1 - ``rate``.

    Dropout of the inputs (Srivastava et al. 2014): their expectation stays. ``features`` have shape
    (n, d), and ``rate`` lies in [0, 1).
    """
    draws = torch.rand(features.shape, generator=generator, device=generator.device)
    kept = draws.to(features.device) >= rate
    return features * kept / (1 - rate)


AUGMENTATIONS: dict[Kind, Callable[[Any, torch.Generator], Inputs]] = {
    "text": drop_ngrams,
    "images": random_affine,
    "features": drop_features,
}


def _maps(draws: Tensor, radians: float, translate: float, scale: float, shear: float) -> Tensor:
    """Matrices [A | b] of shape (n, 2, 3) from draws in [-1, 1] of shape (n, 5)."""
    angle, skew = draws[:, 0] * radians, draws[:, 1] * shear
    size = 1 + draws[:, 2] * scale
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    shift = draws[:, 3:] * 2 * translate
    rows = (
        torch.stack([cos, cos * skew - sin, shift[:, 0]], dim=1),
        torch.stack([sin, sin * skew + cos, shift[:, 1]], dim=1),
    )
    return torch.stack(rows, dim=1)


def _background(pixels: Tensor) -> Tensor:
    """Median of the outermost pixels of each channel, shape (n, channels, 1, 1)."""
    rim = torch.cat(
        [pixels[..., 0, :], pixels[..., -1, :], pixels[..., :, 0], pixels[..., :, -1]], dim=-1
    )
    return rim.median(dim=-1).values[..., None, None]
