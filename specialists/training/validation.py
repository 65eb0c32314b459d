"""How good is a network on validation data, once its temperature is right?

Every model is calibrated after training, so epochs are compared by the loss that calibration
leaves: the mean negative log-likelihood at the temperature that minimises it. The plain loss stops
too early: a network that grows overconfident still learns to tell classes apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specialists.calibration import fit_temperature, tempered_loss
from specialists.datasets.base import Inputs
from specialists.datasets.fetched_rows import block_rows
from specialists.networks import outputs_of


@dataclass(frozen=True)
class ValidationLoss:
    """Weighted, calibrated cross-entropy and accuracy of a network.

    Parameters
    ----------
    inputs : Tensor, Ragged or FetchedRows of n rows
    labels : int64 Tensor of shape (n,)
    weights : Tensor of shape (n,), optional
        Importance of each example; a specialist is judged under the prior it trains with.
    counts : Tensor of shape (n,), optional
        How many examples each row counts as; None: one.
    """

    inputs: Inputs
    labels: Tensor
    weights: Tensor | None = None
    counts: Tensor | None = None
    batch_size: int = 2048

    def __call__(self, network: nn.Module) -> tuple[float, float]:
        """Mean loss in nats at the best temperature, and top-1; NaN where outputs are."""
        device = next(network.parameters()).device
        with torch.no_grad():
            size = block_rows(self.inputs, self.batch_size)
            index = torch.arange(len(self.labels)).split(size)
            batches = (self.inputs[rows] for rows in index)
            logits = torch.cat([outputs_of(network, rows.to(device)).float() for rows in batches])
            if not torch.isfinite(logits).all():
                return math.nan, math.nan
            labels = self.labels.to(device)
            ones = torch.ones_like(labels, dtype=torch.float32)
            weights = ones if self.weights is None else self.weights.to(device)
            counts = None if self.counts is None else self.counts.to(device)
            temperature = fit_temperature(logits, labels, weights, counts)
            weights = weights if counts is None else weights * counts
            right = ((logits.argmax(-1) == labels) * weights).sum() / weights.sum()
            return tempered_loss(logits, labels, temperature, weights), right.item()
