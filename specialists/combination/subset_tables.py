"""Which subsets hold a class, where does it stand in them, and which classes do two of them share?

The tables take as much memory as all subsets together and one row for each class, so they serve a
million classes. Rows find shared classes in them without a look at the classes that are not shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from specialists.errors import InputError
from specialists.probability import check_subset


@dataclass(frozen=True)
class Overlaps:
    """Shared classes of every ordered pair of subsets that share any, as int64 tensors."""

    pairs: Tensor  # (Z,), m * M + l for each pair of subsets (m, l), increasing
    starts: Tensor  # (Z + 1,), where the pair's positions begin
    positions: Tensor  # in subset m of classes that subset l holds too
    n_subsets: int

    def shared_positions(self, slots: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Row, slot, other slot and position, (N,) each, of what the slots (n, K) of a row share.

        The class at that position of the slot lies in the other slot too. A class that k slots hold
        occurs once for each ordered pair of them. Rows come in order.
        """
        width = slots.shape[1]
        wanted = (slots[:, :, None] * self.n_subsets + slots[:, None, :]).flatten()  # (n K K,)
        at = torch.searchsorted(self.pairs, wanted).clamp_(max=len(self.pairs) - 1)
        known = (self.pairs[at] == wanted).nonzero().squeeze(1)
        at = at[known]
        pair, element = ragged(self.starts[at], self.starts[at + 1] - self.starts[at])
        pair = known.index_select(0, pair)
        row, both = pair // width**2, pair % width**2
        return row, both // width, both % width, self.positions.index_select(0, element)


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

    Examples
    --------
    Class 2 is the last of subset 0 and the first of subset 1:

    >>> subsets = Subsets.from_indices([torch.tensor([0, 1, 2]), torch.tensor([2, 3])], 5)
    >>> subsets.classes.tolist(), subsets.valid.tolist()
    ([[0, 1, 2], [2, 3, 2]], [[True, True, True], [True, True, False]])
    >>> subsets.owners[2].tolist(), subsets.positions[2].tolist()
    ([0, 1], [2, 0])
    """

    classes: Tensor
    sizes: Tensor
    valid: Tensor | None
    owners: Tensor
    positions: Tensor
    overlaps: Overlaps | None

    @classmethod
    @torch.inference_mode(False)  # tables made once serve gradients too
    def from_indices(
        cls, subsets: Sequence[Tensor], n_classes: int, device: torch.device | str = "cpu"
    ) -> Subsets:
        """Tables of subsets given as distinct class indices, each of shape (k_m,), not empty.

        Raises
        ------
        InputError
            A subset is empty, or its indices are not distinct integers in 0 ... n_classes - 1.
        """
        checked = [torch.as_tensor(subset, device=device) for subset in subsets]
        if not _are_distinct(checked, n_classes):
            for m, indices in enumerate(checked):
                if indices.numel() == 0:
                    raise InputError(f"subsets[{m}] is empty", expected="at least one class")
                check_subset(indices, n_classes, where=f"subsets[{m}]")
        sizes = torch.tensor([len(x) for x in checked], dtype=torch.int64, device=device)
        s = max((len(x) for x in checked), default=0)
        flat = torch.cat([sizes.new_empty(0), *(indices.long() for indices in checked)])
        owner, position = ragged(torch.zeros_like(sizes), sizes)
        table = flat[sizes.cumsum(0) - sizes][:, None].repeat(1, s)
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

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, m: int) -> Tensor:
        return self.indices[m]

    @property
    def n_classes(self) -> int:
        return len(self.owners)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Columns of each specialist's matrix: its subset's classes, then the dustbin."""
        return tuple(size + 1 for size in self.sizes.tolist())

    @cached_property
    def n_entries(self) -> int:
        """Classes of all subsets, one that several hold counted by each."""
        return sum(self.widths) - len(self)

    @cached_property
    def indices(self) -> tuple[Tensor, ...]:
        """The classes of each subset, without repetitions; M Tensors of shape (k_m,)."""
        return tuple(self.classes[m, :size] for m, size in enumerate(self.sizes.tolist()))

    @cached_property
    def member(self) -> Tensor:
        """Whether each subset holds each class, bool (M, n_classes)."""
        with torch.inference_mode(False):
            member = torch.zeros(len(self), self.n_classes, dtype=torch.bool)
            return member.to(self.sizes.device).scatter_(1, self.classes, True)

    @cached_property
    def relations(self) -> Tensor:
        """Two subsets share no class (0), are nested (1) or cross (2); int8 (M, M), diagonal 0."""
        with torch.inference_mode(False):
            relations = torch.zeros(len(self), len(self), dtype=torch.int8)
            if self.overlaps is None:
                return relations.to(self.sizes.device)
            pairs, counts = self.overlaps.pairs, self.overlaps.starts.diff()
            m, other = pairs // len(self), pairs % len(self)
            once = self.overlaps.positions < self.sizes[m].repeat_interleave(counts)
            ends = torch.cat([once.new_zeros(1, dtype=torch.int64), once.cumsum(0)])
            common = ends[self.overlaps.starts].diff()
            nested = common == torch.minimum(self.sizes[m], self.sizes[other])
            kind = torch.where(nested, 1, 2).to(torch.int8)
            return relations.to(pairs.device).index_put_((m, other), kind)

    def holders(self, slots: Tensor, classes: Tensor) -> Tensor:
        """Whether the subset in each slot, (K, N), holds the class, (N,); bool (K, N)."""
        held = torch.zeros_like(slots, dtype=torch.bool)
        for owner in self.owners.T:
            held |= owner.index_select(0, classes) == slots
        return held


