"""How are logits, log-probabilities and classes-plus-dustbin turned into one another?

Everything stays in logs, natural base, so that probabilities of 1e-300 and dustbins of exactly zero
keep their meaning. A dustbin is the *sum of the probabilities* of the classes outside a subset, so
in logs ``log d = logsumexp over the complement``: never a sum of logits, and never
``log(1 - sum over the subset)``, which loses every digit where a subset holds nearly everything.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from specialists.errors import InputError, first_of

LOG_SUM_TOLERANCE = 0.05  # half-precision log-probabilities sum to one within a hundredth
PADDING = -1  # of a row's shortlist that has fewer classes than others
MAX_NLL = -float(torch.tensor(torch.finfo(torch.float32).tiny).log())
"""The most that a label costs, 87.3 nats: -log of float32's smallest normal number."""


def tempered_log_softmax(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Log-probabilities ``log softmax(logits / T)`` over the last dimension.

    The row's maximum is subtracted before the division, so neither large logits nor a small
    temperature overflow. Entries of -inf stay -inf.

    Parameters
    ----------
    logits : Tensor of shape (..., n_classes)
    temperature : float or Tensor
        Positive; a tensor broadcasts against ``logits`` and may require a gradient.

    Raises
    ------
    InputError
        If a temperature is not a positive finite number.

    Source: Hinton, Vinyals, Dean (2015), equation 1.

    Examples
    --------
    >>> tempered_log_softmax(torch.tensor([2e9, 0.0]), 1e9).exp()
    tensor([0.8808, 0.1192])
    """
    if not _is_temperature(temperature):
        raise InputError(
            "a temperature is not a positive finite number",
            got=temperature,
            expected="T > 0; 1 leaves the probabilities as they are",
        )
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    if isinstance(temperature, Tensor):
        return torch.log_softmax(shifted / temperature, dim=-1)
    return torch.log_softmax(shifted.div_(temperature), dim=-1)


def _is_temperature(value: float | Tensor) -> bool:
    if isinstance(value, Tensor):
        return bool(((value > 0) & value.isfinite()).all())
    return 0 < value < math.inf


def safe_log(probs: Tensor) -> Tensor:
    """``log p`` with -inf at zero and, unlike ``torch.log``, a zero gradient there."""
    positive = probs > 0
    return probs.masked_fill(~positive, 1.0).log().masked_fill(~positive, -torch.inf)


def log_sum_exp(log_probs: Tensor) -> Tensor:
    """``log sum_j exp(x_j)`` over the last dimension, -inf where it has no positive term.

    Unlike ``torch.logsumexp`` its gradient there is zero rather than NaN.
    """
    if log_probs.shape[-1] == 0:
        return log_probs.new_full(log_probs.shape[:-1], -torch.inf)
    top = log_probs.detach().amax(-1)
    top = top.masked_fill(top == -torch.inf, 0.0)
    return safe_log((log_probs - top.unsqueeze(-1)).exp().sum(-1)) + top


def kl_between(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension, in nats; where p is 0, q and its gradient do not count.

    Both are log-probabilities of one shape.
    """
    none = log_p == -torch.inf
    gap = log_p.masked_fill(none, 0.0) - log_q.masked_fill(none, 0.0)
    return (log_p.exp() * gap).sum(-1)


def complement(subset: Tensor, n_classes: int) -> Tensor:
    """The classes outside ``subset`` in increasing order, int64 of shape (n_classes - k,).

    Raises
    ------
    InputError
        If ``subset`` is not one-dimensional, repeats a class or names one outside
        [0, n_classes).
    """
    check_subset(subset, n_classes)
    outside = torch.ones(n_classes, dtype=torch.bool, device=subset.device)
    outside[subset.long()] = False
    return outside.nonzero().squeeze(-1)


def mean_over_rows(values: Tensor, counts: Tensor | None = None) -> Tensor:
    """Mean of n rows, of which each counts as so many; a scalar.

    Parameters
    ----------
    values : Tensor of shape (n,)
    counts : Tensor of shape (n,), optional
        None: each counts as one.
    """
    return values.mean() if counts is None else (values * counts).sum() / counts.sum()


def check_rows(values: Tensor, what: str, n_columns: int | None = None) -> None:
    """Raise :class:`InputError` unless ``values`` is a real matrix with rows, [n, n_columns]."""
    fits = values.dim() == 2 and values.numel() and values.is_floating_point()
    if not fits or n_columns not in (None, values.shape[1]):
        raise InputError(
            f"the {what} are no matrix with a row for each example",
            got=f"{values.dtype} tensor of shape {tuple(values.shape)}",
            expected=f"real numbers of shape [n, {n_columns or 'n_classes'}], n > 0",
        )


def check_log_probs(log_probs: Tensor, n_before: int = 0) -> None:
    """Raise :class:`InputError` unless rows [n, k] are log-probabilities, of any precision.

    ``n_before`` rows come before them, where these are a part.
    """
    sums = log_probs.float().logsumexp(-1)
    wrong = (~(sums.abs() < LOG_SUM_TOLERANCE)).nonzero().flatten()
    if len(wrong):
        raise InputError(
            "a row holds no log-probabilities",
            where=first_of((wrong + n_before).tolist()),
            got=f"probabilities that sum to {float(sums[wrong[0]].exp()):.3g}",
            expected="1, over the classes, which are the last axis",
            fix="for logits: torch.log_softmax(logits, -1)",
        )


def check_labels(labels: Tensor, n_rows: int, n_classes: int, lowest: int = 0) -> Tensor:
    """The labels as int64 of shape (n_rows,).

    Their values are looked at where they lie on the CPU: a look at a GPU waits for it, and there
    PyTorch itself stops at an index out of range.

    Raises
    ------
    InputError
        If they are no integers, not one for each row, or outside [lowest, n_classes).
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError("the labels are no integers", got=labels.dtype, expected="torch.int64")
    if tuple(labels.shape) != (n_rows,):
        raise InputError(
            "there is not one label for each row",
            got=f"labels of shape {tuple(labels.shape)}",
            expected=f"({n_rows},)",
        )
    labels = labels.long()
    if labels.device.type != "cpu":
        return labels
    wrong = ((labels < lowest) | (labels >= n_classes)).nonzero().flatten()
    if len(wrong):
        raise InputError(
            "a label is none of the classes",
            where=first_of(wrong.tolist()),
            got=int(labels[wrong[0]]),
            expected=f"{lowest} to {n_classes - 1}",
        )
    return labels


def check_subset(subset: Tensor, n_classes: int, where: object = None) -> None:
    """Raise :class:`InputError` unless ``subset`` lists distinct classes of [0, n_classes)."""
    if subset.dim() != 1 or subset.is_floating_point() or subset.dtype == torch.bool:
        raise InputError(
            "a subset is not a list of class indices",
            where=where,
            got=f"{subset.dtype} tensor of shape {tuple(subset.shape)}",
            expected="an integer tensor of one dimension",
        )
    outside = subset[(subset < 0) | (subset >= n_classes)]
    if outside.numel():
        raise InputError(
            "a subset names a class that does not exist",
            where=where,
            got=outside[:5].tolist(),
            expected=f"class indices from 0 to {n_classes - 1}",
        )
    values, counts = subset.unique(return_counts=True)
    if values.numel() != subset.numel():
        raise InputError(
            "a subset lists a class more than once",
            where=where,
            got=values[counts > 1][:5].tolist(),
            expected="every class at most once",
        )


def check_shortlists(classes: Tensor, n_rows: int, n_classes: int, what: str) -> None:
    """Raise :class:`InputError` unless there is a shortlist of some of the classes for each row."""
    if classes.dim() != 2 or classes.dtype != torch.int64 or len(classes) != n_rows:
        raise InputError(
            f"{what} are not one for each row",
            got=f"{classes.dtype} tensor of shape {tuple(classes.shape)}",
            expected=f"torch.int64 of shape ({n_rows}, K)",
        )
    here, after = classes[:, :-1], classes[:, 1:]
    good = ((after > here) & (here >= 0)) | (after == PADDING)
    wrong = ~good.all(1) | (classes[:, :1] < 0).any(1) | (classes >= n_classes).any(1)
    if classes.shape[1] == 0 or bool(wrong.any()):
        rows = wrong.nonzero().flatten().tolist()
        raise InputError(
            f"{what} do not list distinct classes in increasing order",
            where=first_of(rows) if rows else None,
            got=classes[rows[0]].tolist() if rows else "no classes",
            expected=f"classes from 0 to {n_classes - 1}, then {PADDING} where there are no more",
            fix="most_probable_classes(predictions, k) makes them",
        )


def aggregate(log_probs: Tensor, subset: Tensor) -> Tensor:
    """Keep the classes of ``subset`` and merge all others into one dustbin, which comes last.

    The dustbin is ``logsumexp`` over the complement: probabilities are summed, not logits. It is
    -inf where the subset is all classes.

    Parameters
    ----------
    log_probs : Tensor of shape (n, n_classes)
    subset : integer Tensor of shape (k,)
        Distinct class indices; their order is the order of the result's columns.

    Returns
    -------
    Tensor of shape (n, k + 1)

    Raises
    ------
    InputError
        If ``subset`` is not a list of distinct existing classes.

    Examples
    --------
    >>> aggregate(torch.tensor([[0.5, 0.2, 0.3]]).log(), torch.tensor([1])).exp()
    tensor([[0.2000, 0.8000]])
    """
    outside = complement(subset, log_probs.shape[-1])
    dustbin = log_sum_exp(log_probs[..., outside]).unsqueeze(-1)
    return torch.cat([log_probs[..., subset.long()], dustbin], dim=-1)
