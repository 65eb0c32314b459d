"""Which places share their fate? Membership patterns of the classes that somebody votes on.

Two classes that lie in the same active subsets have the same factor s, so inside such a *pattern*
the solution is ``c`` times one number. Pattern 0 is all classes outside of the active subsets,
pattern 1 + t those of slot t alone, and what several active subsets share comes after. Only shared
places are ever listed: most classes lie in one active subset.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.subsets import Subsets, ragged
from specialists.combination.votes import Votes

_BITS = 28
_MANY_SLOTS = 16


@dataclass(frozen=True)
class SharedPlaces:
    """Places whose class lies in several active subsets of its row, in order of rows.

    Parameters
    ----------
    row, place : int64 Tensors of shape (N,)
    pattern : int64 Tensor of shape (N,)
    first : bool Tensor of shape (N,)
        Whether no lower place of the row holds the same class.
    """

    row: Tensor
    place: Tensor
    pattern: Tensor
    first: Tensor

    def repeated(self, which: Tensor, n_sets: int) -> SharedPlaces:
        """The same for rows that each have the places of row ``which``."""
        counts = self.row.bincount(minlength=n_sets)
        row, at = ragged((counts.cumsum(0) - counts)[which], counts[which])
        return SharedPlaces(row, self.place[at], self.pattern[at], self.first[at])


@dataclass(frozen=True)
class PlacePatterns:
    """Membership patterns of the places of n rows.

    Parameters
    ----------
    counts : float64 Tensor of shape (n, P)
        Classes in each pattern; 0 for a pattern not used.
    inside : bool Tensor of shape (n, K, P)
        Whether the pattern's classes lie in the slot's subset.
    shared : SharedPlaces, or None
        None where no class lies in two active subsets.
    """

    counts: Tensor
    inside: Tensor
    shared: SharedPlaces | None

    def sums(self, votes: Votes, joint: Tensor, rest: Tensor) -> Tensor:
        """Mass of each pattern in float64, (n, P), of masses at the places and outside of them.

        Parameters
        ----------
        joint : Tensor of shape (n, E)
        rest : float64 Tensor of shape (n,)
        """
        if self.shared is None:
            return torch.cat([rest[:, None], votes.slot_sums(joint).double()], 1)
        at = (self.shared.row, self.shared.place)
        values = joint[at]
        joint[at] = 0.0
        alone = votes.slot_sums(joint).double()
        joint[at] = values
        masses = torch.zeros_like(self.counts)
        masses[:, 0] = rest
        masses[:, 1 : alone.shape[1] + 1] = alone
        at = (self.shared.row, self.shared.pattern)
        return masses.index_put_(at, values.double() * self.shared.first, accumulate=True)

    def add_by_place(self, votes: Votes, per_place: Tensor, per_pattern: Tensor) -> Tensor:
        """Add (n, P) to (n, E) at the places of each pattern, in place."""
        shared = self.shared
        values = None
        if shared is not None:
            values = per_place[shared.row, shared.place] + per_pattern[shared.row, shared.pattern]
        width = votes.slots.shape[1]
        by_slot = per_place.view(len(per_place), width, -1)
        by_slot.add_(per_pattern[:, 1 : width + 1, None])
        if shared is not None and values is not None:
            per_place[shared.row, shared.place] = values
        return per_place

    def named(self, votes: Votes) -> Tensor:
        """Which places are the first of their class in the row, bool (n, E)."""
        named = torch.ones_like(votes.classes, dtype=torch.bool)
        named = named if votes.valid is None else votes.valid.clone()
        if self.shared is not None:
            named[self.shared.row, self.shared.place] = self.shared.first
        return named

    def merged(self, votes: Votes, per_class: Tensor, per_place: Tensor) -> Tensor:
        """``per_class`` plus the sum of ``per_place`` over the places of a class, (n, E) each."""
        merged = per_class + per_place
        if self.shared is not None:
            row, place = self.shared.row, self.shared.place
            key = row * (int(votes.classes.max()) + 1) + votes.classes[row, place]
            _, group = torch.unique(key, return_inverse=True)
            sums = per_place.new_zeros(len(key)).index_add_(0, group, per_place[row, place])
            merged[row, place] = per_class[row, place] + sums[group]
        return merged

    def ids(self, votes: Votes, rows: Tensor) -> Tensor:
        """Pattern of each place of some of the rows."""
        own = torch.arange(1, votes.slots.shape[1] + 1, device=rows.device)
        ids = own.repeat_interleave(votes.size).repeat(len(votes.slots), 1)
        if self.shared is not None:
            ids[self.shared.row, self.shared.place] = self.shared.pattern
        return ids[rows]


def find_patterns(votes: Votes, subsets: Subsets, n_classes: int) -> PlacePatterns:
    """The patterns of each row's places; rows with the same active set are looked at once."""
    if subsets.overlaps is None or votes.slots.shape[1] == 1:
        return _separate(votes.slots, subsets, n_classes)
    sets, which = torch.unique(votes.slots, dim=0, return_inverse=True)
    if len(sets) == len(which):
        return _found(votes.slots, subsets, n_classes)
    found = _found(sets, subsets, n_classes)
    shared = None if found.shared is None else found.shared.repeated(which, len(sets))
    return PlacePatterns(found.counts[which], found.inside[which], shared)


