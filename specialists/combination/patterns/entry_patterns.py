"""Which entries share a factor? Membership patterns of the classes in a row's active subsets.

Two classes that lie in the same active subsets have the same factor s, so within such a *pattern*
the solution is ``c`` times one number (METHOD.md (4)). Pattern 0 holds all classes outside of the
active subsets, pattern 1 + t those of slot t alone; what several active subsets share comes after.
Only shared entries are ever listed, since most classes lie in one active subset.

Worked row: both of the subsets {0, 1, 2} and {2, 3} of 5 classes are active. They stand in slots 0
and 1, and the classes of the 6 entries are [0, 1, 2, 2, 3, 2]; the last is a repetition. Class 2 is
shared: ``SharedEntries`` lists the entries 2, 3 and 5 with pattern 3, and entry 2 as the first. The
patterns are {4}, {0, 1}, {3} and {2}; those of the entries are [1, 1, 3, 3, 2, 3].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.patterns.active_rows import ActiveRows
from specialists.combination.subset_tables import Subsets, ragged

_BITS = 28
_MANY_SLOTS = 16


@dataclass(frozen=True)
class SharedEntries:
    """Entries whose class lies in several active subsets of its row, in order of rows.

    ``first`` says that no lower entry of the row holds the same class. All have shape (N,).
    """

    row: Tensor
    entry: Tensor
    pattern: Tensor
    first: Tensor

    def repeated(self, which: Tensor, n_sets: int) -> SharedEntries:
        """The same for rows that each have the entries of row ``which``."""
        counts = self.row.bincount(minlength=n_sets)
        row, at = ragged((counts.cumsum(0) - counts)[which], counts[which])
        return SharedEntries(row, self.entry[at], self.pattern[at], self.first[at])


@dataclass(frozen=True)
class EntryPatterns:
    """Membership patterns of the entries of n rows."""

    counts: Tensor  # float64 (n, P), classes in each pattern; 0 for a pattern not used
    inside: Tensor  # bool (n, K, P), whether the pattern lies in the slot's subset
    shared: SharedEntries | None  # None where no class lies in two active subsets

    def sums(self, active: ActiveRows, joint: Tensor, rest: Tensor) -> Tensor:
        """Mass of each pattern, float64 (n, P), from ``joint`` (n, E) and the ``rest`` (n,)."""
        if self.shared is None:
            return torch.cat([rest[:, None], active.slot_sums(joint).double()], 1)
        at = (self.shared.row, self.shared.entry)
        values = joint[at]
        joint[at] = 0.0
        alone = active.slot_sums(joint).double()
        joint[at] = values
        masses = torch.zeros_like(self.counts)
        masses[:, 0] = rest
        masses[:, 1 : alone.shape[1] + 1] = alone
        at = (self.shared.row, self.shared.pattern)
        return masses.index_put_(at, values.double() * self.shared.first, accumulate=True)

    def add_by_entry(self, active: ActiveRows, per_entry: Tensor, per_pattern: Tensor) -> Tensor:
        """Add (n, P) to (n, E) at the entries of each pattern, in place."""
        shared = self.shared
        values = None
        if shared is not None:
            values = per_entry[shared.row, shared.entry] + per_pattern[shared.row, shared.pattern]
        width = active.slots.shape[1]
        by_slot = per_entry.view(len(per_entry), width, -1)  # (n, K s) -> (n, K, s)
        by_slot.add_(per_pattern[:, 1 : width + 1, None])
        if shared is not None and values is not None:
            per_entry[shared.row, shared.entry] = values
        return per_entry

    def named(self, active: ActiveRows) -> Tensor:
        """Which entries are the first of their class in the row, bool (n, E)."""
        named = torch.ones_like(active.classes, dtype=torch.bool)
        named = named if active.valid is None else active.valid.clone()
        if self.shared is not None:
            named[self.shared.row, self.shared.entry] = self.shared.first
        return named

    def merged(self, active: ActiveRows, per_class: Tensor, per_entry: Tensor) -> Tensor:
        """``per_class`` plus the sum of ``per_entry`` over the entries of a class, (n, E) each."""
        merged = per_class + per_entry
        if self.shared is not None:
            row, entry = self.shared.row, self.shared.entry
            key = row * (int(active.classes.max()) + 1) + active.classes[row, entry]
            _, group = torch.unique(key, return_inverse=True)
            sums = per_entry.new_zeros(len(key)).index_add_(0, group, per_entry[row, entry])
            merged[row, entry] = per_class[row, entry] + sums[group]
        return merged

    def ids(self, active: ActiveRows, rows: Tensor) -> Tensor:
        """Pattern of each entry of some of the rows."""
        alone = torch.arange(1, active.slots.shape[1] + 1, device=rows.device)
        ids = alone.repeat_interleave(active.size).repeat(len(active.slots), 1)
        if self.shared is not None:
            ids[self.shared.row, self.shared.entry] = self.shared.pattern
        return ids[rows]


def find_entry_patterns(active: ActiveRows, subsets: Subsets) -> EntryPatterns:
    """The patterns of each row's entries; rows with the same active set are searched once."""
    if subsets.overlaps is None or active.slots.shape[1] == 1:
        return _separate(active.slots, subsets)
    sets, which = torch.unique(active.slots, dim=0, return_inverse=True)
    if len(sets) == len(which):
        return _of_distinct_sets(active.slots, subsets)
    patterns = _of_distinct_sets(sets, subsets)
    shared = patterns.shared and patterns.shared.repeated(which, len(sets))
    return EntryPatterns(patterns.counts[which], patterns.inside[which], shared)


