"""Which validation rows are put aside for the gate, the test whether specialists help?

Early stopping, calibration, clusters and the choice of a rule all look at the validation split, so
what it says of the ensemble flatters the ensemble. The gate's rows are taken out of it before any
of that: seeded, stratified by label, rows with the same input on the same side. A class of v rows
gives floor(fraction * v) of them; what rounding leaves over is drawn from classes that can spare
one row more. Every class keeps at least one validation row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from specialists.datasets.assembly import take
from specialists.datasets.base import Dataset
from specialists.datasets.groups import input_groups
from specialists.datasets.stratified import drawn_rows
from specialists.runtime import derive_seed

_ROUNDING = 1e-9


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
    generator = np.random.default_rng(derive_seed(seed, "gate"))
    validation = dataset.validation

    def targets(share: np.ndarray) -> np.ndarray:
        return _targets(share, fraction, generator)

    groups = input_groups(validation.inputs)
    held = drawn_rows(validation.labels.numpy(), groups, targets, 0, 1, generator)
    rows, kept = np.flatnonzero(held), np.flatnonzero(~held)
    note = f"{len(rows)} of {len(held)} validation rows put aside for the gate (data.gate_fraction)"
    if not len(rows):
        return replace(dataset, notes=(*dataset.notes, f"{note}: no class can spare one"))
    return replace(
        dataset,
        validation=take(validation, kept),
        gate=take(validation, rows),
        notes=(*dataset.notes, note),
    )


def _targets(share: np.ndarray, fraction: float, generator: np.random.Generator) -> np.ndarray:
    """Rows that each class gives; together about ``fraction`` of all."""
    wanted = fraction * share
    target = np.floor(wanted + _ROUNDING)
    over = np.where(share - target > 1, np.maximum(wanted - target, 0.0), 0.0)
    spare = np.flatnonzero(over)
    n = min(round(float(wanted.sum() - target.sum())), len(spare))
    if n > 0:
        odds = over[spare] / over[spare].sum()
        target[generator.choice(spare, n, replace=False, p=odds)] += 1
    return target
