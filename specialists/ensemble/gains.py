"""What do specialists add to the log-likelihood of the truth, row by row?"""

from __future__ import annotations

import torch
from torch import Tensor

from specialists.ensemble.candidates import Votes, log_likelihood
from specialists.ensemble.rules import Rule, join

ROUNDING = 1e-5


def own_gains(votes: Votes, labels: Tensor, rule: Rule) -> list[Tensor]:
    """Gain in log-likelihood of the truth by each specialist alone, where the rule selects it.

    Returns
    -------
    list of M float64 Tensors of shape (rows where it votes,)
        In nats.
    """
    active = votes.active(rule)
    return [_own_gain(votes, labels, rule, m, active[:, m]) for m in range(len(votes.subsets))]


def log_likelihood_gain(joined: Tensor, base: Tensor, labels: Tensor) -> Tensor:
    """Log-likelihoods of the truth, joined minus base; what single precision rounds is 0."""
    gain = log_likelihood(joined, labels) - log_likelihood(base, labels)
    return gain.masked_fill(gain.abs() < ROUNDING, 0.0)


def _own_gain(votes: Votes, labels: Tensor, rule: Rule, m: int, active: Tensor) -> Tensor:
    rows = active.nonzero().squeeze(1)
    if not len(rows):
        return torch.zeros(0, dtype=torch.float64)
    generalist, only = votes.generalist[rows], rule.only(m)
    specialist = ([votes.specialists[m][rows]], [votes.subsets[m]])
    votes_here = active[rows, None]
    joined = join(generalist, *specialist, votes_here, only)
    silent = generalist
    if only.learned is not None:
        silent = join(generalist, *specialist, ~votes_here, only)
    return log_likelihood_gain(joined, silent, labels[rows])
