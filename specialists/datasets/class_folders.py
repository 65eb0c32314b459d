"""Which files of a folder are images of which class and split, and what else lies there?

    FOLDER/cat/*.png  FOLDER/dog/*.jpg                 the splits are cut elsewhere
    FOLDER/train/cat/*.png  FOLDER/test/cat/*.png      as given, for any name in SPLIT_NAMES

A folder with the name of a split that holds images itself, and no folders, may be a class: there
are trains in pictures. What is not used is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specialists.datasets.classes import normalised
from specialists.datasets.naming import listed
from specialists.datasets.pictures import READ, SUFFIXES
from specialists.datasets.splits import SPLIT_NAMES, TRAIN
from specialists.errors import DataError
from specialists.runs import is_run_folder
from specialists.runs.walk import walk

_OF_SYSTEMS = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN")
_OUTSIDE = "images outside class folders"


@dataclass(frozen=True)
class Listing:
    """Image files with the names of their classes.

    Parameters
    ----------
    paths : list of Path, length n
    labels : list of str, length n
        Names of the folders.
    given : int array of shape (n,)
        TRAIN, VALIDATION or TEST; all TRAIN where there are no folders of splits.
    notes : tuple of str
        What was not used, with counts.
    """

    paths: list[Path]
    labels: list[str]
    given: np.ndarray
    notes: tuple[str, ...]


@dataclass
class _Found:
    """What was met on the way: files not used by their kind, empty and nested class folders."""

    unused: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    nested: list[Path] = field(default_factory=list)
    named_as_splits: list[Path] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        notes = []
        if self.named_as_splits:
            told = _names(self.named_as_splits)
            notes.append(f"taken as classes, since they hold no folders: {told}")
        if self.nested:
            notes.append(
                f"images in folders inside class folders have the outer one's class "
                f"({len(self.nested)}), for instance {self.nested[0]}"
            )
        if self.empty:
            notes.append(
                f"folders without images left out ({len(self.empty)}): {listed(self.empty)}"
            )
        if self.unused:
            counted = (f"{kind} ({n})" for kind, n in self.unused.most_common())
            notes.append(f"files and folders not used: {listed(counted)}")
        return tuple(notes)


def list_class_folders(folder: Path) -> Listing:
    """Every image of the class folders in ``folder``, or in its folders of splits.

    Raises
    ------
    DataError
        No class folder holds an image, or folders of splits lie beside others that hold images.
    """
    found = _Found()
    paths: list[Path] = []
    labels: list[str] = []
    given: list[int] = []
    for base, part in _parts(folder, found):
        for kind in _folders(base, found):
            images = _images_below(kind, found)
            if not images:
                found.empty.append(kind.relative_to(folder).as_posix())
            found.nested += [image for image in images if image.parent != kind]
            paths += images
            labels += [kind.name] * len(images)
            given += [part] * len(images)
    if not paths:
        raise DataError(
            "no class folders with images",
            where=folder,
            got="; ".join(found.notes()) or "an empty folder",
            expected=f"FOLDER/<class>/<image>: {READ}",
        )
    if len(set(labels)) == 1 and len(found.nested) == len(paths):
        raise DataError(
            "one class folder, whose images lie in folders of its own",
            where=folder,
            got=paths[0],
            fix=f"is data.images = {str(folder / labels[0])!r} meant?",
        )
    return Listing(paths, labels, np.array(given), found.notes())


def list_images(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Every image in a folder and below, and notes on what is not used."""
    found = _Found()
    return _images_below(folder, found), found.notes()


def _parts(folder: Path, found: _Found) -> list[tuple[Path, int]]:
    """Folders of classes with their part: those of splits, or ``folder`` itself."""
    tops = _folders(folder, _Found())
    named = [top for top in tops if normalised(top.name).casefold() in SPLIT_NAMES]
    others = [top for top in tops if top not in named]
    if not any(_folders(top, _Found()) for top in named):
        if named and not others:
            _refuse_parts("the folders of the splits hold no class folders", folder, tops)
        found.named_as_splits += named
        return [(folder, TRAIN)]
    other_classes = [top for top in others if _images_below(top, _Found())]
    if other_classes:
        raise DataError(
            "folders of splits and other folders with images lie side by side",
            where=folder,
            got=f"{_names(named)} beside {_names(other_classes)}",
            expected="folders of splits (train, validation, test), or folders of classes",
            fix="move the others away, or name the folder of the classes in data.images",
        )
    parts = [(top, SPLIT_NAMES[normalised(top.name).casefold()]) for top in named]
    if TRAIN not in {part for _, part in parts}:
        _refuse_parts("no folder of training images", folder, named)
    _folders(folder, found)
    found.empty += [top.name for top in others]
    return parts


def _refuse_parts(what: str, folder: Path, got: Sequence[Path]) -> None:
    raise DataError(
        what,
        where=folder,
        got=f"the folders {_names(got)}",
        expected="FOLDER/train/<class>/<image>, or FOLDER/<class>/<image>",
    )


def _folders(folder: Path, found: _Found) -> list[Path]:
    """The folders in a folder that may hold classes; everything else there is not used."""
    folders = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not _is_passed_over(entry) and not _leads_back(entry):
            folders.append(entry)
        else:
            found.unused[_OUTSIDE if _is_image(entry) else _kind(entry)] += 1
    return folders


def _images_below(folder: Path, found: _Found) -> list[Path]:
    images = []
    for path in walk(folder, lambda inner: not _is_passed_over(inner)):
        if _is_image(path):
            images.append(path)
        else:
            found.unused[_kind(path)] += 1
    return images


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not _is_of_systems(path) and path.is_file()


def _is_of_systems(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _OF_SYSTEMS


def _is_passed_over(folder: Path) -> bool:
    return _is_of_systems(folder) or is_run_folder(folder)


def _leads_back(folder: Path) -> bool:
    real = folder.parent.resolve()
    return folder.resolve() in (real, *real.parents)


def _kind(path: Path) -> str:
    """What sort of thing an entry that is not used is, in words that a number follows."""
    if path.name in _OF_SYSTEMS:
        return path.name
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "folders of runs" if is_run_folder(path) else "links back to a folder above"
    if path.is_symlink() and not path.exists():
        return "links to nothing"
    return path.suffix.lower() or "without suffix"


def _names(folders: Sequence[Path]) -> str:
    return listed(folder.name for folder in folders)
