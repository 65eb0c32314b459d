"""The layers that torch does not have, or has slower.

A hashed n-gram table, dropout with cheap random numbers, pixels, a small residual block.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.datasets.base import Ragged
from specialists.large_tables import zero_table
from specialists.networks.table_gradients import BagMeans

INITIAL_ROW_SCALE = 0.1
HASHES_AT_A_TIME = 1 << 22
ROWS_AT_A_TIME = 1 << 16


class HashedEmbedding(nn.Module):
    """Mean of the table rows that a string's n-grams hash to; gradients of the table are sparse.

    It has ``n_buckets`` rows, a power of two: a hash selects row ``hash & (n_buckets - 1)``, so
    that one cached set of hashes serves tables of every size.
    """

    def __init__(self, n_buckets: int, dim: int) -> None:
        super().__init__()
        self.mask = n_buckets - 1
        weight = zero_table((n_buckets, dim))
        if not weight.is_meta:  # drawing without memory loads PyTorch's compiler
            weight.normal_().mul_(INITIAL_ROW_SCALE)
        self.weight = nn.Parameter(weight)

    def forward(self, ngrams: Ragged) -> Tensor:
        """Bags [n, dim] of ``n`` rows of hashes; an empty row gives zeros."""
        rows, offsets = ngrams.values & self.mask, ngrams.offsets.to(ngrams.values.dtype)
        if torch.is_grad_enabled():
            return BagMeans.apply(self.weight, rows, offsets)
        return self.means(rows, offsets[:-1])

    def means(self, rows: Tensor, starts: Tensor) -> Tensor:
        """Means of bags of the table's ``rows`` without a gradient; where each bag starts."""
        return F.embedding_bag(rows, self.weight.detach(), starts, mode="mean")

    def empty_unread(self, ngrams: Ragged) -> None:
        """Set the rows to zero that none of these strings reads.

        Before training on them: those rows would stay as they were drawn, noise in what other
        strings get, and nothing that is worth its place on a disk.
        """
        unread = torch.ones(len(self.weight), dtype=torch.bool)
        for values in ngrams.values.split(HASHES_AT_A_TIME):
            unread[values & self.mask] = False
        with torch.no_grad():
            self.weight[unread.to(self.weight.device)] = 0

    def round(self) -> None:
        """Round the table to numbers of half precision, as which it is stored, where they fit."""
        with torch.no_grad():
            for rows in self.weight.split(ROWS_AT_A_TIME):
                halves = rows.half()
                fits = halves.isfinite()
                rows.copy_(halves if bool(fits.all()) else torch.where(fits, halves.float(), rows))


class QuickDropout(nn.Dropout):
    """Dropout (Srivastava et al. 2014), on a CPU with four random numbers of a word of 64 bits.

    torch draws a number of 53 bits for each value, which took a fifth of a step of training. With
    16 bits p is rounded to a multiple of 2^-16; what is kept is divided by the rounded 1 - p.
    Comparisons that give integers, and their conversion, took a third of the time of those that
    give bools.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zeros at random places in training mode, ``input`` in evaluation mode."""
        n_dropped = round(self.p * 2**16)
        if not self.training or input.device.type != "cpu" or n_dropped in (0, 2**16):
            return super().forward(input)
        words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        numbers = words.view(torch.int16)[: input.numel()].view(input.shape)
        kept = torch.ge(numbers, n_dropped - 2**15, out=torch.empty_like(numbers))
        return input * kept.to(input.dtype).mul_(2**16 / (2**16 - n_dropped))


class Beside(nn.Module):
    """Hidden units beside their inputs: x -> (x, h(x)), h of ``depth`` layers with ReLU.

    The layer above sees both. A network of bags of n-grams is thus a linear model, for which few
    examples a class suffice, and what hidden units add to it.
    """

    def __init__(self, n_in: int, width: int, depth: int = 1) -> None:
        super().__init__()
        sizes = [n_in, *(width for _ in range(depth))]
        layers = [nn.Linear(below, above) for below, above in itertools.pairwise(sizes)]
        self.layers = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))

    def forward(self, x: Tensor) -> Tensor:
        """[n, n_in] to [n, n_in + width]."""
        return torch.cat([x, self.layers(x)], dim=1)


class ScaledPixels(nn.Module):
    """uint8 images [n, c, h, w] to floats in [-1, 1]; float images keep their values.

    Channels come last in memory, which makes convolutions on CPUs and GPUs faster.
    """

    def forward(self, images: Tensor) -> Tensor:
        if not images.is_floating_point():
            images = images.to(torch.get_default_dtype()) / 127.5 - 1.0
        return images.contiguous(memory_format=torch.channels_last)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, figure 2).

    They lead from ``n_in`` to ``n_out`` channels; the first has the stride. A 1x1 convolution
    adapts the shortcut where shapes differ. It takes every ``stride``-th pixel and has stride 1:
    the same outputs as with a stride of its own, whose gradient oneDNN writes out of bounds on CPUs
    without AVX-512 (fewer than 8 input channels, channels last).
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(n_in, n_out, 3, stride)
        self.second = convolution(n_out, n_out, 3, 1)
        self.stride = stride
        same = n_in == n_out and stride == 1
        self.shortcut = nn.Identity() if same else convolution(n_in, n_out, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = x[..., :: self.stride, :: self.stride]
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(kept))


def convolution(n_in: int, n_out: int, size: int, stride: int) -> nn.Sequential:
    """A convolution that keeps the size (over ``stride``), and its batch normalisation."""
    conv = nn.Conv2d(n_in, n_out, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out))
