"""Which few classes stand for a teacher's prediction of a row, and for how much each?

Of a row with probabilities p, m classes are drawn: class j with the chance min(1, p_j / tau), where
tau is such that the chances sum to m. A class with p_j >= tau is always drawn and stands for p_j,
any other for tau; they sum to 1. These shares are rounded at random to counts n_j with the sum N.
So n_j / N is p_j on average, and its variances over the classes sum to at most

    sum of p_j (tau - p_j) over classes with p_j < tau,   and m / (4 N^2) for the rounding.

The gradient of the cross-entropy is softmax(z) less the target, so this is the variance of the
gradient in z. The first part is the least that m classes allow whose shares are unbiased. m draws
with repetitions have (1 - sum of p_j^2) / m, and p itself is the best that these can be drawn from.

Source: Cohen, Duffield, Kaplan, Lund, Thorup 2009, "Stream sampling for variance-optimal estimation
of subset sums"; draws for distillation: Anshumann et al. 2025, "Sparse Logit Sampling".
"""

from __future__ import annotations

import torch
from torch import Tensor

N_PARTS = 255  # N: a count fits in one byte


def drawn_classes(probs: Tensor, m: int, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Classes int64 (n, k) in increasing order, and their counts (n, k), which sum to N; k <= m.

    Parameters
    ----------
    probs : Tensor of shape (n, C)
        Of sum 1.
    m : int
        Classes a row; all of them, if C is less.
    uniform : Tensor of shape (n, 2)
        Random numbers in [0, 1) that decide everything.

    Notes
    -----
    One random number draws all classes of a row: on the line on which chances lie one after the
    other, it is the first of m points at distance 1. A row in which fewer than m classes have any
    probability repeats the last class, with a count of 0.
    """
    p, (first, offset) = probs.double(), uniform.double().split(1, dim=1)
    m = min(m, p.shape[1])
    tau = _threshold(p, m)
    ends = (p / tau).clamp_max_(1.0).cumsum(1)
    points = torch.arange(m) + first
    classes = torch.searchsorted(ends, points, right=True).clamp_max_(p.shape[1] - 1)
    shares = p.gather(1, classes).maximum(tau) * (points < ends[:, -1:])
    until = shares.cumsum(1)
    counts = (until / until[:, -1:] * N_PARTS + offset).floor()
    return classes, counts.diff(dim=1, prepend=torch.zeros(len(p), 1, dtype=counts.dtype))


def _threshold(p: Tensor, m: int) -> Tensor:
    """Tau of each row, (n, 1), at which min(1, p_j / tau) sums to m, or to the classes with any.

    With the i most probable classes above it, it is the rest of the mass over m - i; i is the first
    for which the next class lies below.
    """
    largest, which = p.topk(m, dim=1)
    others = p.scatter(1, which, 0.0).sum(1, keepdim=True)
    rest = others + largest.flip(1).cumsum(1).flip(1)  # 1 less the larger ones would cancel
    left = torch.arange(m, 0, -1)
    below = largest * left <= rest
    tau = (rest / left).gather(1, below.int().argmax(1, keepdim=True))
    return tau.clamp_min(torch.finfo(p.dtype).tiny)
