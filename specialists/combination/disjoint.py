"""How do specialists combine whose subsets do not overlap? One pass before, one scalar, one after.

Each subset's classes keep the proportions of ``c`` and take the mass that
:mod:`specialists.combination.scalar` finds; all other classes, those of inactive specialists and of
specialists with an empty dustbin included, keep the proportions of ``c`` too and share the rest.
Rows are worked through in blocks that stay in the processor's cache, and the active specialists of
a row stand in its first slots, so that there is no loop over rows and none over classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.combination.patterns import spread
from specialists.combination.problem import Problem, check_sums, dustbin_masses
from specialists.combination.scalar import Shares, disjoint_shares
from specialists.combination.solution import Solution

_BLOCK_ELEMENTS = 2**18
_CHUNK_ELEMENTS = 2**21


@dataclass(frozen=True)
class _Votes:
    """The specialists of each row in K slots; slots not used repeat the row's first slot.

    ``log_p`` and ``classes`` have shape (n, K, k) with k the size of the largest subset; smaller
    ones repeat their first class. ``valid`` is false at repetitions, or None where there are none.
    ``b`` (zero where not used), ``v``, ``sizes``, ``used`` and ``cleared`` (the dustbin of the
    slot, or of the one that it repeats, is not empty) have shape (n, K).
    """

    slots: Tensor
    log_p: Tensor
    classes: Tensor
    valid: Tensor | None
    b: Tensor
    v: Tensor
    sizes: Tensor
    used: Tensor
    cleared: Tensor

    @property
    def voting(self) -> Tensor:
        """Slots whose specialist is active and has a dustbin."""
        return self.b > 0

    def total(self, values: Tensor) -> Tensor:
        """Sum over the classes of each slot, (n, K)."""
        return (values if self.valid is None else values * self.valid).sum(2)


def solve_disjoint(problem: Problem) -> Solution:
    """Minimise KL(p || q) for rows whose active subsets are disjoint, each of them feasible."""
    width = int(problem.active.sum(1).max()) * max(len(subset) for subset in problem.subsets)
    size = max(1, _CHUNK_ELEMENTS // max(width, 64))
    log_q = torch.empty_like(problem.generalist)
    residuals, iterations = [], []
    for start in range(0, problem.n_rows, size):
        chunk = problem.select(slice(start, start + size))
        residual, n_iterations = _solve_chunk(chunk, log_q[start : start + size])
        residuals.append(residual)
        iterations.append(n_iterations)
    return Solution(log_q, torch.cat(residuals), torch.cat(iterations))


def _solve_chunk(problem: Problem, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Fill ``log_q`` for some rows; returns their residuals and iterations."""
    votes = _gather_votes(problem, max(1, int(problem.active.sum(1).max())))
    joint, rest = _sum_masses(problem, votes)
    a = votes.total(joint).double() * votes.voting
    has_rest = (votes.sizes * votes.voting).sum(1) < problem.n_classes
    shares = disjoint_shares(a, votes.b, rest, has_rest)
    lost = torch.cat([rest[:, None], a], 1) == 0
    lost &= torch.cat([shares.rest[:, None], shares.inside], 1) > 0
    log_factor = shares.rest_factor.masked_fill(lost[:, 0], 1.0).log()
    inside = torch.where(votes.voting, shares.inside_factor.log(), log_factor[:, None])
    inside = inside.masked_fill(lost[:, 1:], 0.0)
    inside = torch.where(votes.used, inside, inside[:, :1]).to(log_q.dtype)
    log_inside = _log_joint(problem, votes, joint).add_(inside[:, :, None])
    _write(problem.generalist, log_factor.to(log_q.dtype), log_inside, votes.classes, log_q)
    _refill(log_q, votes, shares, lost)
    silent = ~problem.active.any(1)
    log_q[silent] = problem.generalist[silent]
    return shares.kkt_residual, shares.n_iterations


