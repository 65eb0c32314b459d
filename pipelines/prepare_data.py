"""Data from any source -> ``RUN/prepare-data``: splits, class names, encoded inputs."""

from __future__ import annotations

import warnings
from dataclasses import replace

from specialists.datasets import load_dataset, save_dataset
from specialists.errors import DataWarning
from specialists.files import check_trusted
from specialists.networks import attach_predictions, flattery, hardness
from specialists.uncertainty import rows_in_groups

from .runs import Run
from .terminal import log

NOT_STANDARDISED = (
    "features are not standardised, since generalist.weights was trained elsewhere on them "
    "(data.standardize = true asks for it)"
)


def execute(run: Run) -> None:
    """Load, split and encode the data set."""
    data = run.config.as_trained().data
    if data.factory:
        check_trusted(data.factory, data.options, run.config_file)
    dataset = run.dataset or load_dataset(data, run.config.seed)
    given = run.config.generalist
    if given.predictions is not None:
        dataset = attach_predictions(dataset, given.predictions, given.classes)
    notes = list(dataset.notes)
    if dataset.kind == "features" and data != run.config.data:
        notes.append(NOT_STANDARDISED)
    splits = dataset.splits.items()
    if any(split.n_groups < len(split) for _, split in splits):
        sizes = (f"{name} {rows_in_groups(len(split), split.n_groups)}" for name, split in splits)
        notes.append(", ".join(sizes))
    for note in notes:
        log.info(f"prepare-data: {note}")
    doubts = (flattery, hardness) if dataset.train.predictions is not None else ()
    for note in filter(None, (doubt(dataset) for doubt in doubts)):
        warnings.warn(note, DataWarning, stacklevel=2)
        dataset = replace(dataset, notes=(*dataset.notes, note))
    save_dataset(dataset, run.path("prepare-data"))
