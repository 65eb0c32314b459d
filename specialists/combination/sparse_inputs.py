"""What is to be combined over very many classes, checked once (see ``combine_sparse``)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specialists.combination.places import PlacePatterns
from specialists.combination.problem import as_weights
from specialists.combination.subsets import Subsets
from specialists.combination.votes import Votes
from specialists.errors import InputError

_HALF = (torch.float16, torch.bfloat16)
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

    def at(self, rows: Tensor, width: int) -> SparseProblem:
        """Some of the rows, and their first ``width`` slots."""
        return replace(
            self,
            classes=self.classes[rows],
            log_probs=self.log_probs[rows],
            log_rest=self.log_rest[rows],
            specialists=self.specialists[rows, :width],
            active=self.active[rows, :width],
        )

    def votes(self) -> Votes:
        """The votes of rows without empty slots."""
        tables, n = self.subsets, len(self.active)
        valid = None if tables.valid is None else tables.valid[self.active].view(n, -1)
        log_p = self.specialists[:, :, :-1]
        v = self.weights[self.active]
        if valid is not None:
            log_p = torch.where(valid.view_as(log_p), log_p, log_p[:, :, :1])
        return Votes(
            self.active,
            tables.classes[self.active].view(n, -1),
            log_p.reshape(n, -1),
            valid,
            self.specialists[:, :, -1].exp() * v,
            v,
        )

    def matches(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, number among the top classes and place of every top class in an active subset."""
        owners = self.subsets.owners[self.classes]
        same = owners[:, :, :, None] == self.active[:, None, None, :]
        row, i, owner, slot = same.nonzero().unbind(1)
        position = self.subsets.positions[self.classes[row, i], owner]
        return row, i, slot * self.subsets.classes.shape[1] + position

    def spread_rest(
        self, votes: Votes, patterns: PlacePatterns, matched: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The generalist's rest at every place, (n, E), and what is left for all other classes.

        The places of top classes are to be overwritten; ``matched`` (n, k) says which top classes
        have one. A row in which the prior has nothing outside the top k is spread uniformly.
        """
        n_outside = patterns.counts[:, 0] - (~matched).sum(1)
        even = 1 / max(self.subsets.n_classes - self.classes.shape[1], 1)
        scale = self.log_rest.exp()
        by_place = scale.new_full(votes.classes.shape, even)
        beyond = even * n_outside
        if self.prior is not None:
            top, places = self.prior[self.classes], self.prior[votes.classes]
            unlisted = 1 - top.sum(1)
            informed = unlisted > _LEAST_PRIOR
            named = (places * patterns.named(votes)).sum(1)
            outside = (1 - named - top.masked_fill(matched, 0.0).sum(1)).clamp(min=0)
            outside = outside.masked_fill(self._n_prior_outside(votes, patterns, matched) == 0, 0.0)
            scale = torch.where(informed, scale / unlisted, scale)
            by_place = torch.where(informed[:, None], places, by_place)
            beyond = torch.where(informed, outside, beyond)
        return by_place * scale[:, None], beyond * scale

    def _n_prior_outside(self, votes: Votes, patterns: PlacePatterns, matched: Tensor) -> Tensor:
        """How many classes with a prior are neither places nor among the top classes, (n,)."""
        assert self.prior is not None
        known = self.prior > 0
        named = (known[votes.classes] & patterns.named(votes)).sum(1)
        return known.sum() - named - (known[self.classes] & ~matched).sum(1)


def as_sparse_problem(
    classes: Tensor,
    log_probs: Tensor,
    log_rest: Tensor,
    specialists: Tensor,
    active: Tensor,
    subsets: Subsets,
    weights: Tensor | None,
    prior: Tensor | None,
) -> SparseProblem:
    """Check the arguments of ``combine_sparse``; float64, used slots first and increasing.

    Raises
    ------
    InputError
        Naming the argument, what was found and what was expected.
    """
    _check_arguments(classes, log_probs, log_rest, specialists, active, subsets)
    n_subsets = len(subsets.sizes)
    classes, active = classes.long(), active.long()
    active, order = active.masked_fill(active < 0, n_subsets).sort(dim=1)
    problem = SparseProblem(
        classes,
        log_probs.double(),
        log_rest.double(),
        specialists.double().gather(1, order[:, :, None].expand_as(specialists)),
        active.masked_fill(active == n_subsets, -1),
        subsets,
        as_weights(weights, n_subsets, classes.device),
        None if prior is None else _as_prior(prior, subsets.n_classes),
        torch.float32 if log_probs.dtype in _HALF else log_probs.dtype,
    )
    coarse = log_probs.dtype in _HALF or specialists.dtype in _HALF
    _check_sums(problem, 0.05 if coarse else 1e-3)
    return problem


def _check_arguments(
    classes: Tensor,
    log_probs: Tensor,
    log_rest: Tensor,
    specialists: Tensor,
    active: Tensor,
    subsets: Subsets,
) -> None:
    arrays = {
        "classes": classes,
        "log_probs": log_probs,
        "log_rest": log_rest,
        "specialists": specialists,
        "active": active,
    }
    for name, given in arrays.items():
        _check_tensor(given, name, n_dimensions=2 if name in ("classes", "active") else None)
    n, k = classes.shape
    width = active.shape[1]
    s, n_subsets = subsets.classes.shape[1], len(subsets.sizes)
    _check_shape(classes, (n, k), "classes", integers=True)
    _check_shape(log_probs, (n, k), "log_probs")
    _check_shape(log_rest, (n,), "log_rest")
    _check_shape(active, (n, width), "active", integers=True)
    _check_shape(specialists, (n, width, s + 1), "specialists")
    _check_range(classes, 0, subsets.n_classes, "classes")
    _check_range(active, -1, n_subsets, "active")
    _check_distinct(classes, "classes")
    _check_distinct(active, "active")
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


def _check_tensor(given: object, name: str, n_dimensions: int | None = None) -> None:
    if not isinstance(given, Tensor):
        raise InputError(f"{name} is not a tensor", got=type(given).__name__)
    if n_dimensions is not None and given.dim() != n_dimensions:
        raise InputError(f"{name} is not a matrix", got=tuple(given.shape), expected="(n, width)")


def _check_shape(tensor: Tensor, shape: tuple[int, ...], name: str, integers: bool = False) -> None:
    is_integer = not tensor.is_floating_point() and tensor.dtype != torch.bool
    if tuple(tensor.shape) != shape or is_integer != integers:
        kind = "an integer" if integers else "a floating"
        raise InputError(
            f"{name} has the wrong shape or type",
            got=f"{tensor.dtype} {tuple(tensor.shape)}",
            expected=f"{kind} tensor of shape {shape}",
        )


def _check_range(numbers: Tensor, low: int, high: int, name: str) -> None:
    if numbers.numel() and not (int(numbers.min()) >= low and int(numbers.max()) < high):
        raise InputError(
            f"{name} are out of range",
            got=f"{int(numbers.min())} to {int(numbers.max())}",
            expected=f"{low} to {high - 1}",
        )


def _check_distinct(numbers: Tensor, name: str) -> None:
    ordered = numbers.sort(dim=1).values
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(1)
    if bool(twice.any()):
        row = int(twice.nonzero()[0, 0])
        raise InputError(f"{name} of row {row} are not distinct", got=numbers[row].tolist())


def _as_prior(prior: Tensor, n_classes: int) -> Tensor:
    _check_tensor(prior, "prior")
    values = prior.double()
    if tuple(values.shape) != (n_classes,) or not bool(
        ((values >= 0) & values.isfinite()).all() & (values.sum() > 0)
    ):
        raise InputError(
            "the prior is not one non-negative finite number a class",
            got=tuple(values.shape),
            expected=f"shape ({n_classes},), some of them positive",
        )
    return values / values.sum()
