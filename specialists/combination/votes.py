"""What do the active specialists of each row say? Rows with equally many of them, side by side.

A row's K active specialists stand in K slots, and the s classes of each (s is the size of the
largest subset; smaller ones repeat their first class) make its K s *places*. Everything that the
combination does with classes that somebody votes on is done with places, so that its cost does not
depend on the number of classes. There is no loop over rows and none over classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.problem import Problem, check_sums
from specialists.combination.subsets import Subsets


@dataclass(frozen=True)
class Votes:
    """The votes of n rows with K active specialists each, E = K s places a row.

    Parameters
    ----------
    slots : int64 Tensor of shape (n, K), increasing specialists
    classes : int64 Tensor of shape (n, E)
    log_p : Tensor of shape (n, E)
        Log-probabilities of the specialists for their classes.
    valid : bool Tensor of shape (n, E), or None
        False at repetitions of a subset's first class.
    b, v : float64 Tensors of shape (n, K)
        Weighted dustbins v_m d_m, and weights.
    """

    slots: Tensor
    classes: Tensor
    log_p: Tensor
    valid: Tensor | None
    b: Tensor
    v: Tensor

    @property
    def size(self) -> int:
        """Places of one slot, s."""
        return self.classes.shape[1] // self.slots.shape[1]

    def by_place(self, per_slot: Tensor) -> Tensor:
        """Repeat (n, K) for each place of a slot, (n, E)."""
        return per_slot[:, :, None].expand(-1, -1, self.size).flatten(1)

    def slot_sums(self, per_place: Tensor) -> Tensor:
        """Sum (n, E) over the places of each slot that are no repetitions, (n, K)."""
        counted = per_place if self.valid is None else per_place * self.valid
        return counted.view(len(self.slots), -1, self.size).sum(2)

    def at(self, rows: Tensor) -> Votes:
        """The votes of some of the rows."""
        valid = None if self.valid is None else self.valid[rows]
        parts = (self.slots, self.classes, self.log_p, self.b, self.v)
        slots, classes, log_p, b, v = (part[rows] for part in parts)
        return Votes(slots, classes, log_p, valid, b, v)


def gather_votes(problem: Problem, subsets: Subsets, rows: Tensor | slice, b: Tensor) -> Votes:
    """The votes of ``rows``, each with the same number of active specialists, at least one.

    Parameters
    ----------
    problem : Problem
    subsets : Subsets
        Of the problem.
    rows : int64 Tensor or slice
    b : float64 Tensor of shape (n_rows of the problem, M), weighted dustbins
    """
    active = problem.active[rows]
    n = len(active)
    slots = active.nonzero()[:, 1].view(n, -1)
    width, s = slots.shape[1], subsets.classes.shape[1]
    everyone = width == len(subsets.sizes)
    classes = subsets.classes.view(1, -1).expand(n, -1) if everyone else None
    valid = subsets.valid
    if valid is not None:
        valid = valid.view(1, -1).expand(n, -1) if everyone else valid[slots].view(n, -1)
    log_p = problem.generalist.new_empty(n * width, s)
    numbers = problem.rows.new_empty(0) if everyone else _numbers(rows, n, slots.device)
    order = slots.flatten().argsort(stable=True)
    ends = slots.flatten().bincount(minlength=len(subsets.sizes)).tolist()
    for m, places in enumerate(order.split(ends)):
        vote = problem.specialists[m]
        if everyone:
            log_p.view(n, width, s)[:, m] = _padded(vote[rows], s)
        elif len(places):
            part = vote.index_select(0, numbers.index_select(0, places // width))
            log_p.index_copy_(0, places, _padded(part, s))
    return Votes(
        slots,
        subsets.classes[slots].view(n, -1) if classes is None else classes,
        log_p.view(n, -1),
        valid,
        b[rows].gather(1, slots),
        problem.weights[slots],
    )


def weighted_votes(problem: Problem, votes: Votes, rows: Tensor | slice) -> Tensor:
    """``v p`` at every place, zero at repetitions; checks that specialists' rows sum to 1."""
    p = votes.log_p.exp()
    totals = votes.slot_sums(p) + votes.b / votes.v
    wrong = ~((totals - 1).abs() <= problem.sum_tolerance)
    if bool(wrong.any()):
        row, slot = wrong.nonzero()[0].tolist()
        where = f"specialists[{int(votes.slots[row, slot])}]"
        check_sums(totals[row, slot : slot + 1], problem.rows[rows][row : row + 1], problem, where)
    if votes.valid is not None:
        p.mul_(votes.valid)
    p.view(len(p), -1, votes.size).mul_(votes.v.to(p.dtype)[:, :, None])
    return p


def _numbers(rows: Tensor | slice, n: int, device: torch.device) -> Tensor:
    if isinstance(rows, slice):
        start = rows.start or 0
        return torch.arange(start, start + n, device=device)
    return rows


def _padded(vote: Tensor, s: int) -> Tensor:
    """Without the dustbin, the first class repeated up to s columns."""
    part = vote[:, :-1]
    if part.shape[1] == s:
        return part
    return torch.cat([part, part[:, :1].expand(-1, s - part.shape[1])], 1)
