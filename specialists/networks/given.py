"""A generalist of which only the predictions are known: a forest's, a language model's, an API's.

Its predictions stand beside the inputs that specialists and students read. The network that stands
for it hands them on: it has no weights, and what its predictions cost is what the user says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs, rows_between
from specialists.datasets.fetched_rows import only_rows
from specialists.errors import InputError, first_of

LEAST = 1e-6  # of a probability; one of 0 could never be right
SUM_TOLERANCE = 0.01
BLOCK_VALUES = 1 << 22


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


def given_log_probs(
    probs: object,
    n_rows: int,
    n_classes: int,
    where: str,
    *,
    rows: np.ndarray | None = None,
    columns: Sequence[int] | None = None,
) -> Tensor:
    """Log-probabilities (n, C), float32, of checked probabilities; none below 1e-6.

    Parameters
    ----------
    probs : array of shape (n_rows, n_classes)
        Probabilities, or their natural logarithms. What is not asked for is not read.
    where : str
        For messages.
    rows, columns : arrays of int, optional
        Those that are wanted, in this order. None: all.

    Raises
    ------
    InputError
        If there is not a row for each input and a column for each class, or rows are no
        distributions.
    """
    array = np.asarray(probs)
    if array.dtype.kind not in "fiu":
        raise InputError("probabilities are numbers", where=where, got=f"dtype {array.dtype}")
    if array.shape != (n_rows, n_classes):
        raise InputError(
            "there is not a probability for each row and class",
            where=where,
            got=f"shape {array.shape}",
            expected=f"({n_rows}, {n_classes}), a column for each class",
        )
    rows = np.arange(n_rows) if rows is None else rows
    order = slice(None) if columns is None else list(columns)
    logs = torch.empty((len(rows), n_classes), dtype=torch.float32)
    size = max(1, BLOCK_VALUES // n_classes)
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        block = _as_probabilities(array[some].astype(np.float64), some, where)
        block = np.maximum(block, LEAST)
        block = np.log(block / block.sum(axis=1, keepdims=True))[:, order]
        logs[start : start + size] = torch.from_numpy(block)
    return logs


def _as_probabilities(values: np.ndarray, rows: np.ndarray, where: str) -> np.ndarray:
    """Checked probabilities of some rows; a row without a positive number holds logarithms."""
    logarithms = values.max(axis=1) <= 0
    values[logarithms] = np.exp(values[logarithms])
    sums, least = values.sum(axis=1), values.min(axis=1)
    softmax = "apply softmax to logits"
    faults = (
        ("missing numbers (NaN)", np.isnan(sums), "leave these rows out, or predict them again"),
        ("negative numbers", least < 0, softmax),
        ("rows that do not add up to 1", ~(np.abs(sums - 1) <= SUM_TOLERANCE), softmax),
    )
    for what, wrong, fix in faults:
        if wrong.any():
            first = int(wrong.argmax())
            missing = int(np.isnan(values[first]).sum())
            numbers = f"smallest {least[first]:.6g}, sum {sums[first]:.6g}"
            raise InputError(
                f"these are no probabilities: {what}",
                where=f"{where}, {first_of(rows[wrong].tolist())}",
                got=f"{missing} of {len(values[first])} numbers missing" if missing else numbers,
                expected="of each row, probabilities that add up to 1, or their logarithms",
                fix=fix,
            )
    return values
