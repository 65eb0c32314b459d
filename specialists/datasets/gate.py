"""Which validation rows are put aside for the gate, the test whether specialists help?

Early stopping, calibration, clusters and the choice of a rule all look at the validation split, so
what it says of the ensemble flatters the ensemble. The gate's rows are taken out of it before any
of that: seeded, stratified by label, units of chance whole and all with the same probability. Every
class keeps at least one validation row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from specialists.datasets.assembly import take
from specialists.datasets.base import Dataset
from specialists.datasets.groups import input_groups
from specialists.datasets.stratified import Draw, draw_groups
from specialists.runtime import derive_seed


def hold_out_gate(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Move about ``fraction`` of the validation rows to the split ``gate``.

    A data set that brings a gate of its own keeps it; with a fraction of 0 there is none.

    Parameters
    ----------
    dataset : Dataset
    fraction : float
        In [0, 1).
    seed : int
    """
    if dataset.gate is not None or fraction == 0:
        return dataset
    validation, notes = dataset.validation, dataset.notes
    drawn = _draw(dataset, validation.groups, fraction, seed)
    if validation.groups is not None and not drawn.held.any():
        notes += ("no unit of chance can be spared whole, so the gate's rows are drawn by input",)
        drawn = _draw(dataset, None, fraction, seed)
    rows, kept = np.flatnonzero(drawn.held), np.flatnonzero(~drawn.held)
    told = f"{len(rows)} of {len(validation)} validation rows put aside for the gate "
    told += "(data.gate_fraction)"
    if not len(rows):
        return replace(dataset, notes=(*dataset.notes, f"{told}: no class can spare one"))
    return replace(
        dataset,
        validation=take(validation, kept),
        gate=take(validation, rows),
        notes=(*notes, told, *drawn.notes("the gate")),
    )


def _draw(dataset: Dataset, units: Tensor | None, fraction: float, seed: int) -> Draw:
    """Draw validation rows by their units of chance, or (None) by their inputs."""
    validation = dataset.validation
    groups = input_groups(validation.inputs) if units is None else units.numpy()
    generator = np.random.default_rng(derive_seed(seed, "gate"))
    return draw_groups(validation.labels.numpy(), groups, fraction, 0, 1, generator)