def _separate(slots: Tensor, subsets: Subsets) -> EntryPatterns:
    """No class lies in two active subsets: one pattern for each slot, and the rest."""
    n, width = slots.shape
    inside = torch.eye(width, width + 1, dtype=torch.bool, device=slots.device).roll(1, 1)
    counts = _counts(subsets.sizes[slots].double(), subsets.n_classes)
    return EntryPatterns(counts, inside.expand(n, width, width + 1), None)


def _counts(beyond_rest: Tensor, n_classes: int) -> Tensor:
    return torch.cat([n_classes - beyond_rest.sum(1, keepdim=True), beyond_rest], 1)


def _of_distinct_sets(slots: Tensor, subsets: Subsets) -> EntryPatterns:
    """Patterns of distinct active sets (n, K)."""
    row, slot, position, held = _shared_entries(slots, subsets)
    if not len(row):
        return _separate(slots, subsets)
    n, width = slots.shape
    rank, n_more = _ranks(held, row, n)
    valid = position < subsets.sizes[slots[row, slot]]
    first = valid & (_lowest(held) == slot)
    counts = torch.zeros(n, width + n_more, dtype=torch.float64, device=row.device)
    counts[:, :width] = subsets.sizes[slots]
    counts.index_put_((row, slot), -valid.double(), accumulate=True)
    counts.index_put_((row, rank + width), first.double(), accumulate=True)
    inside = torch.zeros(n, width + 1 + n_more, width, dtype=torch.bool, device=row.device)
    each = torch.arange(width, device=row.device)
    inside[:, each + 1, each] = True
    inside[row, rank + width + 1] = held.T
    entry = slot * subsets.classes.shape[1] + position
    shared = SharedEntries(row, entry, rank + width + 1, first)
    return EntryPatterns(_counts(counts, subsets.n_classes), inside.mT, shared)


def _shared_entries(slots: Tensor, subsets: Subsets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row, slot and position, (N,) each, of every class in several slots, and its slots (K, N).

    Each entry comes once.
    """
    assert subsets.overlaps is not None
    if slots.shape[1] > _MANY_SLOTS:
        return _shared_by_sorting(slots, subsets)
    row, slot, other, position = subsets.overlaps.shared_positions(slots)
    by_slot = slots.index_select(0, row).T.contiguous()
    classes = subsets.classes[by_slot.gather(0, slot[None]).squeeze(0), position]
    held = subsets.holders(by_slot, classes)
    once = (_lowest(held.scatter(0, slot[None], False)) == other).nonzero().squeeze(1)
    row, slot, position = (x.index_select(0, once) for x in (row, slot, position))
    return row, slot, position, held.index_select(1, once)


def _shared_by_sorting(slots: Tensor, subsets: Subsets) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same by sorting each row's classes, where pairs of slots would be too many."""
    n, width = slots.shape
    s = subsets.classes.shape[1]
    classes, entry = subsets.classes[slots].view(n, -1).sort(dim=1, stable=True)
    starts = torch.ones_like(classes, dtype=torch.bool)
    starts[:, 1:] = classes[:, 1:] != classes[:, :-1]
    group = starts.flatten().cumsum(0) - 1
    held = torch.zeros(width, int(group[-1]) + 1, dtype=torch.bool, device=slots.device)
    held[entry.flatten() // s, group] = True
    shared = (held.sum(0) > 1)[group].nonzero().squeeze(1)
    entry = entry.flatten()[shared]
    return shared // (width * s), entry // s, entry % s, held[:, group[shared]]


def _lowest(held: Tensor) -> Tensor:
    """First row that is true in each column of (K, N)."""
    lowest = torch.zeros(held.shape[1], dtype=torch.int64, device=held.device)
    for t in range(len(held) - 1, -1, -1):
        lowest.masked_fill_(held[t], t)
    return lowest


def _ranks(held: Tensor, row: Tensor, n: int) -> tuple[Tensor, int]:
    """Number the distinct columns of ``held`` (K, N) in each row from 0; their largest number.

    A column is read as a binary number, at most 28 slots at a time.
    """
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
