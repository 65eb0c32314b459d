"""Which files and folders did this program write? Only those may it overwrite or delete.

A run, each of its stages and each resumable result keep a list of the names that they write
(`WRITTEN`). A name is on the disk before its file is, so that no kill and no power cut leaves a
file of ours that is in no list. A manifest is such a list too. Everything else in the folder is
somebody else's and stays as it is. A marker says what a whole folder was made as.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from specialists.errors import InputError
from specialists.files.disk import sync
from specialists.files.reading import read_text_file

MARKER = ".specialists.json"
WRITTEN = ".specialists-written"
MANIFEST = "manifest.json"
STARTED = ".started.json"
RESERVED = (
    STARTED,
    MANIFEST,
    "checkpoint.pt",
    "checkpoint.json",
    "timing.jsonl",
    "timing-stage.json",
)
ANYTHING = "*"  # an older version kept no list of what it wrote here: overwrite, do not delete

_open: list[Record] = []


class Record:
    """What this program wrote in one folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._listed = written_names(self.folder) or set()
        self.names = owned_names(self.folder)

    def holds(self, path: Path) -> bool:
        return self.folder in Path(os.path.abspath(path)).parents

    def claim(self, *paths: Path) -> None:
        """Write down that these files of the folder are ours, before they are written.

        Raises an InputError if a file or link of somebody else is in the way.
        """
        names = [Path(os.path.abspath(path)).relative_to(self.folder) for path in paths]
        for name in names:
            for parent in name.parents[:-1]:
                refuse_link(self.folder / parent)
        new = {name.as_posix() for name in names} - self.names
        if not new:
            return
        self.names |= owned_names(self.folder)  # another process may have written some
        for name in sorted(new):
            if not self.names & {name, ANYTHING} and os.path.lexists(self.folder / name):
                raise InputError(
                    "a file is in the way that specialists did not write, and that stays as it is",
                    where=self.folder / name,
                    fix="move it to another folder, then repeat the command",
                )
        self.names |= new
        self.save()

    def save(self) -> None:
        """Put on the disk what the list lacks; what a power cut tore off ends with its line."""
        missing = sorted(self.names - self._listed)
        if not missing:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self.folder / WRITTEN, flags, 0o666)
        with open(descriptor, "a", encoding="utf-8") as file:
            file.write("".join(f"\n{name}" for name in missing))
            file.flush()
            sync(descriptor)
        if not self._listed:
            sync(self.folder)
        self._listed |= set(missing)


@contextmanager
def recording(folder: Path, follow: bool = False) -> Iterator[Record]:
    """What is written in this folder while the block runs is ours; the innermost block counts.

    Raises an InputError if a file is there or, without ``follow``, a link.
    """
    if not follow:
        refuse_link(folder)
    record = Record(folder)
    _open.append(record)
    try:
        yield record
    finally:
        _open.remove(record)


def claim(*paths: Path) -> None:
    """Say that files are ours before they are written, or before their absence means something.

    Raises an InputError if a file or link of somebody else is in the way.
    """
    for record in reversed(_open):
        held = [path for path in paths if record.holds(path)]
        if held:
            record.claim(*held)
            paths = tuple(path for path in paths if path not in held)


def refuse_link(folder: Path) -> None:
    """Raise an InputError if a folder of results is a link or a file."""
    if folder.is_symlink():
        raise InputError(
            "this folder is a symbolic link, which is neither followed nor emptied",
            where=folder,
            got=f"a link to {os.readlink(folder)}",
            fix="put a folder in its place, or give the run another folder with --out",
        )
    if folder.exists() and not folder.is_dir():
        raise InputError("this is a file, not a folder", where=folder, fix="move it away")


def owned_names(folder: Path) -> set[str]:
    """Names of the files in a folder that are ours, without those that inner folders list.

    `ANYTHING` is among them where an older version was interrupted.
    """
    names = written_names(folder)
    outputs = recorded_outputs(folder)
    recorded: set[str] = set()
    if outputs is not None:  # inner manifests stand in the lists of their own folders
        recorded = {*RESERVED, *(name for name in outputs if not name.endswith(f"/{MANIFEST}"))}
    elif names is None and isinstance(json_object(folder / STARTED).get("code"), str):
        recorded = {*RESERVED, ANYTHING}
    return {name for name in (names or set()) | recorded if _lies_below(name)}


def written_names(folder: Path) -> set[str] | None:
    """What the folder's list says; None if it has none."""
    try:
        text = read_text_file(folder / WRITTEN, errors="replace")
    except (OSError, ValueError):
        return None
    return set(filter(None, text.split("\n")))


def recorded_outputs(folder: Path) -> dict[str, str] | None:
    """SHA-256 by name of what the folder's manifest recorded.

    None if it has no manifest, or one of another program. Whether ours is undamaged is not asked.
    """
    manifest = json_object(folder / MANIFEST)
    outputs = manifest.get("outputs")
    if not isinstance(outputs, dict) or not (outputs or "code" in manifest):
        return None
    digests = (isinstance(d, str) and re.fullmatch("[0-9a-f]{64}", d) for d in outputs.values())
    return outputs if all(digests) else None


def holds_results(folder: Path) -> bool:
    """Whether a manifest of ours lies in one of the folders inside."""
    inner = folder.glob(f"*/{MANIFEST}")
    return any(recorded_outputs(manifest.parent) is not None for manifest in inner)


def marked_kind(folder: Path) -> str | None:
    """What the folder's marker says that it was made as; None without a marker."""
    kind = json_object(folder / MARKER).get("kind")
    return kind if isinstance(kind, str) else None


def is_output_folder(folder: Path) -> bool:
    """Whether a whole folder is output of this program, or holds nothing but such folders.

    ``data.images`` may be a folder that output lies in: it is no class. Folders of versions before
    0.4, which wrote no marker, are known by their settings beside results of ours.
    """
    if marked_kind(folder) or ((folder / "config.toml").is_file() and holds_results(folder)):
        return True
    entries = (path for path in folder.iterdir() if not path.name.startswith("."))
    first = next(entries, None)
    return first is not None and _is_inner(first) and all(map(_is_inner, entries))


def json_object(file: Path) -> dict[str, object]:
    """The object in a file that may be anybody's; empty if there is none."""
    try:
        value = json.loads(read_text_file(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_inner(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and is_output_folder(path)


def _lies_below(name: str) -> bool:
    """Whether a name leads to a file in the folder itself: a stranger's list may say anything."""
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return inside and "\0" not in name
