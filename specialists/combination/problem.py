"""What is to be combined, checked once: log-probabilities, subsets, active sets and weights.

The masses c_j and b_m (METHOD.md (2)) are all that the forward direction needs; :func:`log_masses`
and :func:`dustbin_masses` form them. The rows of an inactive specialist are never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from specialists.combination.subset_tables import Subsets, as_subsets
from specialists.errors import InputError

HALF_PRECISION = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class RowTensors:
    """Base of dataclasses of tensors, all of which have a row for each row of a batch."""

    def select(self, rows: Tensor) -> Self:
        """Some of the rows."""
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(None if value is None else value[rows] for value in values))

    def replaced(self, rows: Tensor, other: Self) -> Self:
        """The same with those of ``other`` in some of the rows."""
        names = [field.name for field in fields(self)]
        pairs = ((getattr(self, name), getattr(other, name)) for name in names)
        return type(self)(*(mine.index_copy(0, rows, theirs) for mine, theirs in pairs))


@dataclass(frozen=True)
class CombinationProblem:
    """A batch of combinations, in one floating dtype and on one device."""

    generalist: Tensor  # (n, n_classes), log-probabilities
    specialists: tuple[Tensor, ...]  # M of (n, k_m + 1), log-probabilities, dustbin last
    subsets: Subsets  # M of them
    active: Tensor  # bool (n, M)
    weights: Tensor  # (M,), positive
    rows: Tensor  # int64 (n,), row numbers in the caller's batch, for messages
    sum_tolerance: float  # of a row's probabilities from 1; coarser for half-precision inputs

    @property
    def requires_grad(self) -> bool:
        """Whether gradients with respect to any of the tensors are asked for."""
        tensors = (self.generalist, self.weights, *self.specialists)
        return torch.is_grad_enabled() and any(x.requires_grad for x in tensors)

    @property
    def n_rows(self) -> int:
        return self.generalist.shape[0]

    @property
    def n_classes(self) -> int:
        return self.generalist.shape[1]

    def parts(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The log-probabilities, the subset and the active rows of each specialist."""
        for m, log_p in enumerate(self.specialists):
            yield log_p, self.subsets.indices[m], self.active[:, m].nonzero().squeeze(1)

    def select(self, rows: Tensor | slice) -> CombinationProblem:
        """The same problem for some of the rows; a slice copies nothing."""
        return replace(
            self,
            generalist=self.generalist[rows],
            specialists=tuple(log_p[rows] for log_p in self.specialists),
            active=self.active[rows],
            rows=self.rows[rows],
        )

    def double(self) -> CombinationProblem:
        """The same problem in float64."""
        specialists = tuple(log_p.double() for log_p in self.specialists)
        return replace(self, generalist=self.generalist.double(), specialists=specialists)


def as_problem(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Subsets | Sequence[Tensor],
    active: Tensor | None = None,
    weights: Tensor | None = None,
) -> CombinationProblem:
    """Check the arguments of ``combine`` and bring them to one dtype.

    An :class:`InputError` names the argument, what was given and what was expected.
    """
    check_matrix(generalist, "generalist")
    n, n_classes = generalist.shape
    if len(specialists) != len(subsets):
        raise InputError(
            "specialists and subsets differ in number",
            got=f"{len(specialists)} specialists, {len(subsets)} subsets",
            expected="one subset for each specialist",
        )
    tables = as_subsets(subsets, n_classes, generalist.device)
    for m, (log_p, width) in enumerate(zip(specialists, tables.widths, strict=True)):
        if not isinstance(log_p, Tensor) or log_p.shape != (n, width):
            _check_specialist(log_p, generalist, width, f"specialists[{m}]")
    dtypes = {generalist.dtype, *(log_p.dtype for log_p in specialists)}
    devices = {generalist.device, *(log_p.device for log_p in specialists)}
    if len(dtypes) + len(devices) > 2:
        for m, (log_p, width) in enumerate(zip(specialists, tables.widths, strict=True)):
            _check_specialist(log_p, generalist, width, f"specialists[{m}]")
    coarse = not dtypes.isdisjoint(HALF_PRECISION)
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    return CombinationProblem(
        generalist.to(dtype),
        tuple(specialists if dtypes == {dtype} else (log_p.to(dtype) for log_p in specialists)),
        tables,
        _as_active(active, (n, len(tables)), generalist.device),
        as_weights(weights, len(tables), generalist.device),
        torch.arange(n, device=generalist.device),
        0.05 if coarse else 1e-3,
    )


def as_labels(labels: Tensor, problem: CombinationProblem) -> Tensor:
    """The true class of each row, int64 (n,); an :class:`InputError` if they are no such."""
    given = torch.as_tensor(labels, device=problem.generalist.device)
    whole = not given.is_floating_point() and given.dtype != torch.bool
    outside = bool(((given < 0) | (given >= problem.n_classes)).any())
    if tuple(given.shape) != (problem.n_rows,) or not whole or outside:
        raise InputError(
            "labels do not name a class for each row",
            got=f"{given.dtype} {tuple(given.shape)}",
            expected=f"integers from 0 to {problem.n_classes - 1}, shape ({problem.n_rows},)",
        )
    return given.long()


