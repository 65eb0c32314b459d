"""Which classes do two subsets share? For each ordered pair, where they stand in the first.

The lists take as much memory as the subsets times the number of subsets that hold a class, so that
a row's shared places are found without looking at those that are not shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_WORD = 62


@dataclass(frozen=True)
class Overlaps:
    """Shared classes of every ordered pair of subsets.

    Parameters
    ----------
    counts : int64 Tensor of shape (M, M)
        Table positions of subset m whose class subset l holds too; 0 on the diagonal.
    starts : int64 Tensor of shape (M, M)
        Where the pair's positions begin.
    positions : int64 Tensor, one-dimensional
    words : int64 Tensor of shape (n_classes, W)
        Bit m % 62 of word m // 62 says whether subset m holds the class.
    """

    counts: Tensor
    starts: Tensor
    positions: Tensor
    words: Tensor

    @classmethod
    def of(cls, table: Tensor, member: Tensor) -> Overlaps:
        """Of subsets given as classes, shape (M, s), and as a bool matrix, (M, n_classes).

        A class may be repeated within its row of the table.
        """
        n_subsets, s = table.shape
        flat = table.flatten()
        order = flat.argsort(stable=True)
        owner, position = order // s, order % s
        sizes = torch.unique_consecutive(flat[order], return_counts=True)[1]
        group_starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        one, other = ragged(group_starts, sizes.repeat_interleave(sizes))
        different = owner[one] != owner[other]
        pair = owner[one[different]] * n_subsets + owner[other[different]]
        position = position[one[different]]
        by_pair = torch.argsort(pair * s + position)
        distinct = torch.unique_consecutive((pair * s + position)[by_pair])
        counts = (distinct // s).bincount(minlength=n_subsets**2)
        starts = counts.cumsum(0) - counts
        shape = (n_subsets, n_subsets)
        return cls(counts.view(shape), starts.view(shape), distinct % s, _words(member))

    def shared_positions(self, slots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the subsets in the slots of each row, (n, K), share; in order of rows.

        Returns
        -------
        row, pair, position : int64 Tensors of shape (N,)
            The class at ``position`` of slot ``pair // K`` lies in slot ``pair % K`` too. One that
            k slots hold occurs once for each ordered pair of them.
        """
        one, other = slots[:, :, None], slots[:, None, :]
        pair, at = ragged(self.starts[one, other].flatten(), self.counts[one, other].flatten())
        n_pairs = slots.shape[1] ** 2
        return pair // n_pairs, pair % n_pairs, self.positions[at]

    def holders(self, slots: Tensor, classes: Tensor) -> Tensor:
        """Whether the subset in each slot, (N, K), holds the class, (N,); bool (N, K)."""
        words = self.words.index_select(0, classes)
        if words.shape[1] > 1:
            words, slots = words.gather(1, slots // _WORD), slots % _WORD
        return (words >> slots) & 1 == 1


def _words(member: Tensor) -> Tensor:
    parts = []
    for start in range(0, len(member), _WORD):
        bits = member[start : start + _WORD]
        word = torch.zeros(member.shape[1], dtype=torch.int64, device=member.device)
        for m, held in enumerate(bits):
            word |= held.long() << m
        parts.append(word)
    return torch.stack(parts, dim=1)


def ragged(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The ranges ``starts[i] ... starts[i] + counts[i] - 1`` one after another.

    Returns
    -------
    owner, element : int64 Tensors
        i, and the number, of each element.
    """
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    shift = starts - (counts.cumsum(0) - counts)
    return owner, torch.arange(len(owner), device=counts.device) + shift[owner]
