"""How good a network is on validation data, without a sync inside the loop over batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.datasets.base import Inputs


@dataclass(frozen=True)
class ValidationLoss:
    """Weighted cross-entropy and accuracy of a network.

    Parameters
    ----------
    inputs : Tensor or Ragged of n rows
    labels : int64 Tensor of shape (n,)
    weights : Tensor of shape (n,), optional
        Importance of each example; a specialist is judged under the prior it trains with.
    batch_size : int
    """

    inputs: Inputs
    labels: Tensor
    weights: Tensor | None = None
    batch_size: int = 2048

    def __call__(self, network: nn.Module) -> tuple[float, float]:
        """Mean loss in nats and top-1."""
        device = next(network.parameters()).device
        weights = torch.ones(len(self.labels)) if self.weights is None else self.weights
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        with torch.inference_mode():
            for index in torch.arange(len(self.labels)).split(self.batch_size):
                logits = network(self.inputs[index].to(device)).float()
                labels = self.labels[index].to(device)
                weight = weights[index].to(device)
                loss = F.cross_entropy(logits, labels, reduction="none") * weight
                right = (logits.argmax(-1) == labels) * weight
                sums += torch.stack([loss.sum(), right.sum()]).double()
        loss, right = (sums / weights.sum()).tolist()
        return loss, right
