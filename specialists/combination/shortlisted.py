"""How are specialists joined that were asked about a shortlist of each row?

Each row has a subset of its own, its shortlist, which all its members share, and they say nothing
of the other classes: there the generalist's mass stands in for their dustbins. The minimiser of
KL(q || p) then has a closed form (METHOD.md (29)) that touches the shortlist alone before one
normalisation. Where the shortlist is all classes, it is the geometric mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from specialists.combination.problem import as_weights, check_matrix, described
from specialists.errors import InputError, first_of
from specialists.probability import LOG_SUM_TOLERANCE, check_shortlists, log_sum_exp

LEAST_TOTAL = 0.1  # below it, what lies outside of a shortlist is summed and not a difference


def combine_shortlists(
    generalist: Tensor,
    classes: Tensor,
    members: Sequence[Tensor],
    weights: Sequence[float] | Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Minimise ``KL(q || g) + sum over m of v_m KL(q on shortlist and dustbin || p_m)``.

    p_m gives the shortlist the generalist's mass, shared as member m says, and its dustbin the
    rest. Where members and generalist disagree, the shortlist as a whole loses mass.

    Parameters
    ----------
    generalist : Tensor of shape (n, C)
        Log-probabilities, natural base; -inf is a probability of zero.
    classes : int64 Tensor of shape (n, K)
        The shortlists: distinct classes in increasing order, then -1 where a row has fewer.
    members : sequence of Tensors of shape (n, K)
        Log-probabilities over the shortlist alone, which sum to 1; -inf at padding.
    weights : one positive number a member, optional
        v_m; default 1.
    out : Tensor of shape (n, C), optional
        Memory for the result, which may be the generalist's own.

    Returns
    -------
    Tensor of shape (n, C)
        Log-probabilities, float32 for a generalist in half precision. A row in which no class has
        mass in all distributions keeps the generalist.

    Raises
    ------
    InputError
        If shapes, shortlists, weights or sums of probabilities are wrong.

    Examples
    --------
    >>> generalist = torch.tensor([[0.4, 0.4, 0.2]]).log()
    >>> member = torch.tensor([[0.9, 0.1]]).log()
    >>> combine_shortlists(generalist, torch.tensor([[0, 1]]), [member]).exp()
    tensor([[0.5862, 0.1954, 0.2184]])
    """
    check_matrix(generalist, "generalist")
    n, n_classes = generalist.shape
    check_shortlists(classes, n, n_classes, "the shortlists")
    if not len(members):
        raise InputError("there are no members to combine", expected="at least one")
    v = as_weights(weights, len(members), "cpu", model="member").tolist()
    generalist = generalist.to(torch.promote_types(generalist.dtype, torch.float32))
    padded = classes < 0
    at = torch.where(padded, classes[:, :1], classes)
    log_g = generalist.gather(1, at).double().masked_fill(padded, -torch.inf)
    log_mass = log_sum_exp(log_g)
    _check_mass(log_mass)
    pooled = log_g
    for m, (member, weight) in enumerate(zip(members, v, strict=True)):
        _check_member(member, classes, f"members[{m}]")
        pooled = pooled + weight * (member.double() + log_mass[:, None])
    pooled = pooled / (1 + math.fsum(v))
    log_total = _log_total(generalist, at, log_mass, log_sum_exp(pooled))
    empty = log_total == -torch.inf
    log_total = log_total.masked_fill(empty, 0.0)[:, None]
    inside = torch.where(empty[:, None], log_g, pooled - log_total)
    inside = torch.where(padded, inside[:, :1], inside).to(generalist.dtype)
    return torch.sub(generalist, log_total.to(generalist.dtype), out=out).scatter_(1, at, inside)


def _log_total(generalist: Tensor, at: Tensor, log_mass: Tensor, log_inside: Tensor) -> Tensor:
    """``log(g(outside) + inside)`` of each row; a small one without a difference of masses."""
    log_total = torch.logaddexp(torch.log1p(-log_mass.exp().clamp_max(1.0)), log_inside)
    rows = (log_total < math.log(LEAST_TOTAL)).nonzero().squeeze(1)
    if len(rows):
        outside = generalist[rows].double().scatter_(1, at[rows], -torch.inf)
        log_total[rows] = torch.logaddexp(log_sum_exp(outside), log_inside[rows])
    return log_total


def _check_mass(log_mass: Tensor) -> None:
    wrong = ~(log_mass <= LOG_SUM_TOLERANCE)
    if bool(wrong.any()):
        rows = wrong.nonzero().flatten().tolist()
        raise InputError(
            "the generalist's probabilities of a shortlist sum to more than 1, or are NaN",
            where=first_of(rows),
            got=f"{float(log_mass[rows[0]].exp()):.3g}",
            expected="log-probabilities, natural base (log_softmax of logits)",
        )


def _check_member(member: Tensor, classes: Tensor, name: str) -> None:
    check_matrix(member, name)
    if member.shape != classes.shape:
        raise InputError(
            f"{name} does not fit the shortlists",
            got=described(member),
            expected=f"a number for each class: {tuple(classes.shape)}",
        )
    sums = member.double().masked_fill(classes < 0, -torch.inf).logsumexp(1)
    wrong = ~(sums.abs() < LOG_SUM_TOLERANCE)
    if bool(wrong.any()):
        rows = wrong.nonzero().flatten().tolist()
        raise InputError(
            f"{name} holds no log-probabilities over the shortlist",
            where=first_of(rows),
            got=f"probabilities that sum to {float(sums[rows[0]].exp()):.3g}",
            expected="1, over the classes of the shortlist",
        )
