"""What do the active specialists of each row say? Rows with equally many of them at a time.

The K active specialists of a row stand in K slots. Each slot has s columns, one for each class of
its subset (s is the size of the largest subset; smaller ones repeat their first class), so a row
has E = K s *entries*. All that the combination does with classes of active subsets is done with
entries, so its cost does not depend on the number of classes. No loop runs over rows or classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.problem import CombinationProblem, RowTensors, check_sums

Rows = Tensor | slice


@dataclass(frozen=True)
class ActiveRows(RowTensors):
    """The active specialists' log-probabilities: n rows of K specialists and E = K s entries."""

    slots: Tensor  # int64 (n, K), increasing specialists
    classes: Tensor  # int64 (n, E)
    log_p: Tensor  # (n, E), the specialists' log-probabilities of these classes
    valid: Tensor | None  # bool (n, E), false at repetitions; None if there are none
    b: Tensor  # float64 (n, K), weighted dustbins v_m d_m
    v: Tensor  # float64 (n, K), weights

    @property
    def size(self) -> int:
        """Entries of one slot, s."""
        return self.classes.shape[1] // self.slots.shape[1]

    def by_entry(self, per_slot: Tensor) -> Tensor:
        """Repeat (n, K) for each entry of a slot, (n, E)."""
        return per_slot[:, :, None].expand(-1, -1, self.size).flatten(1)  # (n, K, s) -> (n, K s)

    def slot_sums(self, per_entry: Tensor) -> Tensor:
        """Sum (n, E) over the entries of each slot that are no repetitions, (n, K)."""
        counted = per_entry if self.valid is None else per_entry * self.valid
        return counted.view(len(self.slots), -1, self.size).sum(2)  # (n, K s) -> (n, K, s)


def gather_active_rows(problem: CombinationProblem, rows: Rows, b: Tensor) -> ActiveRows:
    """The active specialists of ``rows``, each of which has equally many, at least one.

    Two rows whose active specialists are {0, 1} and {0, 2} have slots [[0, 1], [0, 2]]. Sorted by
    specialist, their flat slots 0, 2, 1, 3 are those of specialist 0 (slots 0 and 2, which are
    rows 0 and 1, a slot divided by K), of specialist 1 (slot 1, row 0) and 2 (slot 3, row 1). ``b``
    are the weighted dustbins of all rows of the problem, float64 (n_rows, M).
    """
    active, subsets = problem.active[rows], problem.subsets
    n = len(active)
    slots = active.nonzero()[:, 1].view(n, -1)  # (n, K)
    width, s = slots.shape[1], subsets.classes.shape[1]
    everyone = width == len(subsets)
    classes = subsets.classes.view(1, -1).expand(n, -1) if everyone else None
    valid = subsets.valid
    if valid is not None:
        valid = valid.view(1, -1).expand(n, -1) if everyone else valid[slots].view(n, -1)
    log_p = problem.generalist.new_empty(n * width, s)
    numbers = torch.arange(problem.n_rows, device=slots.device)[rows]
    order = slots.flatten().argsort(stable=True)
    ends = slots.flatten().bincount(minlength=len(subsets)).tolist()
    for m, flat_slots in enumerate(order.split(ends)):
        given = problem.specialists[m]
        if everyone:
            log_p.view(n, width, s)[:, m] = _padded(given[rows], s)  # (n K, s) -> (n, K, s)
        elif len(flat_slots):
            part = given.index_select(0, numbers.index_select(0, flat_slots // width))
            log_p.index_copy_(0, flat_slots, _padded(part, s))
    return ActiveRows(
        slots,
        subsets.classes[slots].view(n, -1) if classes is None else classes,
        log_p.view(n, -1),  # (n K, s) -> (n, K s)
        valid,
        b[rows].gather(1, slots),
        problem.weights[slots],
    )


def weighted_probs(problem: CombinationProblem, active: ActiveRows, rows: Rows) -> Tensor:
    """``v p`` at every entry, zero at repetitions; checks that specialists' rows sum to 1."""
    p = active.log_p.exp()
    totals = active.slot_sums(p) + active.b / active.v
    wrong = ~((totals - 1).abs() <= problem.sum_tolerance)
    if bool(wrong.any()):
        row, slot = wrong.nonzero()[0].tolist()
        where = f"specialists[{int(active.slots[row, slot])}]"
        check_sums(totals[row, slot : slot + 1], problem.rows[rows][row : row + 1], problem, where)
    if active.valid is not None:
        p.mul_(active.valid)
    p.view(len(p), -1, active.size).mul_(active.v.to(p.dtype)[:, :, None])
    return p


def _padded(log_p: Tensor, s: int) -> Tensor:
    """Without the dustbin, the first class repeated up to s columns."""
    part = log_p[:, :-1]
    if part.shape[1] == s:
        return part
    return torch.cat([part, part[:, :1].expand(-1, s - part.shape[1])], 1)
