"""How does a folder of images become a data set? Every folder in it is a class.

    FOLDER/cat/*.png  FOLDER/dog/*.jpg                 the splits are cut here
    FOLDER/train/cat/*.png  FOLDER/test/cat/*.png      as given; ``val`` or ``validation`` alike

PNG and JPEG, read by Pillow, resampled to ``data.image_size`` (default 32) pixels a side; grey if
no image has colour, RGB otherwise. Hidden files and other suffixes are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specialists.datasets.assembly import Rows, assemble, numbered, same_input
from specialists.datasets.base import Dataset
from specialists.datasets.files import existing, nearest
from specialists.datasets.pixels import SUFFIXES, all_grey, read_images
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION
from specialists.errors import DataError
from specialists.runs import is_run_folder

IMAGE_SIZE = 32
_PARTS = {
    "train": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
}


def load_images(config: Any, seed: int) -> Dataset:
    """The data set of ``config.images``.

    Raises
    ------
    DataError
        No such folder, a class without images, unreadable images, or splits that cannot be made.
    """
    folder = existing(config.images, "folder")
    if not folder.is_dir():
        raise DataError("not a folder", where=folder, expected="one folder a class")
    paths, labels, given = _listed_images(folder)
    codes, names = numbered(labels)
    excluded = _excluded(labels, config.exclude_labels, folder)
    side = config.image_size or IMAGE_SIZE
    channels = 1 if all_grey(paths) else 3
    pixels = read_images(paths, channels, (side, side)).numpy()
    preprocessing = {"kind": "images", "channels": channels, "height": side, "width": side}
    told = ", ".join(config.exclude_labels)
    notes = [f"{int(excluded.sum())} images of {told} left out"] if told else []
    runs = [entry.name for entry in folder.iterdir() if entry.is_dir() and is_run_folder(entry)]
    if runs:
        notes.append(f"folders of runs are no classes, passed over: {', '.join(sorted(runs))}")
    rows = Rows(
        raw=pixels,
        labels=codes,
        names=names,
        groups=same_input(pixels),
        given=np.where(excluded, LEFT_OUT, given),
        texts=[path.relative_to(folder).as_posix() for path in paths],
        notes=tuple(notes),
    )
    return assemble(
        rows,
        config,
        seed,
        name=folder.resolve().name,
        kind="images",
        preprocessing=preprocessing,
        source={"images": folder.resolve().name},
    )


def image_files(folder: Path) -> list[Path]:
    """The PNG and JPEG files in a folder and below, sorted; hidden ones are passed over."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _listed_images(folder: Path) -> tuple[list[Path], list[str], np.ndarray]:
    """Every image with the name of its class and its part."""
    tops = _folders(folder)
    is_split = bool(tops) and "train" in {top.name for top in tops}
    is_split = is_split and all(top.name in _PARTS for top in tops)
    parts = [(top, _PARTS[top.name]) for top in tops] if is_split else [(folder, TRAIN)]
    paths: list[Path] = []
    labels: list[str] = []
    given: list[int] = []
    for base, part in parts:
        for kind in _folders(base):
            found = image_files(kind)
            if not found:
                raise DataError(
                    "a class has no images",
                    where=kind,
                    expected="PNG or JPEG files",
                    fix="remove the folder or fill it",
                )
            paths += found
            labels += [kind.name] * len(found)
            given += [part] * len(found)
    if not paths:
        raise DataError("no class folders", where=folder, expected="FOLDER/<class>/*.png or *.jpg")
    return paths, labels, np.array(given)


def _folders(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and not is_run_folder(entry)
    )


def _excluded(labels: Sequence[str], exclude: Sequence[str], folder: Path) -> np.ndarray:
    for label in exclude:
        if label not in labels:
            near = nearest(label, set(labels))
            raise DataError(
                f"data.exclude_labels names {label!r}, which is no class",
                where=folder,
                fix=f"did you mean {near!r}?" if near else None,
            )
    return np.isin(np.array(labels), list(exclude))
