"""How does a folder of images become a data set? Every folder in it is a class.

    FOLDER/cat/*.png  FOLDER/dog/*.jpg                 the splits are cut here
    FOLDER/train/cat/*.png  FOLDER/test/cat/*.png      as given, for any name in SPLIT_NAMES

A folder with the name of a split that holds images itself, and no folders, may be a class: there
are trains in pictures. Pictures are resampled to ``data.image_size`` (default 32) pixels a side;
grey if no file has colour, RGB otherwise. What is not used is counted. Pictures that would take
more than a quarter of the memory are decoded each time that a batch of them is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specialists.config import DataConfig
from specialists.config.toml import IMAGE_SUFFIXES, how_to_name_data
from specialists.datasets.assembly import LabelledRows, assemble
from specialists.datasets.base import Dataset
from specialists.datasets.class_names import classes_of, labels_left_out, normal_form
from specialists.datasets.naming import existing
from specialists.datasets.observations import digests
from specialists.datasets.pictures import (
    READ,
    ReadFiles,
    decoded_pictures,
    read_pictures,
)
from specialists.datasets.raw_rows import PART_OF_MEMORY, ImageFiles
from specialists.datasets.splits import SPLIT_NAMES, TRAIN
from specialists.errors import DataError, listed
from specialists.files import is_output_folder
from specialists.files.reading import walk
from specialists.runtime import memory

_SIDE = 32
_AT_A_TIME = 512  # pictures
_OF_SYSTEMS = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN")
_OUTSIDE = "images outside class folders"


@dataclass
class _Survey:
    """What was met on the way: files not used by their kind, empty and nested class folders."""

    unused: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)
    nested: list[Path] = field(default_factory=list)
    named_as_splits: list[Path] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        n, instance = len(self.nested), next(iter(self.nested), "")
        names, counts = _names(self.named_as_splits), self.unused.most_common()
        unused, empty = listed(f"{kind} ({n})" for kind, n in counts), listed(self.empty)
        outer = f"images in folders inside class folders have the outer one's class ({n})"
        notes = (
            (names, f"taken as classes, since they hold no folders: {names}"),
            (n, f"{outer}, for instance {instance}"),
            (empty, f"folders without images left out ({len(self.empty)}): {empty}"),
            (unused, f"files and folders not used: {unused}"),
        )
        return tuple(note for things, note in notes if things)


def load_images(config: DataConfig, seed: int) -> Dataset:
    """The data set of ``config.images``.

    Raises DataError: no such folder, no images in class folders, folders of splits beside others
    that hold images, unreadable images, or splits that cannot be made.
    """
    folder = existing(str(config.images), "folder")
    if not folder.is_dir():
        fix = how_to_name_data(folder) or None
        raise DataError("not a folder", where=folder, expected="one folder a class", fix=fix)
    survey = _Survey()
    paths, labels, given = _labelled_images(folder, survey)
    classes = classes_of(labels, folder)
    excluded, left_out = labels_left_out(classes, config.exclude_labels, folder)
    used = np.flatnonzero(~excluded)
    paths = [paths[i] for i in used.tolist()]
    side = config.image_size or _SIDE
    raw, notes = _read(folder, paths, side, config.in_place)
    rows = LabelledRows(
        raw=raw,
        labels=classes.labels[used],
        names=classes.names,
        given=given[used],
        notes=(*survey.notes(), *classes.notes, *left_out, *notes),
        texts=[path.relative_to(folder).as_posix() for path in paths],
        positions=used,
        parts={"": len(given)},
        where=folder,
    )
    size = {"channels": raw.shape[1], "height": side, "width": side}
    name = folder.resolve().name
    return assemble(rows, config, seed, name, {"kind": "images", **size}, {"images": name})


def _read(
    folder: Path, paths: Sequence[Path], side: int, in_place: bool | None
) -> tuple[np.ndarray | ImageFiles, tuple[str, ...]]:
    """Pixels, or files that are to be read again; notes."""
    if not in_place and 3 * side**2 * len(paths) <= memory() // PART_OF_MEMORY:
        return read_pictures(paths, (side, side))
    read, found, channels = ReadFiles(), [], 1
    for start in range(0, len(paths), _AT_A_TIME):
        few = paths[start : start + _AT_A_TIME]
        pixels = decoded_pictures(few, (side, side), None, read)
        channels = max(channels, pixels.shape[1])
        found.append(_digests_in_colour(pixels))
    names = [path.relative_to(folder).as_posix() for path in paths]
    origin = None if in_place is False else {"images": str(folder.resolve())}
    notes, shape = read.notes(), (channels, side, side)
    return ImageFiles(folder, names, shape, origin, np.concatenate(found)), notes


def _digests_in_colour(pixels: np.ndarray) -> np.ndarray:
    """Those of the pictures in colour, whether grey ones have one channel or three."""
    found = digests(pixels[:, :1])
    coloured = (pixels != pixels[:, :1]).any(axis=(1, 2, 3))
    found = found.copy()
    found[coloured] = digests(pixels[coloured])
    return found


def _labelled_images(folder: Path, survey: _Survey) -> tuple[list[Path], list[str], np.ndarray]:
    """Every image of the class folders in ``folder`` or in its folders of splits; label, part."""
    paths: list[Path] = []
    labels: list[str] = []
    given: list[int] = []
    for base, part in _parts(folder, survey):
        for kind in _folders(base, survey):
            images = _images_below(kind, survey)
            if not images:
                survey.empty.append(kind.relative_to(folder).as_posix())
            survey.nested += [image for image in images if image.parent != kind]
            paths += images
            labels += [kind.name] * len(images)
            given += [part] * len(images)
    if not paths:
        got = "; ".join(survey.notes()) or "an empty folder"
        expected = f"FOLDER/<class>/<image>: {READ}"
        raise DataError("no class folders with images", where=folder, got=got, expected=expected)
    if len(set(labels)) == 1 and len(survey.nested) == len(paths):
        what = "one class folder, whose images lie in folders of its own"
        fix = f"is data.images = {str(folder / labels[0])!r} meant?"
        raise DataError(what, where=folder, got=paths[0], fix=fix)
    return paths, labels, np.array(given)


def list_images(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Every image in a folder and below, and notes on what is not used."""
    survey = _Survey()
    return _images_below(folder, survey), survey.notes()


