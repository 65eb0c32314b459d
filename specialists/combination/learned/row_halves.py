"""Which rows fit a combination's numbers, and which are predicted by them?"""

from __future__ import annotations

import torch
from torch import Tensor


def row_halves(n_rows: int, seed: int, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Two random halves of the rows in increasing order, int64.

    Rows that are one observation share a number in ``groups``, int64 (n_rows,), and stay together:
    then the halves are of the groups.
    """
    generator = torch.Generator().manual_seed(seed)
    if groups is None:
        order = torch.randperm(n_rows, generator=generator)
        return order[::2].sort().values, order[1::2].sort().values
    _, group = groups.unique(return_inverse=True)
    first = torch.zeros(int(group.max()) + 1 if n_rows else 0, dtype=torch.bool)
    first[torch.randperm(len(first), generator=generator)[::2]] = True
    in_first = first[group.cpu()]
    return in_first.nonzero().squeeze(1), (~in_first).nonzero().squeeze(1)