def _blocks(n_rows: int, n_classes: int) -> list[slice]:
    """Rows whose classes fit into the cache."""
    size = max(1, _BLOCK_ELEMENTS // n_classes)
    return [slice(start, start + size) for start in range(0, n_rows, size)]


def _sum_masses(problem: Problem, votes: _Votes) -> tuple[Tensor, Tensor]:
    """``c`` in the slots' classes, (n, K, k), and its sum over classes that no one votes on, (n,).

    The latter is the sum of what is left after the voted classes are cleared, not a difference.
    """
    joint = _weighted_votes(problem, votes)
    classes = votes.classes.flatten(1)
    scratch = None
    total, rest = [], []
    for block in _blocks(problem.n_rows, problem.n_classes):
        log_g, at = problem.generalist[block], classes[block]
        scratch = torch.empty_like(log_g) if scratch is None else scratch
        c = torch.exp(log_g, out=scratch[: len(log_g)])
        total.append(c.sum(1))
        part = joint[block].add_(c.gather(1, at).view_as(joint[block]))
        c.scatter_(1, at, part.masked_fill(votes.cleared[block, :, None], 0.0).flatten(1))
        rest.append(c.sum(1))
    check_sums(torch.cat(total), problem.rows, problem, "generalist")
    return joint, torch.cat(rest).double()


def _write(
    log_g: Tensor, log_factor: Tensor, log_inside: Tensor, classes: Tensor, log_q: Tensor
) -> None:
    """``log g + log_factor``, and ``log_inside`` at the classes of the slots."""
    at, values = classes.flatten(1), log_inside.flatten(1)
    for block in _blocks(len(log_g), log_g.shape[1]):
        torch.add(log_g[block], log_factor[block, None], out=log_q[block])
        log_q[block].scatter_(1, at[block], values[block])


def _gather_votes(problem: Problem, width: int) -> _Votes:
    """Put the active specialists of each row into its first slots, in increasing order."""
    slots = problem.active.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :width]
    used = problem.active.gather(1, slots)
    slots = torch.where(used, slots, slots[:, :1])
    device = slots.device
    sizes = torch.tensor([len(subset) for subset in problem.subsets], device=device)
    k = int(sizes.max())
    table = torch.stack([torch.cat([s, s[:1].expand(k - len(s))]) for s in problem.subsets])
    valid = torch.arange(k, device=device) < sizes[:, None]
    b = dustbin_masses(problem).gather(1, slots)
    everyone = width == len(table) and bool(used.all())
    return _Votes(
        slots,
        _gather_log_probs(problem, used, k),
        table.expand(len(slots), -1, -1) if everyone else table[slots],
        None if bool(valid.all()) else valid[slots],
        b * used,
        problem.weights[slots],
        sizes[slots],
        used,
        b > 0,
    )


def _gather_log_probs(problem: Problem, used: Tensor, k: int) -> Tensor:
    """The specialists' log-probabilities by slot, (n, K, k); -inf in a row without any."""
    n, width = used.shape
    everyone = width == len(problem.subsets) and bool(used.all())
    log_p = problem.generalist.new_full((n, width, k), -torch.inf)
    flat = log_p.view(n * width, k)
    place = problem.active.cumsum(1) - 1
    for m, vote in enumerate(problem.specialists):
        if everyone:
            log_p[:, m] = _padded(vote, k)
        else:
            rows = problem.active[:, m].nonzero().squeeze(1)
            part = _padded(vote.index_select(0, rows), k)
            flat.index_copy_(0, rows * width + place[rows, m], part)
    if everyone or bool(used.all()):
        return log_p
    return torch.where(used[:, :, None], log_p, log_p[:, :1])


def _padded(vote: Tensor, k: int) -> Tensor:
    """Without the dustbin, the first class repeated up to k columns."""
    part = vote[:, :-1]
    if part.shape[1] == k:
        return part
    return torch.cat([part, part[:, :1].expand(-1, k - part.shape[1])], 1)


def _weighted_votes(problem: Problem, votes: _Votes) -> Tensor:
    """``v p`` in every slot; checks that the specialists' rows sum to 1."""
    p = votes.log_p.exp()
    totals = votes.total(p) + votes.b / votes.v
    wrong = votes.used & ~((totals - 1).abs() <= problem.sum_tolerance)
    if bool(wrong.any()):
        row, slot = wrong.nonzero()[0].tolist()
        where = f"specialists[{int(votes.slots[row, slot])}]"
        check_sums(totals[row, slot : slot + 1], problem.rows[row : row + 1], problem, where)
    return p.mul_(votes.v.to(p.dtype)[:, :, None])


def _log_joint(problem: Problem, votes: _Votes, joint: Tensor) -> Tensor:
    """``log(g + v p)``; by way of logs where the sum is close to the smallest number."""
    small = joint < 1e3 * torch.finfo(joint.dtype).tiny
    log_c = joint.log()
    if bool(small.any()):
        log_v = votes.v.log().to(joint.dtype)[:, :, None]
        log_g = problem.generalist.gather(1, votes.classes.flatten(1)).view_as(joint)
        log_c = torch.where(small, torch.logaddexp(log_g, votes.log_p + log_v), log_c)
    return log_c


def _refill(log_q: Tensor, votes: _Votes, shares: Shares, lost: Tensor) -> None:
    """Give mass to patterns that have none of their own (their ``log_q`` still is ``log c``)."""
    rows = lost.any(1).nonzero().squeeze(1)
    if not len(rows):
        return
    voting, classes = votes.voting[rows], votes.classes[rows]
    numbers = torch.arange(1, voting.shape[1] + 1, device=log_q.device) * voting
    numbers = torch.where(votes.used[rows], numbers, numbers[:, :1])
    ids = torch.zeros_like(log_q[rows], dtype=torch.int64)
    ids.scatter_(1, classes.flatten(1), numbers[:, :, None].expand_as(classes).flatten(1))
    mass = torch.cat([shares.rest[:, None], shares.inside], dim=1)[rows]
    log_q[rows] = spread(log_q[rows], ids, mass, torch.zeros_like(mass), lost[rows])
