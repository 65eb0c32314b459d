"""A network that answers for the shortlist of each row, and in training for its batch's classes.

What it is given is a :class:`ShortlistedInputs`: inputs with the classes that are asked about. Its
outputs stand in the order of the shortlist; behind them, in training, in that of the negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from specialists.calibration import LEAST_LOGIT
from specialists.datasets.base import Inputs, rows_between
from specialists.networks import head_and_trunk, outputs_of
from specialists.predictions import BATCH_SIZE
from specialists.shared.gathered_head import gathered_logits


@dataclass(frozen=True)
class ShortlistedInputs:
    """Rows of inputs, each with its shortlist.

    Parameters
    ----------
    inputs : Tensor or Ragged of n rows
    classes : int64 Tensor of shape (n, K)
        As :mod:`specialists.shared.shortlists` makes them.
    negatives : int64 Tensor of shape (B,), optional
        Distinct classes that every row is trained against.
    log_inclusion : Tensor of shape (B,), optional
        Log of the probability that a class is among the negatives.
    """

    inputs: Inputs
    classes: Tensor
    negatives: Tensor | None = None
    log_inclusion: Tensor | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: Tensor) -> ShortlistedInputs:
        return ShortlistedInputs(
            self.inputs[index], self.classes[index], self.negatives, self.log_inclusion
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ShortlistedInputs:
        moved = (
            None if part is None else part.to(device, non_blocking=non_blocking)
            for part in (self.inputs, self.classes, self.negatives, self.log_inclusion)
        )
        return ShortlistedInputs(*moved)  # pyright: ignore[reportArgumentType]

    def pin_memory(self) -> ShortlistedInputs:
        parts = (self.inputs, self.classes, self.negatives, self.log_inclusion)
        pinned = (None if part is None else part.pin_memory() for part in parts)
        return ShortlistedInputs(*pinned)  # pyright: ignore[reportArgumentType]


class ShortlistNetwork(nn.Module):
    """The logits of a network's classes that are on a row's shortlist, by its trunk and its head.

    Trunk and head are those of ``network``, not copies. A place of the shortlist that is padding,
    and a negative that is on the row's shortlist, have ``LEAST_LOGIT``. Each other negative's logit
    loses the log of its inclusion probability: the sum of exponentials over shortlist and negatives
    then is that over all classes on average (Horvitz and Thompson 1952).
    """

    def __init__(self, network: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.trunk, self.head = head_and_trunk(network, n_classes)

    def forward(self, asked: ShortlistedInputs) -> Tensor:
        """Logits (n, K), or (n, K + B) where there are B negatives."""
        padded = asked.classes < 0
        classes, features = asked.classes.clamp_min(0), outputs_of(self.trunk, asked.inputs)
        logits = gathered_logits(features, self.head, classes, asked.negatives)
        if asked.negatives is None or asked.log_inclusion is None:
            return logits.masked_fill(padded, LEAST_LOGIT)
        width = classes.shape[1]
        listed = _among(asked.classes, asked.negatives, self.head.out_features)
        hidden = torch.cat([padded, listed], dim=1)
        correction = torch.nn.functional.pad(asked.log_inclusion, (width, 0))
        return (logits - correction).masked_fill(hidden, LEAST_LOGIT)


def _among(classes: Tensor, negatives: Tensor, n_classes: int) -> Tensor:
    """Whether each negative is on a row's shortlist, bool of shape (n, B)."""
    place = torch.full((n_classes,), len(negatives), dtype=torch.int64, device=classes.device)
    place[negatives] = torch.arange(len(negatives), device=classes.device)
    columns = place[classes.clamp_min(0)].masked_fill(classes < 0, len(negatives))
    found = torch.zeros(len(classes), len(negatives) + 1, dtype=torch.bool, device=classes.device)
    return found.scatter_(1, columns, value=True)[:, :-1]


def shortlist_logits(network: ShortlistNetwork, inputs: Inputs, classes: Tensor) -> Tensor:
    """The logits of every row's shortlist, float32 of shape (n, K) on the CPU, in evaluation mode.

    Parameters
    ----------
    network : ShortlistNetwork
    inputs : Tensor or Ragged of n rows
    classes : int64 Tensor of shape (n, K)
    """
    network.eval()
    device = next(network.parameters()).device
    parts = []
    with torch.no_grad():
        for start in range(0, len(classes), BATCH_SIZE):
            stop = min(start + BATCH_SIZE, len(classes))
            rows = cast(Inputs, rows_between(inputs, start, stop))
            asked = ShortlistedInputs(rows, classes[start:stop])
            parts.append(network(asked.to(device)).float().cpu())
    return parts[0] if len(parts) == 1 else torch.cat(parts)
