"""Is this an ordinary file that fits into memory?

A folder that somebody sent may hold a pipe, which never ends to be read, a link to a device, or a
sparse file of any size that takes no room on a disk, under any name.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

LARGEST = 2**28  # bytes: the names of a few million classes


def read_bytes(file: Path) -> bytes:
    """The content of a file that this program may have written.

    Raises
    ------
    ValueError
        If it is a pipe or a device, or larger than any that this program writes.
    OSError
        If it cannot be read.
    """
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no ordinary file")
        if status.st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST:,} bytes")
        return opened.read()


def read_text(file: Path, errors: str = "strict") -> str:
    """The same as text in UTF-8."""
    return read_bytes(file).decode("utf-8", errors)
