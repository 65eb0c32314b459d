"""A fitted classifier as a folder of plain files, which ``specialists.load`` reads back.

The folder is one that ``specialists predict`` takes too. Beside it stand ``estimator.json`` and the
labels as the user wrote them; nothing in it is code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specialists.errors import InputError
from specialists.files import atomic_write, read_array, read_json, write_array, write_json
from specialists.networks import fitting

from .held_run import HeldRun
from .runs import RUN, claimed
from .runs.folder_kinds import check_claimable

ABOUT, LABELS = "estimator.json", "labels.npy"
PLAIN = (str, int, float, bool)


@dataclass(frozen=True)
class SavedEstimator:
    """What a folder holds.

    Parameters
    ----------
    parameters : dict
        Of the estimator's constructor; those that no file can hold are left out.
    classes : array of shape (n_classes,)
    state : dict
        What was learned beside models and classes, JSON-able.
    held : HeldRun
    """

    parameters: Mapping[str, Any]
    classes: np.ndarray
    state: Mapping[str, Any]
    held: HeldRun


def save_estimator(saved: SavedEstimator, folder: Path) -> None:
    """Write what prediction needs.

    Raises
    ------
    InputError
        If the folder holds something else, or no file can hold the labels or the network.
    """
    for function in saved.held.functions.values():
        raise InputError(
            "a file cannot hold this network's function",
            got=repr(function),
            fix="define it in a module that can be imported, or pickle the classifier",
        )
    check_claimable(folder, RUN)
    plain = saved.classes.dtype.kind != "O"
    about = {
        "parameters": {k: v for k, v in saved.parameters.items() if _is_plain(v)},
        "labels": None if plain else _plain_labels(saved.classes),
        "state": dict(saved.state),
    }
    files = saved.held.files()
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder, RUN):
        for name, content in files.items():
            with atomic_write(folder / name) as temporary:
                temporary.write_bytes(content)
        if plain:
            write_array(folder / LABELS, saved.classes)
        write_json(folder / ABOUT, about)


def read_estimator(folder: Path, trust_code: bool) -> SavedEstimator:
    """What :func:`save_estimator` wrote; models are read, and checked, when they are asked for.

    Raises an InputError if the description is damaged.
    """
    about = read_json(folder / ABOUT)
    with fitting(folder):
        labels = about["labels"]
        if labels is None:
            classes = np.array(read_array(folder / LABELS))
        else:
            classes = np.empty(len(labels), dtype=object)
            classes[:] = labels
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in (".json", ".toml", ".safetensors") and path.name != ABOUT
        }
        held = HeldRun.from_files(files, {}, trust_code, folder)
        return SavedEstimator(dict(about["parameters"]), classes, dict(about["state"]), held)


def _plain_labels(labels: np.ndarray) -> list[Any]:
    strange = [label for label in labels.tolist() if not isinstance(label, PLAIN)]
    if strange:
        raise InputError(
            "a file cannot hold labels of this type",
            got=f"{type(strange[0]).__name__} {strange[0]!r}",
            expected="strings, numbers, booleans, dates of NumPy",
            fix="pickle the classifier",
        )
    return labels.tolist()


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, PLAIN)
