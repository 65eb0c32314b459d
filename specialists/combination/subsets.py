"""Where does a class stand in which subsets, and which classes do two subsets share?

Tables whose size is that of the subsets together (and one row a class), so that they serve a
million classes, and rows find their shared classes without looking at those that are not shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.errors import InputError
from specialists.probability import check_subset


@dataclass(frozen=True)
class Overlaps:
    """Shared classes of every ordered pair of subsets that share any.

    Parameters
    ----------
    pairs : int64 Tensor of shape (Z,)
        ``m * M + l`` for each pair of subsets (m, l), increasing.
    starts : int64 Tensor of shape (Z + 1,)
        Where the pair's positions begin.
    positions : int64 Tensor, one-dimensional
        Positions in subset m of classes that subset l holds too.
    n_subsets : int
    """

    pairs: Tensor
    starts: Tensor
    positions: Tensor
    n_subsets: int

    def shared_positions(self, slots: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the subsets in the slots of each row, (n, K), share; in order of rows.

        Returns
        -------
        row, own, other, position : int64 Tensors of shape (N,)
            The class at ``position`` of slot ``own`` lies in slot ``other`` too. One that k slots
            hold occurs once for each ordered pair of them.
        """
        width = slots.shape[1]
        wanted = (slots[:, :, None] * self.n_subsets + slots[:, None, :]).flatten()
        at = torch.searchsorted(self.pairs, wanted).clamp_(max=len(self.pairs) - 1)
        found = (self.pairs[at] == wanted).nonzero().squeeze(1)
        at = at[found]
        pair, element = ragged(self.starts[at], self.starts[at + 1] - self.starts[at])
        pair = found.index_select(0, pair)
        row, slot = pair // width**2, pair % width**2
        return row, slot // width, slot % width, self.positions.index_select(0, element)


@dataclass(frozen=True)
class Subsets:
    """Subsets of classes as tables; made once for any number of batches.

    Parameters
    ----------
    classes : int64 Tensor of shape (M, s)
        Smaller subsets repeat their first class.
    sizes : int64 Tensor of shape (M,)
    valid : bool Tensor of shape (M, s), or None
        False at repetitions; None where all subsets are equally large.
    owners, positions : int64 Tensors of shape (n_classes, r)
        Subsets that hold a class, -1 where there are fewer than r, and where it stands in them.
    overlaps : Overlaps, or None
        None if no two subsets share a class.
    """

    classes: Tensor
    sizes: Tensor
    valid: Tensor | None
    owners: Tensor
    positions: Tensor
    overlaps: Overlaps | None

    @classmethod
    def of(
        cls, subsets: Sequence[Tensor], n_classes: int, device: torch.device | str = "cpu"
    ) -> Subsets:
        """Tables of subsets given as distinct class indices, each of shape (k_m,), not empty.

        Raises
        ------
        InputError
            A subset is empty, or its indices are not distinct integers in 0 ... n_classes - 1.
        """
        checked = [as_subset(x, n_classes, f"subsets[{m}]", device) for m, x in enumerate(subsets)]
        if not checked:
            raise InputError("there are no subsets", expected="at least one")
        sizes = torch.tensor([len(subset) for subset in checked], device=device)
        s = int(sizes.max())
        flat = torch.cat(checked)
        owner, position = ragged(torch.zeros_like(sizes), sizes)
        table = torch.stack([subset[0] for subset in checked])[:, None].repeat(1, s)
        table[owner, position] = flat
        order = flat.argsort(stable=True)
        owners, positions = _by_class(flat[order], owner[order], position[order], n_classes)
        valid = torch.arange(s, device=device) < sizes[:, None]
        shared = owners.shape[1] > 1
        return cls(
            table,
            sizes,
            None if bool(valid.all()) else valid,
            owners,
            positions,
            _overlaps(table, owners) if shared else None,
        )

    @property
    def n_classes(self) -> int:
        return len(self.owners)

    def holders(self, slots: Tensor, classes: Tensor) -> Tensor:
        """Whether the subset in each slot, (K, N), holds the class, (N,); bool (K, N)."""
        held = torch.zeros_like(slots, dtype=torch.bool)
        for owner in self.owners.T:
            held |= owner.index_select(0, classes) == slots
        return held


def as_subset(
    subset: Tensor, n_classes: int, name: str, device: torch.device | str | None = None
) -> Tensor:
    """Class indices as an int64 tensor, checked.

    Raises
    ------
    InputError
        Empty, or not distinct integers in 0 ... n_classes - 1.
    """
    indices = torch.as_tensor(subset, device=device)
    if indices.numel() == 0:
        raise InputError(f"{name} is empty", expected="at least one class")
    check_subset(indices, n_classes, where=name)
    return indices.long()


def ragged(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The ranges ``starts[i] ... starts[i] + counts[i] - 1`` one after another.

    Returns
    -------
    owner, element : int64 Tensors
        i, and the number, of each element.
    """
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    shift = starts - (counts.cumsum(0) - counts)
    return owner, torch.arange(len(owner), device=counts.device) + shift.index_select(0, owner)


def _by_class(
    flat: Tensor, owner: Tensor, position: Tensor, n_classes: int
) -> tuple[Tensor, Tensor]:
    """Owners and positions of each class, of memberships sorted by class."""
    counts = flat.bincount(minlength=n_classes)
    rank = torch.arange(len(flat), device=flat.device) - (counts.cumsum(0) - counts)[flat]
    shape = (n_classes, int(counts.max()))
    owners, positions = (flat.new_full(shape, fill) for fill in (-1, 0))
    owners[flat, rank], positions[flat, rank] = owner, position
    return owners, positions


def _overlaps(table: Tensor, owners: Tensor) -> Overlaps:
    n_subsets, s = table.shape
    place = torch.arange(n_subsets * s, device=table.device)[:, None]
    other = owners[table.flatten()]
    shares = (other >= 0) & (other != place // s)
    keys = (place // s * n_subsets + other) * s + place % s
    keys = keys[shares].sort().values
    pairs, counts = torch.unique_consecutive(keys // s, return_counts=True)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Overlaps(pairs, starts, keys % s, n_subsets)
