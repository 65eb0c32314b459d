"""Which specialists vote on an example, and by which rule their votes are joined.

The n most probable classes of the generalist select the specialists whose subset meets them
(Hinton et al. 2015, section 5.4). The votes are joined by the exact KL minimiser, or by standing
the specialists' subset parts side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from specialists.combination import combine, side_by_side


@dataclass(frozen=True)
class Rule:
    """How specialists are selected and joined.

    Parameters
    ----------
    rule : {"kl", "side_by_side"}
    n : int or None
        Most probable classes of the generalist that select specialists; None: all specialists.
    weight : float
        v, the weight of each specialist beside the generalist's 1; without effect side by side.
    """

    rule: str
    n: int | None
    weight: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


PAPER = Rule("kl", 1, 1.0)


def active_specialists(log_probs: Tensor, subsets: Sequence[Tensor], n: int | None) -> Tensor:
    """Which specialists' subsets meet the n most probable classes of each row.

    Parameters
    ----------
    log_probs : Tensor of shape (rows, C)
        The generalist's.
    subsets : sequence of M int64 Tensors
    n : int or None
        None: all specialists, everywhere.

    Returns
    -------
    bool Tensor of shape (rows, M)
    """
    if n is None:
        return torch.ones(len(log_probs), len(subsets), dtype=torch.bool)
    member = torch.zeros(log_probs.shape[1], len(subsets), dtype=torch.bool)
    for m, subset in enumerate(subsets):
        member[subset, m] = True
    top = log_probs.topk(min(n, log_probs.shape[1]), dim=1).indices
    return member[top].any(1)


def join(
    generalist: Tensor,
    specialists: Sequence[Tensor],
    subsets: Sequence[Tensor],
    active: Tensor,
    rule: Rule,
) -> Tensor:
    """One distribution over all classes, log-probabilities [n, C], by a rule."""
    if rule.rule == "side_by_side":
        return side_by_side(generalist, specialists, subsets, active)
    weights = torch.full((len(subsets),), rule.weight, dtype=generalist.dtype)
    return combine(generalist, specialists, subsets, active, weights).log_probs


def mean_flops(generalist: float, each: Tensor, active: Tensor) -> float:
    """Mean inference FLOPs of an ensemble over rows with these active sets."""
    return generalist + float(active.double().mean(0) @ each)