def log_masses(problem: CombinationProblem) -> Tensor:
    """``log c``, shape (n, n_classes), with c_j = g_j + sum over active m holding j of v_m p_mj."""
    log_c = problem.generalist.clone()
    for m, (log_p, subset, rows) in enumerate(problem.parts()):
        at = (rows[:, None], subset[None, :])  # (rows, k_m)
        weighted = log_p[rows, :-1] + problem.weights[m].log().to(log_p.dtype)
        log_c = log_c.index_put(at, log_add(log_c[at], weighted))
    return log_c


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp a + exp b)`` with a zero gradient, not NaN, where both are -inf."""
    neither = (a == -torch.inf) & (b == -torch.inf)
    summed = torch.logaddexp(a.masked_fill(neither, 0.0), b.masked_fill(neither, 0.0))
    return summed.masked_fill(neither, -torch.inf)


def dustbin_masses(problem: CombinationProblem) -> Tensor:
    """``b_m = v_m d_m`` in float64, shape (n, M), zero where specialist m is not active."""
    log_d = log_dustbins(problem)
    return log_d.masked_fill(~problem.active, -torch.inf).exp() * problem.weights


def log_dustbins(problem: CombinationProblem) -> Tensor:
    """``log d_m`` in float64, shape (n, M), zero where specialist m is not active."""
    if not problem.specialists:
        return problem.generalist.new_zeros(problem.n_rows, 0, dtype=torch.float64)
    log_d = torch.stack([log_p[:, -1] for log_p in problem.specialists], dim=1).double()
    return log_d.masked_fill(~problem.active, 0.0)


def log_products(problem: CombinationProblem) -> Tensor:
    """``log g_j + sum over active m holding j of v_m log p_mj`` in float64, (n, n_classes)."""
    products = problem.generalist.double()
    for m, (log_p, subset, rows) in enumerate(problem.parts()):
        part = log_p[rows, :-1].double()
        empty = part == -torch.inf
        weighted = problem.weights[m] * part.masked_fill(empty, 0.0)
        at = (rows[:, None], subset[None, :])
        products = products.index_put(at, products[at] + weighted.masked_fill(empty, -torch.inf))
    return products


def check_probabilities(problem: CombinationProblem) -> None:
    """Raise :class:`InputError` unless every row that takes part sums to 1."""
    check_sums(problem.generalist.exp().sum(1), problem.rows, problem, "generalist")
    for m, (log_p, _, rows) in enumerate(problem.parts()):
        check_sums(log_p[rows].exp().sum(1), problem.rows[rows], problem, f"specialists[{m}]")


def check_sums(totals: Tensor, rows: Tensor, problem: CombinationProblem, where: str) -> None:
    """Raise :class:`InputError` for the first row whose probabilities do not sum to 1 (or NaN)."""
    wrong = ~((totals - 1).abs() <= problem.sum_tolerance)
    if not bool(wrong.any()):
        return
    first = int(wrong.nonzero()[0, 0])
    total = float(totals[first])
    raise InputError(
        "probabilities do not sum to 1" if total == total else "a log-probability is NaN",
        where=f"{where}, row {int(rows[first])}",
        got=f"exp summed over the row is {total:.6g}",
        expected="log-probabilities, natural base (log_softmax of logits), dustbin included",
    )


def described(given: object) -> str:
    """Dtype and shape of a tensor, the type of anything else, for messages."""
    is_tensor = isinstance(given, Tensor)
    return f"{given.dtype} {tuple(given.shape)}" if is_tensor else type(given).__name__


def check_matrix(log_probs: Tensor, name: str) -> None:
    """Raise :class:`InputError` unless it is a floating tensor of shape (n, n_classes)."""
    floating = isinstance(log_probs, Tensor) and log_probs.is_floating_point()
    if not floating or log_probs.dim() != 2 or log_probs.shape[1] == 0:
        raise InputError(
            f"{name} is not a matrix of log-probabilities",
            got=described(log_probs),
            expected="a floating tensor of shape (n, n_classes)",
        )


def _check_specialist(log_p: Tensor, generalist: Tensor, width: int, name: str) -> None:
    check_matrix(log_p, name)
    expected = (generalist.shape[0], width)
    if tuple(log_p.shape) != expected:
        raise InputError(
            f"{name} has the wrong shape",
            got=tuple(log_p.shape),
            expected=f"{expected}: one column a class of its subset, then the dustbin",
        )
    if log_p.device != generalist.device:
        what = f"{name} lies on another device than the generalist"
        raise InputError(what, got=log_p.device, expected=generalist.device)


def _as_active(active: Tensor | None, shape: tuple[int, int], device: torch.device) -> Tensor:
    if active is None:
        return torch.ones(shape, dtype=torch.bool, device=device)
    given = torch.as_tensor(active, device=device)
    if tuple(given.shape) != shape or given.dtype != torch.bool:
        raise InputError(
            "active does not say which specialists to use in each row",
            got=described(given),
            expected=f"torch.bool {shape}",
        )
    return given


def as_weights(
    weights: Tensor | Sequence[float] | None,
    n_models: int,
    device: torch.device | str,
    model: str = "specialist",
) -> Tensor:
    """Weights in float64, positive and finite, one for each model; ones by default."""
    if weights is None:
        return torch.ones(n_models, dtype=torch.float64, device=device)
    given = torch.as_tensor(weights, device=device, dtype=torch.float64)
    positive = bool(((given > 0) & given.isfinite()).all())
    if tuple(given.shape) != (n_models,) or not positive:
        raise InputError(
            f"weights are not one positive finite number for each {model}",
            got=given.tolist(),
            expected=f"shape ({n_models},), all > 0",
            fix=f"to switch a {model} off, leave it out"
            + (" of `active`" if model == "specialist" else ""),
        )
    return given
