"""How is an old result removed, and nothing else?

Only what a list or a manifest of ours names is deleted, see :mod:`specialists.files.ownership`,
and links are never followed. The order is such that a process killed at any moment leaves no half
of a result that looks whole, and no file of ours that is in no list.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from specialists.errors import InputError
from specialists.files.ownership import (
    ANYTHING,
    MANIFEST,
    WRITTEN,
    Record,
    is_output_folder,
    owned_names,
    recorded_outputs,
    refuse_link,
    written_names,
)

from .folder_kinds import LOCK, kind_of

TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{8}-(.+)")


def clear(folder: Path, units: bool = True) -> int:
    """Remove what this program wrote in a folder of results, and the folders that this empties.

    Without ``units``, inner folders with a manifest of their own stay, since they may still hold.
    Returns how many files of others are left there. Raises an InputError if a link is in the way;
    then nothing is removed.
    """
    _refuse_links(folder, units)
    if not folder.is_dir():
        return 0
    record = Record(folder)
    record.save()  # the manifest, which names what is ours, goes first
    inner = list(own_folders(folder))
    kept = [] if units else [path for path in inner if recorded_outputs(path) is not None]
    if MANIFEST in record.names:
        (folder / MANIFEST).unlink(missing_ok=True)
    left = sum(clear(path) for path in inner if path not in kept)
    remove_leftovers(folder)
    for name in sorted(record.names - {ANYTHING}, reverse=True):
        if not any(path in (folder / name).parents for path in kept):
            _remove(folder, name)
    left += _count_others(folder, kept)
    if ANYTHING not in record.names:
        (folder / WRITTEN).unlink(missing_ok=True)
    _remove_if_empty(folder)
    return left


@contextmanager
def withdrawn_if_refused(folder: Path, new: Iterable[Path]) -> Iterator[None]:
    """Leave no folder behind if an InputError ends the block before any result is finished.

    ``new`` are the folders that were not there before, the innermost first; where ``folder`` is
    none of them, everything stays.
    """
    new = list(new)
    try:
        yield
    except InputError:
        if folder in new and not any(folder.rglob(MANIFEST)):
            clear(folder)
            (folder / LOCK).unlink(missing_ok=True)
            for place in new:
                if not _remove_if_empty(place):
                    break
        raise


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it, as far as they are not there, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def result_files(folder: Path) -> Iterator[str]:
    """Names of the files of a finished result and its inner ones, each manifest after the rest."""
    outputs = recorded_outputs(folder) or {}
    for name in sorted({*outputs, "timing.jsonl", "timing-stage.json"}):
        if name.endswith(f"/{MANIFEST}"):
            inner = name.removesuffix(MANIFEST)
            yield from (inner + deeper for deeper in result_files(folder / inner))
        elif (folder / name).is_file() and ".." not in Path(name).parts:
            yield name
    yield MANIFEST


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left of the files that this folder's list names.

    No writer may be at work there.
    """
    names = Record(folder).names
    for place in {(folder / name).parent for name in names}:
        if place.is_symlink() or not place.is_dir():
            continue
        for path in place.iterdir():
            match = TEMPORARY.fullmatch(path.name)
            if match is None or path.is_symlink() or not path.is_file():
                continue
            if (place / match[1]).relative_to(folder).as_posix() in names:
                path.unlink()


def is_own(folder: Path) -> bool:
    """Whether a folder holds a result of ours, or what is left of an attempt to make one."""
    return written_names(folder) is not None or bool(owned_names(folder))


def own_folders(folder: Path) -> Iterator[Path]:
    """The outermost folders below that have a list or manifest of their own; no run folders."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir() or is_output_folder(path) or kind_of(path):
            continue
        if is_own(path):
            yield path
        else:
            yield from own_folders(path)


def _remove(folder: Path, name: str) -> None:
    """Remove a file, and the folders below ``folder`` that held nothing else."""
    file = folder / name
    if file.is_symlink() or file.is_file():
        file.unlink()
    for parent in file.parents:
        if parent == folder or not _remove_if_empty(parent):
            return


def _remove_if_empty(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:  # something is left in it, or it is not there
        return not folder.exists()
    return True


def _refuse_links(folder: Path, units: bool) -> None:
    """Refuse links on the way to what would be removed."""
    refuse_link(folder)
    names = owned_names(folder) | set((units and recorded_outputs(folder)) or ())
    for name in names:
        if ".." not in Path(name).parts:
            for parent in Path(name).parents[:-1]:
                refuse_link(folder / parent)
    for unit in own_folders(folder) if folder.is_dir() else ():
        if units or recorded_outputs(unit) is None:
            _refuse_links(unit, True)


def _count_others(folder: Path, kept: list[Path]) -> int:
    n_others = 0
    for place, folders, files in os.walk(folder):
        inside = [Path(place, name) for name in folders]
        folders[:] = [path.name for path in inside if path not in kept and not path.is_symlink()]
        n_others += len(files) + sum(path.is_symlink() for path in inside)
    return n_others - (folder / WRITTEN).exists()
