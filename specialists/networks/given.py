"""A generalist of which only the predictions are known: a forest's, a language model's, an API's.

Its predictions stand beside the inputs that specialists and students read. The network that stands
for it hands them on: it has no weights, and what its predictions cost is what the user says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs, rows_between
from specialists.datasets.fetched_rows import only_rows
from specialists.errors import InputError, first_of

LEAST = 1e-6  # of a probability; one of 0 could never be right
SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class GivenInputs:
    """n inputs with what the generalist predicts for them.

    Parameters
    ----------
    inputs : Tensor or Ragged of n rows
    log_probs : Tensor of shape (n, C)
    """

    inputs: Inputs
    log_probs: Tensor

    def __len__(self) -> int:
        return len(self.log_probs)

    def __getitem__(self, index: Tensor | slice) -> GivenInputs:
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return GivenInputs(rows_between(self.inputs, start, stop), self.log_probs[index])
        return GivenInputs(only_rows(self.inputs, index), self.log_probs[index])

    def clone(self) -> GivenInputs:
        """The same: nobody changes it."""
        return self

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GivenInputs:
        return GivenInputs(
            self.inputs.to(device, non_blocking=non_blocking),
            self.log_probs.to(device, non_blocking=non_blocking),
        )


class GivenGeneralist(nn.Module):
    """Hands on the predictions that inputs bring.

    Parameters
    ----------
    flops : float, optional
        Of one prediction; None: unknown, which is NaN.
    """

    def __init__(self, flops: float | None = None) -> None:
        super().__init__()
        self.flops = math.nan if flops is None else flops
        self.place = nn.Parameter(torch.empty(0))  # says on which device it is

    def forward(self, given: GivenInputs) -> Tensor:
        return given.log_probs


def plain_inputs(inputs: Inputs | GivenInputs) -> Inputs:
    """What specialists and students read."""
    return inputs.inputs if isinstance(inputs, GivenInputs) else inputs


def given_log_probs(probs: object, n_rows: int, n_classes: int, where: str) -> Tensor:
    """Log-probabilities (n, C), float32, of checked probabilities; none below 1e-6.

    Raises
    ------
    InputError
        If there is not a row for each input and a column for each class, or rows are no
        distributions.
    """
    array = np.asarray(probs)
    if array.shape != (n_rows, n_classes) or array.dtype.kind not in "fiu":
        raise InputError(
            "there is not a probability for each row and class",
            where=where,
            got=f"{array.dtype} of shape {array.shape}",
            expected=f"({n_rows}, {n_classes}), columns in the order of the classes",
        )
    values = array.astype(np.float64)
    wrong = ~(np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE) | (values.min(axis=1) < 0)
    if wrong.any():
        rows = np.flatnonzero(wrong).tolist()
        got = f"smallest {values[rows[0]].min():.6g}, sum {values[rows[0]].sum():.6g}"
        what, fix = "these are no probabilities", "apply softmax to logits, exp to logarithms"
        raise InputError(what, where=f"{where}, {first_of(rows)}", got=got, fix=fix)
    values = np.maximum(values, LEAST)
    logs = np.log(values / values.sum(axis=1, keepdims=True))
    return torch.from_numpy(logs.astype(np.float32))
