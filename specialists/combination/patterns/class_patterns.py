"""Which classes share a factor? Membership patterns of all classes, for gradients and KL(q || p).

Within a pattern the solution is proportional to the inputs (METHOD.md (4), (14)), so a problem over
n_classes classes shrinks to one over its patterns. Rows with the same active set share one table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_DIRECT_BITS = 5
_WORD_BITS = 62


@dataclass(frozen=True)
class ClassPatterns:
    """Membership patterns of the U distinct active sets of a batch of n rows."""

    which: Tensor  # int64 (n,), the active set of each row
    slots: Tensor  # int64 (U, K), specialists of each active set, padded with any
    used: Tensor  # bool (U, K), false at padding
    ids: Tensor  # int64 (U, n_classes), the pattern of each class
    counts: Tensor  # float64 (U, P), classes in each pattern (0 for a pattern not used)
    outside: Tensor  # float64 (U, K, P), 1 where a used pattern lies outside that subset

    def by_slot(self, per_specialist: Tensor) -> Tensor:
        """Rearrange (n, M) into the slots of each row, (n, K); zero at padding."""
        slots, used = self.slots[self.which], self.used[self.which]
        return per_specialist.gather(1, slots) * used

    def from_slots(self, per_slot: Tensor, n_specialists: int) -> Tensor:
        """Rearrange (n, K) into (n, M); zero for specialists that are not active."""
        slots, used = self.slots[self.which], self.used[self.which]
        zero = per_slot.new_zeros(len(per_slot), n_specialists)
        return zero.scatter_add_(1, slots, per_slot * used)

    def at_classes(self, per_pattern: Tensor) -> Tensor:
        """Repeat (n, P) for each class of a pattern, (n, n_classes)."""
        return per_pattern.gather(1, self.ids[self.which])

    def sums(self, values: Tensor) -> Tensor:
        """Sum (n, n_classes) over each pattern in float64, shape (n, P)."""
        zero = values.new_zeros(values.shape[0], self.counts.shape[1], dtype=torch.float64)
        return zero.scatter_add_(1, self.ids[self.which], values.double())


def find_class_patterns(active: Tensor, member: Tensor) -> ClassPatterns:
    """Patterns of classes, of which (M, n_classes) are members, in rows of ``active`` (n, M)."""
    sets, which = _distinct_sets(active)
    width = max(1, int(sets.sum(1).max()) if sets.numel() else 0)
    slots = sets.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    used = sets.gather(1, slots)
    inside = member[slots] & used[:, :, None]
    ids = _codes(inside)
    n_patterns = 2**width if width <= _DIRECT_BITS else int(ids.max()) + 1
    counts = torch.zeros(len(sets), n_patterns, dtype=torch.float64, device=active.device)
    counts.scatter_add_(1, ids, torch.ones_like(ids, dtype=torch.float64))
    outside = torch.zeros(len(sets), width, n_patterns, dtype=torch.float64, device=active.device)
    outside.scatter_(2, ids[:, None, :].expand(-1, width, -1), (~inside).double())
    outside *= used[:, :, None]
    return ClassPatterns(which, slots, used, ids, counts, outside)


def _distinct_sets(active: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of (n, M), and which of them each row is; by bits in one number if they fit."""
    if active.shape[1] > _WORD_BITS:
        sets, which = torch.unique(active, dim=0, return_inverse=True)
        return sets, which
    bits = torch.arange(active.shape[1], device=active.device)
    codes, which = torch.unique((active.long() << bits).sum(1), return_inverse=True)
    return (codes[:, None] >> bits) & 1 == 1, which


def _codes(inside: Tensor) -> Tensor:
    """Number the distinct columns of each (K, n_classes) slice of ``inside`` (U, K, n_classes).

    A class in slots 0 and 2 of three has the binary number 101, which is pattern 5; with many slots
    the numbers that occur are counted from 0.
    """
    n_sets, width, n_classes = inside.shape
    ids = torch.zeros(n_sets, n_classes, dtype=torch.int64, device=inside.device)
    for start in range(0, width, 30):
        bits = inside[:, start : start + 30].long()
        powers = 2 ** torch.arange(bits.shape[1], device=inside.device)
        ids = ids * 2**30 + (bits * powers[None, :, None]).sum(1)
        ids = ids if width <= _DIRECT_BITS else _dense_rank(ids)
    return ids


def _dense_rank(codes: Tensor) -> Tensor:
    """Replace the codes of each row by 0, 1, 2 ... in increasing order of code."""
    ordered, order = codes.sort(dim=1)
    steps = torch.zeros_like(codes)
    steps[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).long()
    return torch.empty_like(codes).scatter_(1, order, steps.cumsum(1))
