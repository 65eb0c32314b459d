"""Which validation rows are put aside for the admission test, whether specialists help?

Early stopping, calibration, clusters and the choice of a rule all look at the validation split, so
what it says of the ensemble flatters the ensemble. The rows of the admission test are taken out of
it before any of that: seeded, stratified by label, units of chance whole and all with the same
probability. Every class keeps at least one validation row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from specialists.datasets.assembly import take
from specialists.datasets.base import Dataset
from specialists.datasets.observations import input_groups
from specialists.datasets.stratified import Draw, draw_groups
from specialists.runtime import derive_seed


def hold_out_admission_rows(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Move about ``fraction``, in [0, 1), of the validation rows to the split ``admission``.

    A data set that brings such rows of its own keeps them; with a fraction of 0 there is none.
    """
    if dataset.admission is not None or fraction == 0:
        return dataset
    validation, notes = dataset.validation, list(dataset.notes)

    def draw(groups: np.ndarray) -> Draw:
        generator = np.random.default_rng(derive_seed(seed, "gate"))  # as ever: the same rows
        return draw_groups(validation.labels.numpy(), groups, fraction, 0, 1, generator)

    if validation.groups is None:
        drawn = draw(input_groups(validation.inputs))
    else:
        drawn = draw(validation.groups.numpy())
        if not drawn.held.any():
            reason = "no unit of chance can be spared whole"
            notes.append(f"{reason}, so the admission rows are drawn by input")
            drawn = draw(input_groups(validation.inputs))
    rows, kept = np.flatnonzero(drawn.held), np.flatnonzero(~drawn.held)
    count = f"{len(rows)} of {len(validation)} validation rows put aside for the admission test"
    count += " (data.admission_fraction)"
    if not len(rows):
        return replace(dataset, notes=(*dataset.notes, f"{count}: no class can spare one"))
    return replace(
        dataset,
        validation=take(validation, kept),
        admission=take(validation, rows),
        notes=(*notes, count, *drawn.notes("the admission test")),
    )
