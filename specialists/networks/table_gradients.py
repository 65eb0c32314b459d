"""The gradient of an embedding table: how do the parts of rows that are read many times add up?

A batch of strings reads some rows of an n-gram table hundreds of times. Sorted by row, what belongs
to one row lies side by side, and its sum is that of one bag. So no vector is written down for each
n-gram, only one for each distinct row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

HALF_KEY = 32  # bits: a key of 64 holds the row above and the source below


class BagMeans(torch.autograd.Function):
    """``apply(table, rows, offsets)``: means of bags of table rows, with a sparse gradient.

    Bag i reads ``rows[offsets[i]:offsets[i + 1]]``; an empty one gives zeros. The gradient of the
    table (n_rows, d) has each row that was read once, in increasing order.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(rows, offsets)
        ctx.shape = table.shape
        # For a table that needs a gradient, torch would prepare a backward pass of its own.
        return F.embedding_bag(rows, table.detach(), offsets, mode="mean", include_last_offset=True)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None, None]:
        rows, offsets = ctx.saved_tensors
        lengths = offsets.diff()
        numbers = torch.arange(len(lengths), device=rows.device)
        bags = torch.repeat_interleave(numbers, lengths, output_size=len(rows))
        of_each = gradient / lengths.unsqueeze(1)  # of an empty bag infinite, and never read
        distinct, sums = sum_by_row(rows, bags, of_each)
        of_table = torch.sparse_coo_tensor(
            distinct.unsqueeze(0), sums, ctx.shape, check_invariants=False, is_coalesced=True
        )
        return of_table, None, None


def sum_by_row(
    rows: Tensor, sources: Tensor, vectors: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The distinct rows in increasing order, and for each the sum of the vectors it is given.

    Parameters
    ----------
    rows, sources : integer Tensors of shape (n,)
        Entry i gives ``vectors[sources[i]]`` to row ``rows[i]``; both are below 2^31.
    vectors : Tensor of shape (m, d)
    weights : Tensor of shape (n,), optional
        By which the vector of each entry is multiplied.

    Returns
    -------
    int64 Tensor of shape (n_distinct,) and Tensor of shape (n_distinct, d)

    Examples
    --------
    >>> rows, sources = torch.tensor([7, 2, 7]), torch.tensor([0, 0, 1])
    >>> sum_by_row(rows, sources, torch.tensor([[1.0, 2.0], [10.0, 20.0]]))
    (tensor([2, 7]), tensor([[ 1.,  2.],
            [11., 22.]]))
    """
    lower = sources if weights is None else torch.arange(len(rows), device=rows.device)
    keys = _sorted(rows.long() << HALF_KEY | lower)
    distinct, counts = torch.unique_consecutive(keys >> HALF_KEY, return_counts=True)
    offsets = F.pad(counts.cumsum(0), (1, 0))
    lower = keys & (1 << HALF_KEY) - 1
    if weights is not None:
        weights, lower = weights[lower], sources[lower]
    return distinct, F.embedding_bag(
        lower, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def _sorted(keys: Tensor) -> Tensor:
    """On a CPU by NumPy, whose vectorised sort takes a tenth of torch's time."""
    if keys.device.type != "cpu":
        return keys.sort().values
    keys.numpy().sort()
    return keys
