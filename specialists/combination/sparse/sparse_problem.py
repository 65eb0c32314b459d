"""What is to be combined over very many classes, checked once (see ``combine_sparse``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specialists.combination.patterns.active_rows import ActiveRows
from specialists.combination.patterns.entry_patterns import EntryPatterns
from specialists.combination.problem import HALF_PRECISION, as_weights, described
from specialists.combination.subset_tables import Subsets, as_subsets
from specialists.errors import InputError

_LEAST_PRIOR = 1e-9


@dataclass(frozen=True)
class SparseProblem:
    """A batch of sparse combinations in float64.

    Parameters
    ----------
    classes, log_probs : Tensors of shape (n, k)
    log_rest : Tensor of shape (n,)
    specialists : Tensor of shape (n, K, s + 1)
    active : int64 Tensor of shape (n, K), used slots first, increasing
    subsets : Subsets
    weights : float64 Tensor of shape (M,)
    prior : float64 Tensor of shape (n_classes,), or None (uniform); sums to 1
    dtype : torch.dtype
        Of the result.
    """

    classes: Tensor
    log_probs: Tensor
    log_rest: Tensor
    specialists: Tensor
    active: Tensor
    subsets: Subsets
    weights: Tensor
    prior: Tensor | None
    dtype: torch.dtype

    def select(self, rows: Tensor, width: int) -> SparseProblem:
        """Some of the rows, and their first ``width`` slots."""
        return replace(
            self,
            classes=self.classes[rows],
            log_probs=self.log_probs[rows],
            log_rest=self.log_rest[rows],
            specialists=self.specialists[rows, :width],
            active=self.active[rows, :width],
        )

    def active_rows(self) -> ActiveRows:
        """The active specialists of rows without empty slots."""
        tables, n = self.subsets, len(self.active)
        valid = None if tables.valid is None else tables.valid[self.active].view(n, -1)
        log_p = self.specialists[:, :, :-1]
        v = self.weights[self.active]
        if valid is not None:
            log_p = torch.where(valid.view_as(log_p), log_p, log_p[:, :, :1])
        return ActiveRows(
            self.active,
            tables.classes[self.active].view(n, -1),
            log_p.reshape(n, -1),  # (n, K, s) -> (n, K s)
            valid,
            self.specialists[:, :, -1].exp() * v,
            v,
        )

    def matches(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, number among the top classes and entry of every top class in an active subset."""
        owners = self.subsets.owners[self.classes]
        same = owners[:, :, :, None] == self.active[:, None, None, :]
        row, i, owner, slot = same.nonzero().unbind(1)
        position = self.subsets.positions[self.classes[row, i], owner]
        return row, i, slot * self.subsets.classes.shape[1] + position

    def spread_rest(
        self, active: ActiveRows, patterns: EntryPatterns, matched: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The generalist's rest at every entry, (n, E), and what is left for all other classes.

        The entries of top classes are to be overwritten; ``matched`` (n, k) says which top classes
        have one. A row in which the prior has nothing outside the top k is spread uniformly.
        """
        n_outside = patterns.counts[:, 0] - (~matched).sum(1)
        even = 1 / max(self.subsets.n_classes - self.classes.shape[1], 1)
        scale = self.log_rest.exp()
        by_entry = scale.new_full(active.classes.shape, even)
        beyond = even * n_outside
        if self.prior is not None:
            top, entries = self.prior[self.classes], self.prior[active.classes]
            unlisted = 1 - top.sum(1)
            informed = unlisted > _LEAST_PRIOR
            named = (entries * patterns.named(active)).sum(1)
            outside = (1 - named - top.masked_fill(matched, 0.0).sum(1)).clamp(min=0)
            outside = outside.masked_fill(
                self._n_prior_outside(active, patterns, matched) == 0, 0.0
            )
            scale = torch.where(informed, scale / unlisted, scale)
            by_entry = torch.where(informed[:, None], entries, by_entry)
            beyond = torch.where(informed, outside, beyond)
        return by_entry * scale[:, None], beyond * scale

    def _n_prior_outside(
        self, active: ActiveRows, patterns: EntryPatterns, matched: Tensor
    ) -> Tensor:
        """How many classes with a prior are neither entries nor among the top classes, (n,)."""
        assert self.prior is not None
        known = self.prior > 0
        named = (known[active.classes] & patterns.named(active)).sum(1)
        return known.sum() - named - (known[self.classes] & ~matched).sum(1)


def as_sparse_problem(
    classes: Tensor,
    log_probs: Tensor,
    log_rest: Tensor,
    specialists: Tensor,
    active: Tensor,
    subsets: Subsets | Sequence[Tensor],
    weights: Tensor | None,
    prior: Tensor | None,
    n_classes: int | None,
) -> SparseProblem:
    """Check the arguments of ``combine_sparse``; float64, used slots first and increasing."""
    tables = _as_tables(subsets, n_classes, classes)
    _check_arguments(classes, log_probs, log_rest, specialists, active, tables)
    n_subsets = len(tables)
    classes, active = classes.long(), active.long()
    active, order = active.masked_fill(active < 0, n_subsets).sort(dim=1)
    problem = SparseProblem(
        classes,
        log_probs.double(),
        log_rest.double(),
        specialists.double().gather(1, order[:, :, None].expand_as(specialists)),
        active.masked_fill(active == n_subsets, -1),
        tables,
        as_weights(weights, n_subsets, classes.device),
        None if prior is None else _as_prior(prior, tables.n_classes),
        torch.float32 if log_probs.dtype in HALF_PRECISION else log_probs.dtype,
    )
    coarse = log_probs.dtype in HALF_PRECISION or specialists.dtype in HALF_PRECISION
    _check_sums(problem, 0.05 if coarse else 1e-3)
    return problem


def _as_tables(
    subsets: Subsets | Sequence[Tensor], n_classes: int | None, classes: Tensor
) -> Subsets:
    if n_classes is None:
        if not isinstance(subsets, Subsets):
            raise InputError("n_classes is missing", expected="that of the subsets")
        n_classes = subsets.n_classes
    if not len(subsets):
        raise InputError("there are no subsets", expected="at least one")
    device = classes.device if isinstance(classes, Tensor) else torch.device("cpu")
    return as_subsets(subsets, n_classes, device)


def _check_arguments(
    classes: Tensor,
    log_probs: Tensor,
    log_rest: Tensor,
    specialists: Tensor,
    active: Tensor,
    subsets: Subsets,
) -> None:
    for name, given in (("classes", classes), ("active", active)):
        if not isinstance(given, Tensor) or given.dim() != 2:
            raise InputError(
                f"{name} is not a matrix", got=described(given), expected="(n, width) integers"
            )
    n, k = classes.shape
    width = active.shape[1]
    _check_shape(classes, (n, k), "classes", integers=True)
    _check_shape(log_probs, (n, k), "log_probs")
    _check_shape(log_rest, (n,), "log_rest")
    _check_shape(active, (n, width), "active", integers=True)
    _check_shape(specialists, (n, width, subsets.classes.shape[1] + 1), "specialists")
    _check_numbers(classes, 0, subsets.n_classes, "classes")
    _check_numbers(active, -1, len(subsets), "active")
    if int(subsets.sizes.max()) == subsets.n_classes:
        raise InputError(
            "a subset holds all classes, so that no class is left to give its dustbin to",
            fix="use specialists.combination.combine",
        )


def _check_sums(problem: SparseProblem, tolerance: float) -> None:
    totals = problem.log_probs.exp().sum(1) + problem.log_rest.exp()
    _refuse(totals[:, None], tolerance, "log_probs and log_rest")
    if problem.classes.shape[1] == problem.subsets.n_classes:
        _refuse(1 + problem.log_rest.exp()[:, None], tolerance, "log_rest, with all classes named")
    p = problem.specialists.exp()
    if problem.subsets.valid is not None:
        p[:, :, :-1].mul_(problem.subsets.valid[problem.active])
    totals = p.sum(2)
    _refuse(totals.masked_fill(problem.active < 0, 1.0), tolerance, "specialists")


def _refuse(totals: Tensor, tolerance: float, where: str) -> None:
    wrong = ~((totals - 1).abs() <= tolerance)
    if not bool(wrong.any()):
        return
    row, slot = wrong.nonzero()[0].tolist()
    total = float(totals[row, slot])
    raise InputError(
        "probabilities do not sum to 1" if total == total else "a log-probability is NaN",
        where=f"{where}, row {row}" + (f", slot {slot}" if totals.shape[1] > 1 else ""),
        got=f"exp summed is {total:.6g}",
        expected="log-probabilities, natural base, the rest or the dustbin included",
    )


def _check_shape(tensor: Tensor, shape: tuple[int, ...], name: str, integers: bool = False) -> None:
    fits = isinstance(tensor, Tensor) and tuple(tensor.shape) == shape
    is_integer = fits and not tensor.is_floating_point() and tensor.dtype != torch.bool
    if not fits or is_integer != integers:
        raise InputError(
            f"{name} has the wrong shape or type",
            got=described(tensor),
            expected=f"{'an integer' if integers else 'a floating'} tensor of shape {shape}",
        )


def _check_numbers(numbers: Tensor, low: int, high: int, name: str) -> None:
    """Each in low ... high - 1, and those that are not negative distinct within a row."""
    if numbers.numel() and not (int(numbers.min()) >= low and int(numbers.max()) < high):
        raise InputError(
            f"{name} are out of range",
            got=f"{int(numbers.min())} to {int(numbers.max())}",
            expected=f"{low} to {high - 1}",
        )
    ordered = numbers.sort(dim=1).values
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(1)
    if bool(twice.any()):
        row = int(twice.nonzero()[0, 0])
        raise InputError(f"{name} of row {row} are not distinct", got=numbers[row].tolist())


def _as_prior(prior: Tensor, n_classes: int) -> Tensor:
    values = prior.double() if isinstance(prior, Tensor) else torch.empty(0)
    good = bool(((values >= 0) & values.isfinite()).all() & (values.sum() > 0))
    if tuple(values.shape) != (n_classes,) or not good:
        raise InputError(
            "the prior is not one non-negative finite number a class",
            got=described(prior),
            expected=f"shape ({n_classes},), some of them positive",
        )
    return values / values.sum()
