"""One seed's measured models as files: an interrupted benchmark asks no model twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from specialists.files import read_array, read_json, write_array, write_json
from specialists.training import TrainingCost

from ..runs import ensure_result
from .measured import Measured

ARRAYS, NUMBERS = ("right", "nll", "groups"), "models.json"


def kept_models(
    folder: Path, key: Mapping[str, object], measure: Callable[[], dict[str, Measured]]
) -> dict[str, Measured]:
    """What ``measure`` gives, read from a folder where it stands for ``key``."""
    ensure_result(folder, key, lambda place: _write(place, measure()))
    return _read(folder)


def _write(folder: Path, models: Mapping[str, Measured]) -> None:
    """All of a seed's models have the same rows: arrays of (models, n), and groups of (n,)."""
    first = next(iter(models.values()))
    write_array(folder / "right.npy", np.stack([model.right > 0 for model in models.values()]))
    write_array(folder / "nll.npy", np.stack([model.nll for model in models.values()]))
    if first.groups is not None:
        write_array(folder / "groups.npy", first.groups)
    numbers = [field.name for field in dataclasses.fields(Measured) if field.name not in ARRAYS]
    records = {
        name: {each: getattr(model, each) for each in numbers}
        | {"training": model.training.to_dict()}
        for name, model in models.items()
    }
    write_json(folder / NUMBERS, records)


def _read(folder: Path) -> dict[str, Measured]:
    right, nll = (np.asarray(read_array(folder / f"{name}.npy")) for name in ("right", "nll"))
    file = folder / "groups.npy"
    groups = np.asarray(read_array(file)) if file.is_file() else None
    models = {}
    for i, (name, record) in enumerate(read_json(folder / NUMBERS).items()):
        record["training"] = TrainingCost.from_dict(record["training"])
        models[name] = Measured(
            right=right[i].astype(np.float64), nll=nll[i], groups=groups, **record
        )
    return models