def _separate(slots: Tensor, subsets: Subsets, n_classes: int) -> PlacePatterns:
    """No class in two active subsets: a pattern a slot, and the rest."""
    n, width = slots.shape
    inside = torch.eye(width, width + 1, dtype=torch.bool, device=slots.device).roll(1, 1)
    counts = _counts(subsets.sizes[slots].double(), n_classes)
    return PlacePatterns(counts, inside.expand(n, width, width + 1), None)


def _counts(beyond_rest: Tensor, n_classes: int) -> Tensor:
    return torch.cat([n_classes - beyond_rest.sum(1, keepdim=True), beyond_rest], 1)


def _found(slots: Tensor, subsets: Subsets, n_classes: int) -> PlacePatterns:
    """Patterns of distinct active sets (n, K)."""
    row, own, position, held = _shared_places(slots, subsets)
    if not len(row):
        return _separate(slots, subsets, n_classes)
    n, width = slots.shape
    rank, n_more = _ranks(held, row, n)
    valid = position < subsets.sizes[slots[row, own]]
    first = valid & (_lowest(held) == own)
    counts = torch.zeros(n, width + n_more, dtype=torch.float64, device=row.device)
    counts[:, :width] = subsets.sizes[slots]
    counts.index_put_((row, own), -valid.double(), accumulate=True)
    counts.index_put_((row, rank + width), first.double(), accumulate=True)
    inside = torch.zeros(n, width + 1 + n_more, width, dtype=torch.bool, device=row.device)
    each = torch.arange(width, device=row.device)
    inside[:, each + 1, each] = True
    inside[row, rank + width + 1] = held.T
    place = own * subsets.classes.shape[1] + position
    shared = SharedPlaces(row, place, rank + width + 1, first)
    return PlacePatterns(_counts(counts, n_classes), inside.mT, shared)


def _shared_places(slots: Tensor, subsets: Subsets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row, slot and position of every class in several slots, each place once, and all its slots.

    Returns
    -------
    row, own, position : int64 Tensors of shape (N,)
    held : bool Tensor of shape (K, N)
    """
    assert subsets.overlaps is not None
    if slots.shape[1] > _MANY_SLOTS:
        return _shared_by_sorting(slots, subsets)
    row, own, other, position = subsets.overlaps.shared_positions(slots)
    by_slot = slots.index_select(0, row).T.contiguous()
    classes = subsets.classes[by_slot.gather(0, own[None]).squeeze(0), position]
    held = subsets.holders(by_slot, classes)
    once = (_lowest(held.scatter(0, own[None], False)) == other).nonzero().squeeze(1)
    row, own, position = (x.index_select(0, once) for x in (row, own, position))
    return row, own, position, held.index_select(1, once)


def _shared_by_sorting(slots: Tensor, subsets: Subsets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same where pairs of slots would be too many: equal classes of a row stand together."""
    n, width = slots.shape
    s = subsets.classes.shape[1]
    classes, place = subsets.classes[slots].view(n, -1).sort(dim=1, stable=True)
    starts = torch.ones_like(classes, dtype=torch.bool)
    starts[:, 1:] = classes[:, 1:] != classes[:, :-1]
    group = starts.flatten().cumsum(0) - 1
    held = torch.zeros(width, int(group[-1]) + 1, dtype=torch.bool, device=slots.device)
    held[place.flatten() // s, group] = True
    shared = (held.sum(0) > 1)[group].nonzero().squeeze(1)
    place = place.flatten()[shared]
    return shared // (width * s), place // s, place % s, held[:, group[shared]]


def _lowest(held: Tensor) -> Tensor:
    """First row that is true in each column of (K, N)."""
    lowest = torch.zeros(held.shape[1], dtype=torch.int64, device=held.device)
    for t in range(len(held) - 1, -1, -1):
        lowest.masked_fill_(held[t], t)
    return lowest


def _ranks(held: Tensor, row: Tensor, n: int) -> tuple[Tensor, int]:
    """Number the distinct columns of ``held`` (K, N) in each row from 0; their largest number."""
    group = row
    for start in range(0, len(held), _BITS):
        for t, bit in enumerate(held[start : start + _BITS]):
            group = (group << _BITS if t == 0 else group) + (bit.long() << t)
        group = torch.unique(group, return_inverse=True)[1]
    n_groups = int(group.max()) + 1
    row_of_group = torch.zeros(n_groups, dtype=torch.int64, device=row.device)
    row_of_group[group] = row
    sizes = row_of_group.bincount(minlength=n)
    return group - (sizes.cumsum(0) - sizes)[row], int(sizes.max())
