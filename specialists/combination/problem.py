"""What is to be combined, checked once: log-probabilities, subsets, active sets and weights.

The masses ``c_j = g_j + sum over active m holding j of v_m p_mj`` and ``b_m = v_m d_m`` of the
design's section 2 are all that the forward direction needs; :func:`log_masses` and
:func:`dustbin_masses` form them. What stands in the row of an inactive specialist is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from specialists.combination.subsets import as_subset
from specialists.errors import InputError

_HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Problem:
    """A batch of combinations, in one floating dtype and on one device.

    Parameters
    ----------
    generalist : Tensor of shape (n, n_classes), log-probabilities
    specialists : tuple of M Tensors of shape (n, k_m + 1), log-probabilities, dustbin last
    subsets : tuple of M int64 Tensors of shape (k_m,)
    active : bool Tensor of shape (n, M)
    weights : Tensor of shape (M,), positive
    member : bool Tensor of shape (M, n_classes)
    rows : int64 Tensor of shape (n,)
        Row numbers in the caller's batch, for messages.
    sum_tolerance : float
        How far the probabilities of a row may be from 1 (coarser for half-precision inputs).
    """

    generalist: Tensor
    specialists: tuple[Tensor, ...]
    subsets: tuple[Tensor, ...]
    active: Tensor
    weights: Tensor
    member: Tensor
    rows: Tensor
    sum_tolerance: float

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

    @property
    def disjoint(self) -> bool:
        """Whether no two subsets share a class."""
        return sum(len(subset) for subset in self.subsets) == int(self.member.any(0).sum())

    def select(self, rows: Tensor | slice) -> Problem:
        """The same problem for some of the rows; a slice copies nothing."""
        return Problem(
            self.generalist[rows],
            tuple(log_p[rows] for log_p in self.specialists),
            self.subsets,
            self.active[rows],
            self.weights,
            self.member,
            self.rows[rows],
            self.sum_tolerance,
        )

    def double(self) -> Problem:
        """The same problem in float64."""
        specialists = tuple(log_p.double() for log_p in self.specialists)
        return replace(self, generalist=self.generalist.double(), specialists=specialists)


def as_problem(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Sequence[Tensor],
    active: Tensor | None = None,
    weights: Tensor | None = None,
) -> Problem:
    """Check the arguments of ``combine`` and bring them to one dtype.

    Raises
    ------
    InputError
        Naming the argument, what was found and what was expected.
    """
    _check_matrix(generalist, "generalist")
    n, n_classes = generalist.shape
    if len(specialists) != len(subsets):
        raise InputError(
            "specialists and subsets differ in number",
            got=f"{len(specialists)} specialists, {len(subsets)} subsets",
            expected="one subset for each specialist",
        )
    indices = tuple(
        as_subset(subset, n_classes, f"subsets[{m}]", generalist.device)
        for m, subset in enumerate(subsets)
    )
    for m, (log_p, subset) in enumerate(zip(specialists, indices, strict=True)):
        _check_specialist(log_p, generalist, len(subset), f"specialists[{m}]")
    inputs = (generalist, *specialists)
    coarse = any(x.dtype in _HALF for x in inputs)
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in inputs) else torch.float32
    return Problem(
        generalist.to(dtype),
        tuple(log_p.to(dtype) for log_p in specialists),
        indices,
        _as_active(active, n, indices, generalist.device),
        as_weights(weights, len(indices), generalist.device),
        _membership(indices, n_classes, generalist.device),
        torch.arange(n, device=generalist.device),
        0.05 if coarse else 1e-3,
    )


def log_masses(problem: Problem) -> Tensor:
    """``log c``, shape (n, n_classes), with c_j = g_j + sum over active m holding j of v_m p_mj."""
    log_c = problem.generalist.clone()
    everyone = bool(problem.active.all())
    for m, (log_p, subset) in enumerate(zip(problem.specialists, problem.subsets, strict=True)):
        rows = torch.arange(problem.n_rows, device=log_c.device)
        rows = rows if everyone else problem.active[:, m].nonzero().squeeze(1)
        at = (rows[:, None], subset[None, :])
        weighted = log_p[rows, :-1] + problem.weights[m].log().to(log_p.dtype)
        log_c = log_c.index_put(at, log_add(log_c[at], weighted))
    return log_c


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp a + exp b)`` with a zero gradient, not NaN, where both are -inf."""
    neither = (a == -torch.inf) & (b == -torch.inf)
    summed = torch.logaddexp(a.masked_fill(neither, 0.0), b.masked_fill(neither, 0.0))
    return summed.masked_fill(neither, -torch.inf)


