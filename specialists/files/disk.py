"""Was it the machine that could not keep a file, and what can be done about it?

A full disk, a used up quota, a limit on sizes, and a disk that fails are faults of the machine: a
:class:`~specialists.errors.StorageError`, exit code 1. A path that does not exist, or may not be
used, for instance on a read-only disk, is the user's to mend and stays what it is.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from specialists.errors import StorageError

_unsynced: ContextVar[bool] = ContextVar("unsynced", default=False)
CUT_SHORT = -1
FAULTS = {
    errno.ENOSPC: ("the disk is full", "free space on {disk}"),
    errno.EDQUOT: ("the disk's quota is used up", "free space in your quota on {disk}"),
    errno.EFBIG: ("this file is larger than files may be", "raise that limit (`ulimit -f`)"),
    errno.EIO: ("the disk fails", "see in the system's log (`dmesg`) what is wrong with {disk}"),
    CUT_SHORT: (
        "the disk did not take the whole file",
        "free space on {disk}, or raise your limits there (quota, `ulimit -f`)",
    ),
}
# What NumPy and PyTorch say then, which lose the system's number for it.
_CUT_SHORT = re.compile(
    r"\d+ requested and \d+ written|unexpected pos \d+ vs \d+|PytorchStreamWriter failed"
    r"|iostream error"
)


@contextmanager
def storage_faults(target: Path | str) -> Iterator[None]:
    """Raise a StorageError in place of a writer's error that is a fault of the machine.

    ``target`` is the file or, where there is no path, words for what is written.
    """
    try:
        yield
    except StorageError:  # of a writer inside, which knows more
        raise
    except (OSError, RuntimeError) as error:
        fault = storage_error(error, target)
        if fault is None:
            raise
        raise fault from error


def storage_error(error: OSError | RuntimeError, target: Path | str | None) -> StorageError | None:
    """What to tell if ``error`` is the machine's fault, else None.

    Examples
    --------
    >>> import os
    >>> print(storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "standard output"))
    the disk is full
      where: standard output
      got: No space left on device
      to mend it: free space on the disk of standard output, then run the same command
    """
    number = _number(error)
    if number not in FAULTS:
        return None
    what, fix = FAULTS[number]
    fix = f"{fix.format(disk=_disk_of(target))}, then run the same command"
    return StorageError(
        what,
        where=target,
        got=getattr(error, "strerror", None) or error,
        fix=f"{fix}: it goes on where it was" if isinstance(target, Path) else fix,
    )


def disk_use(folder: Path) -> int:
    """Bytes of the disk that the files in a folder take; those of several names count once.

    Links to other places are not followed. Files that go meanwhile do not count.
    """
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                status = os.lstat(os.path.join(place, name))
                sizes[status.st_dev, status.st_ino] = 512 * status.st_blocks
    return sum(sizes.values())


def sync(path: Path | int) -> None:
    """Put a file, by path or descriptor, or the names in a folder, on the disk before the next."""
    if _unsynced.get():
        return
    if isinstance(path, int):
        os.fsync(path)
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def unsynced() -> Iterator[None]:
    """Inside, files need not outlive a power cut: nothing waits for the disk."""
    token = _unsynced.set(True)
    try:
        yield
    finally:
        _unsynced.reset(token)


def _number(error: BaseException) -> int | None:
    """The system's number, also where a writer raised an error of its own because of it."""
    number = getattr(error, "errno", None)
    if number is None and _CUT_SHORT.search(str(error)):
        number = getattr(error.__context__, "errno", None) or CUT_SHORT
    if number is None:
        quoted = (known for known in FAULTS if os.strerror(known) in str(error))
        number = next(quoted, None)
    return number


def _disk_of(target: Path | str | None) -> str:
    """Where the disk is mounted that holds the file."""
    if not isinstance(target, Path):
        return f"the disk of {target}" if target else "the disk"
    whole = target.absolute()
    return str(next(place for place in (whole, *whole.parents) if place.is_mount()))
