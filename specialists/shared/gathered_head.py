"""A head's logits of a few classes a row: what do they cost, and their gradients?

Row i wants ``head[c] . x_i`` for the classes c of its shortlist only. These are the entries of a
product of matrices at given places, which PyTorch computes as such on a CPU without a copy of
the head's rows. The gradient of the features is a bag of head rows, and that of the head, sorted by
class, of features: no vector is written down for each row and class, whose sums by ``index_put``
take ten times as long.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from specialists.large_tables import zero_table
from specialists.networks import sum_by_row

NUMBERS_AT_A_TIME = 1 << 24  # of gathered rows, on devices that copy them
FEW_LOGITS = 256  # so many are had sooner by a copy of their head rows


def gathered_logits(
    features: Tensor, head: nn.Linear, classes: Tensor, common: Tensor | None = None
) -> Tensor:
    """Logits of classes of its own for each row, then of classes that are common to all rows.

    In the head's precision, also where autocast is on.

    Parameters
    ----------
    features : Tensor of shape (n, d)
        What the head is given.
    head : nn.Linear
        From d numbers to C classes.
    classes : int64 Tensor of shape (n, K)
        Of each row, all in [0, C).
    common : int64 Tensor of shape (B,), optional
        Distinct classes.

    Returns
    -------
    Tensor of shape (n, K) or (n, K + B)
    """
    if common is None:
        common = classes.new_empty(0)
    arguments = (features.to(head.weight.dtype), head.weight, head.bias, classes, common)
    with torch.autocast(features.device.type, enabled=False):
        if not torch.is_grad_enabled():
            return _logits(*arguments)
        return _GatheredLogits.apply(*arguments)


class _GatheredLogits(torch.autograd.Function):
    """``apply(features, weight, bias, classes, common)``: logits with dense, exact gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        classes: Tensor,
        common: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(features, weight, classes, common)
        return _logits(features, weight, bias, classes, common)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        features, weight, classes, common = ctx.saved_tensors
        own = gradient[:, : classes.shape[1]].contiguous()
        shared = gradient[:, classes.shape[1] :]
        of_features = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_features = torch.addmm(_bags(weight, classes, own), shared, weight[common])
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            of_weight, of_bias = _head_gradient(features, weight, classes, own, common, shared)
        return of_features, of_weight, of_bias if ctx.needs_input_grad[2] else None, None, None


def _logits(
    features: Tensor, weight: Tensor, bias: Tensor | None, classes: Tensor, common: Tensor
) -> Tensor:
    own = _products(features.detach(), weight.detach(), classes)
    if bias is not None:
        own = own + bias[classes]
    if not len(common):
        return own
    some = None if bias is None else bias[common]
    return torch.cat([own, F.linear(features, weight[common], some)], dim=1)


def _products(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """``features[i] . weight[classes[i, k]]``, of shape (n, K)."""
    n, width = classes.shape
    if features.device.type == "cpu" and n * width > FEW_LOGITS:
        _silence_notice()
        starts = torch.arange(0, n * width + 1, width)
        places = torch.sparse_csr_tensor(
            starts,
            classes.flatten(),
            features.new_zeros(n * width),
            (n, len(weight)),
            check_invariants=False,
        )
        product = torch.sparse.sampled_addmm(places, features, weight.t(), beta=0.0)
        return product.values().view(n, width)
    n_rows = max(1, NUMBERS_AT_A_TIME // (width * weight.shape[1]))
    pairs = zip(features.split(n_rows), classes.split(n_rows), strict=True)
    return torch.cat([torch.bmm(weight[some], x[:, :, None]).squeeze(2) for x, some in pairs])


def _bags(weight: Tensor, classes: Tensor, factors: Tensor) -> Tensor:
    """``sum over k of factors[i, k] weight[classes[i, k]]``, of shape (n, d)."""
    return F.embedding_bag(classes, weight, mode="sum", per_sample_weights=factors)


def _head_gradient(
    features: Tensor, weight: Tensor, classes: Tensor, own: Tensor, common: Tensor, shared: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the head's weight and bias; of the bias as of a feature that is always 1."""
    n, width = classes.shape
    with_one = torch.cat([features, features.new_ones(n, 1)], dim=1)
    rows = torch.arange(n, device=classes.device).repeat_interleave(width)
    distinct, sums = sum_by_row(classes.flatten(), rows, with_one, own.flatten())
    on_cpu = weight.device.type == "cpu"
    of_weight = zero_table(weight.shape, weight.dtype) if on_cpu else torch.zeros_like(weight)
    of_bias = weight.new_zeros(len(weight))
    of_weight.index_copy_(0, distinct, sums[:, :-1])
    of_bias.index_copy_(0, distinct, sums[:, -1])
    if len(common):
        more = shared.t() @ with_one
        of_weight.index_copy_(0, common, of_weight[common] + more[:, :-1])
        of_bias.index_copy_(0, common, of_bias[common] + more[:, -1])
    return of_weight, of_bias


@functools.cache
def _silence_notice() -> None:
    """PyTorch says once a process that its sparse matrices may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)