def dustbin_masses(problem: Problem) -> Tensor:
    """``b_m = v_m d_m`` in float64, shape (n, M), zero where specialist m is not active."""
    log_d = log_dustbins(problem)
    return log_d.masked_fill(~problem.active, -torch.inf).exp() * problem.weights


def log_dustbins(problem: Problem) -> Tensor:
    """``log d_m`` in float64, shape (n, M), zero where specialist m is not active."""
    if not problem.specialists:
        return problem.generalist.new_zeros(problem.n_rows, 0, dtype=torch.float64)
    log_d = torch.stack([log_p[:, -1] for log_p in problem.specialists], dim=1).double()
    return log_d.masked_fill(~problem.active, 0.0)


def log_products(problem: Problem) -> Tensor:
    """``log g_j + sum over active m holding j of v_m log p_mj`` in float64, (n, n_classes)."""
    products = problem.generalist.double()
    for m, (log_p, subset) in enumerate(zip(problem.specialists, problem.subsets, strict=True)):
        rows = problem.active[:, m].nonzero().squeeze(1)
        part = log_p[rows, :-1].double()
        empty = part == -torch.inf
        weighted = problem.weights[m] * part.masked_fill(empty, 0.0)
        at = (rows[:, None], subset[None, :])
        products = products.index_put(at, products[at] + weighted.masked_fill(empty, -torch.inf))
    return products


def check_probabilities(problem: Problem) -> None:
    """Raise :class:`InputError` unless every row that takes part sums to 1."""
    check_sums(problem.generalist.exp().sum(1), problem.rows, problem, "generalist")
    for m, log_p in enumerate(problem.specialists):
        voting = problem.active[:, m]
        check_sums(log_p[voting].exp().sum(1), problem.rows[voting], problem, f"specialists[{m}]")


def check_sums(totals: Tensor, rows: Tensor, problem: Problem, where: str) -> None:
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


def _check_matrix(log_probs: Tensor, name: str) -> None:
    floating = isinstance(log_probs, Tensor) and log_probs.is_floating_point()
    if not floating or log_probs.dim() != 2 or log_probs.shape[1] == 0:
        kind = type(log_probs).__name__
        got = f"{log_probs.dtype} {tuple(log_probs.shape)}" if kind == "Tensor" else kind
        raise InputError(
            f"{name} is not a matrix of log-probabilities",
            got=got,
            expected="a floating tensor of shape (n, n_classes)",
        )


def _check_specialist(log_p: Tensor, generalist: Tensor, size: int, name: str) -> None:
    _check_matrix(log_p, name)
    expected = (generalist.shape[0], size + 1)
    if tuple(log_p.shape) != expected:
        raise InputError(
            f"{name} has the wrong shape",
            got=tuple(log_p.shape),
            expected=f"{expected}: one column a class of its subset, then the dustbin",
        )
    if log_p.device != generalist.device:
        raise InputError(
            f"{name} lies on another device than the generalist",
            got=log_p.device,
            expected=generalist.device,
        )


def _as_active(
    active: Tensor | None, n: int, subsets: tuple[Tensor, ...], device: torch.device
) -> Tensor:
    shape = (n, len(subsets))
    if active is None:
        return torch.ones(shape, dtype=torch.bool, device=device)
    given = torch.as_tensor(active, device=device)
    if tuple(given.shape) != shape or given.dtype != torch.bool:
        raise InputError(
            "active does not say which specialists vote in each row",
            got=f"{given.dtype} {tuple(given.shape)}",
            expected=f"torch.bool {shape}",
        )
    return given


def as_weights(weights: Tensor | None, n_specialists: int, device: torch.device) -> Tensor:
    """Positive finite weights in float64, one a specialist; ones by default.

    Raises
    ------
    InputError
        Another shape, or not positive and finite.
    """
    if weights is None:
        return torch.ones(n_specialists, dtype=torch.float64, device=device)
    given = torch.as_tensor(weights, device=device, dtype=torch.float64)
    positive = bool(((given > 0) & given.isfinite()).all())
    if tuple(given.shape) != (n_specialists,) or not positive:
        raise InputError(
            "weights are not one positive finite number a specialist",
            got=given.tolist(),
            expected=f"shape ({n_specialists},), all > 0",
            fix="to switch a specialist off, leave it out of `active`",
        )
    return given


def _membership(subsets: tuple[Tensor, ...], n_classes: int, device: torch.device) -> Tensor:
    member = torch.zeros(len(subsets), n_classes, dtype=torch.bool, device=device)
    for row, subset in zip(member, subsets, strict=True):
        row[subset] = True
    return member