def _parts(folder: Path, survey: _Survey) -> list[tuple[Path, int]]:
    """Folders of classes with their part: those of splits, or ``folder`` itself."""
    tops = _folders(folder, _Survey())
    part_of = {top: SPLIT_NAMES.get(normal_form(top.name).casefold()) for top in tops}
    named = [top for top in tops if part_of[top] is not None]
    others = [top for top in tops if part_of[top] is None]
    if not any(_folders(top, _Survey()) for top in named):
        if named and not others:
            _refuse_parts("the folders of the splits hold no class folders", folder, tops)
        survey.named_as_splits += named
        return [(folder, TRAIN)]
    other_classes = [top for top in others if _images_below(top, _Survey())]
    if other_classes:
        what = "folders of splits and other folders with images lie side by side"
        got = f"{_names(named)} beside {_names(other_classes)}"
        expected = "folders of splits (train, validation, test), or folders of classes"
        fix = "move the others away, or name the folder of the classes in data.images"
        raise DataError(what, where=folder, got=got, expected=expected, fix=fix)
    if TRAIN not in part_of.values():
        _refuse_parts("no folder of training images", folder, named)
    _folders(folder, survey)
    survey.empty += [top.name for top in others]
    return [(top, part) for top, part in part_of.items() if part is not None]


def _refuse_parts(what: str, folder: Path, folders: Sequence[Path]) -> None:
    expected = "FOLDER/train/<class>/<image>, or FOLDER/<class>/<image>"
    raise DataError(what, where=folder, got=f"the folders {_names(folders)}", expected=expected)


def _folders(folder: Path, survey: _Survey) -> list[Path]:
    """The folders in a folder that may hold classes; everything else there is not used."""
    folders, real = [], folder.resolve()
    for entry in sorted(folder.iterdir()):
        leads_back = entry.resolve() in (real, *real.parents)
        if entry.is_dir() and not _is_passed_over(entry) and not leads_back:
            folders.append(entry)
        else:
            survey.unused[_OUTSIDE if _is_image(entry) else _kind(entry)] += 1
    return folders


def _images_below(folder: Path, survey: _Survey) -> list[Path]:
    paths = list(walk(folder, lambda inner: not _is_passed_over(inner)))
    survey.unused.update(_kind(path) for path in paths if not _is_image(path))
    return [path for path in paths if _is_image(path)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not _is_of_systems(path) and path.is_file()


def _is_of_systems(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _OF_SYSTEMS


def _is_passed_over(folder: Path) -> bool:
    return _is_of_systems(folder) or is_output_folder(folder)


def _kind(path: Path) -> str:
    """What sort of thing an entry that is not used is, in words that a number follows."""
    if path.name in _OF_SYSTEMS:
        return path.name
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "folders of runs" if is_output_folder(path) else "links back to a folder above"
    if path.is_symlink() and not path.exists():
        return "links to nothing"
    return path.suffix.lower() or "without suffix"


def _names(folders: Sequence[Path]) -> str:
    return listed(folder.name for folder in folders)