def as_subsets(
    subsets: Subsets | Sequence[Tensor], n_classes: int, device: torch.device
) -> Subsets:
    """The tables of ``subsets``, which are made and checked here unless they were before.

    Raises :class:`InputError` as :meth:`Subsets.from_indices` does, and for tables of other classes
    or on another device.
    """
    if not isinstance(subsets, Subsets):
        return Subsets.from_indices(subsets, n_classes, device)
    if subsets.n_classes != n_classes or subsets.sizes.device != device:
        raise InputError(
            "the subsets were made for other classes or another device",
            got=f"{subsets.n_classes} classes on {subsets.sizes.device}",
            expected=f"{n_classes} classes on {device}",
            fix=f"Subsets.from_indices(subsets, {n_classes}, device={str(device)!r})",
        )
    return subsets


def _are_distinct(subsets: Sequence[Tensor], n_classes: int) -> bool:
    """Whether every subset is one of distinct class indices: all are looked at together."""
    if not all(x.dim() == 1 and len(x) and x.dtype == torch.int64 for x in subsets):
        return False  # or of another dtype, which is looked at for itself
    if not subsets:
        return True
    flat = torch.cat(list(subsets))
    owner = torch.tensor([len(x) for x in subsets], device=flat.device)
    owner = torch.arange(len(owner), device=flat.device).repeat_interleave(owner)
    keys = (flat + owner * n_classes).sort().values
    low, high = flat.aminmax()
    return int(low) >= 0 and int(high) < n_classes and not bool((keys.diff() == 0).any())


def ragged(starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The ranges ``starts[i] ... starts[i] + counts[i] - 1`` one after another: i, and elements."""
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
    """Sort the entries (m, position) whose class another subset l holds too by (m, l, position).

    For the subsets {0, 1, 2} and {2, 3} of M = 2 and s = 3, class 2 stands in entry 2 (subset 0,
    position 2), entry 3 (subset 1, position 0) and, repeated, entry 5. The keys
    ``(m M + l) s + position`` are 1 * 3 + 2, 2 * 3 + 0 and 2 * 3 + 2, so that pairs = [1, 2],
    starts = [0, 1, 3] and positions = [2, 0, 2].
    """
    n_subsets, s = table.shape
    entry = torch.arange(n_subsets * s, device=table.device)[:, None]
    other = owners[table.flatten()]  # (M s, r)
    shares = (other >= 0) & (other != entry // s)
    keys = (entry // s * n_subsets + other) * s + entry % s
    keys = keys[shares].sort().values
    pairs, counts = torch.unique_consecutive(keys // s, return_counts=True)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Overlaps(pairs, starts, keys % s, n_subsets)
