"""How is a folder read that somebody else may have filled?

It may hold a pipe, which never ends to be read, a link to a device, a sparse file of any size that
takes no room on a disk, and links that lead back to a folder above.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

LARGEST = 2**28  # bytes: the names of a few million classes


def read_text_file(file: Path, errors: str = "strict") -> str:
    """The content, in UTF-8, of an ordinary file that fits into memory.

    Raises a ValueError if it is a pipe or a device, larger than any that this program writes, or
    not UTF-8; an OSError if it cannot be read.
    """
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no ordinary file")
        if status.st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST:,} bytes")
        return opened.read().decode("utf-8", errors)


def walk(
    folder: Path,
    enter: Callable[[Path], bool] = lambda folder: True,
    above: frozenset[Path] = frozenset(),
) -> Iterator[Path]:
    """Every file in a folder and below, in the order of names; links to folders are followed.

    Folders that are not entered come too: those that ``enter`` refuses, and links that lead back to
    a folder above or to one of ``above`` (resolved paths).
    """
    real = folder.resolve()
    above = above | {real, *real.parents}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and enter(path) and path.resolve() not in above:
            yield from walk(path, enter, above)
        else:
            yield path
