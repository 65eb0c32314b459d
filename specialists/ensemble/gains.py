"""What do specialists add to the log-likelihood of the true label, row by row?"""

from __future__ import annotations

import torch
from torch import Tensor

from specialists.ensemble.candidates import log_likelihood
from specialists.ensemble.members import MemberPredictions
from specialists.ensemble.rules import CombinationRule, join
from specialists.predictions import Predictions

ROUNDING = 1e-5


def specialist_gains(
    predictions: MemberPredictions, labels: Tensor, rule: CombinationRule
) -> list[Tensor]:
    """Gain in log-likelihood of the truth by each specialist alone, where the rule asks it.

    Returns
    -------
    list of M float64 Tensors of shape (rows where it is asked,)
        In nats.
    """
    active = predictions.active(rule)
    return [
        _gain_alone(predictions, labels, rule, m, active[:, m])
        for m in range(len(predictions.subsets))
    ]


def log_likelihood_gain(joined: Predictions, base: Predictions, labels: Tensor) -> Tensor:
    """Log-likelihoods of the truth, joined minus base; what single precision rounds is 0."""
    gain = log_likelihood(joined, labels) - log_likelihood(base, labels)
    return gain.masked_fill(gain.abs() < ROUNDING, 0.0)


def _gain_alone(
    predictions: MemberPredictions, labels: Tensor, rule: CombinationRule, m: int, active: Tensor
) -> Tensor:
    rows = active.nonzero().squeeze(1)
    if not len(rows):
        return torch.zeros(0, dtype=torch.float64)
    generalist, only = predictions.generalist[rows], rule.only(m)
    specialist = ([predictions.specialists[m][rows]], [predictions.subsets[m]])
    active_here = active[rows, None]
    joined = join(generalist, *specialist, active_here, only)
    silent = generalist
    if only.learned is not None:
        silent = join(generalist, *specialist, ~active_here, only)
    return log_likelihood_gain(joined, silent, labels[rows])
