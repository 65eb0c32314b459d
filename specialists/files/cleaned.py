"""Which files of a finished result were removed on purpose, and still count as unchanged?

`specialists clean` removes what only later trainings would read. What it removed stands, with its
SHA-256, in a list in the same folder. A manifest that recorded such a file still holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from specialists.files.ownership import json_object

REMOVED = ".removed.json"


def removed_digest(file: Path) -> str | None:
    """SHA-256 of a file that was removed on purpose; None if it is there, or is simply gone."""
    if file.is_file():
        return None
    digest = json_object(file.parent / REMOVED).get(file.name)
    return digest if isinstance(digest, str) else None


def removed_files(folder: Path, pattern: str = "**/*") -> Iterator[tuple[Path, str]]:
    """Removed files below ``folder`` that a glob pattern names, each with its SHA-256."""
    parent, _, name = pattern.rpartition("/")
    for listed in sorted(folder.glob(f"{parent}/{REMOVED}" if parent else REMOVED)):
        for entry in json_object(listed):
            file = listed.parent / entry
            digest = removed_digest(file)
            if digest is not None and file.match(name):
                yield file, digest
