"""How are files of a finished result removed so that it still stands, and made again when needed?

A list beside them says which they were, see :mod:`specialists.files.cleaned`. Results that are to
be made again, or go on, must not count as whole: their lists are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from specialists.files.artifacts import sha256, write_json
from specialists.files.cleaned import REMOVED, removed_files
from specialists.files.ownership import MANIFEST, WRITTEN, json_object, recorded_outputs, recording

from .removal import clear


def remove_for_good(stage: Path, files: Iterable[Path]) -> None:
    """Remove files of a finished stage, each after it was listed with its SHA-256."""
    for file in files:
        owner = next(
            folder for folder in file.parents if (folder / WRITTEN).is_file() or folder == stage
        )
        listed = {**json_object(file.parent / REMOVED), file.name: sha256(file)}
        with recording(owner):
            write_json(file.parent / REMOVED, listed)
        file.unlink()


def forget_removed(stage: Path) -> list[Path]:
    """Let what lacks files in a stage be made again; the folders of results inside it that do."""
    lacking = []
    for folder in sorted({file.parent for file, _ in removed_files(stage)}):
        unit = next((f for f in (folder, *folder.parents) if _is_unit(f, stage)), None)
        if unit is None:
            (folder / REMOVED).unlink()
        elif unit not in lacking:
            lacking.append(unit)
    for unit in lacking:
        clear(unit)
    return lacking


def _is_unit(folder: Path, stage: Path) -> bool:
    """Whether a folder inside of a stage is a result of its own."""
    inside = stage in folder.parents
    return inside and (folder / MANIFEST).is_file() and recorded_outputs(folder) is not None
