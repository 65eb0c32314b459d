"""Models that are measured on some rows at a time: never are all rows joined at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from specialists.predictions import ModelOutputs

from .measured import Measured, MeasuredRun

PIECE = 8_192  # rows
Name = TypeVar("Name", bound=Hashable)


def measured_in_pieces(
    seed: MeasuredRun, ask: Callable[[Tensor], Mapping[Name, tuple[ModelOutputs, str]]]
) -> dict[Name, Measured]:
    """Models by name: ``ask`` says what each predicts for some rows, and a word on what it is."""
    pieces: dict[Name, list[Measured]] = {}
    for rows in torch.arange(len(seed.labels)).split(PIECE):
        for name, (outputs, about) in ask(rows).items():
            pieces.setdefault(name, []).append(seed.measured(outputs, about, rows.numpy()))
    return {name: _together(each) for name, each in pieces.items()}


def _together(pieces: Sequence[Measured]) -> Measured:
    """All rows of a model; its inference costs the mean of all rows."""
    groups = [piece.groups for piece in pieces if piece.groups is not None]
    n_rows = [len(piece.right) for piece in pieces]
    return dataclasses.replace(
        pieces[0],
        right=np.concatenate([piece.right for piece in pieces]),
        nll=np.concatenate([piece.nll for piece in pieces]),
        groups=np.concatenate(groups) if groups else None,
        inference_flops=float(np.average([p.inference_flops for p in pieces], weights=n_rows)),
    )
