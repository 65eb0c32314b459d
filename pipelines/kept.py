"""What many tasks of one process read once: a run's data, and networks to start from.

It is kept for as long as the files are those that it was read from, so that nothing stale is used,
and one of each kind at a time, so that memory does not grow with the tasks. A worker keeps it until
it ends; a process that runs its tasks itself, only as long as they take. Nobody changes what is
kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from specialists.files.artifacts import SETTLED_SECONDS

Read = TypeVar("Read")
Identity = tuple[tuple[object, ...], ...]

_kept: dict[str, tuple[Identity, Any]] = {}


def kept(kind: str, sources: Iterable[Path], read: Callable[[], Read]) -> Read:
    """What ``read()`` gave last for this kind, or gives now, if a file has changed.

    Parameters
    ----------
    kind : str
        Of what is kept; only the last of a kind is.
    sources : paths
        Files and folders (the files in them and below) that it is read from.
    """
    identity = tuple(_identity(file) for source in sources for file in _files(source))
    if kind not in _kept or _kept[kind][0] != identity:
        _kept.pop(kind, None)  # never two in memory
        _kept[kind] = (identity, read())
    return _kept[kind][1]


@contextmanager
def letting_go() -> Iterator[None]:
    """At the end nothing is kept any longer."""
    try:
        yield
    finally:
        _kept.clear()


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    return sorted(Path(folder, name) for folder, _, names in os.walk(source) for name in names)


def _identity(file: Path) -> tuple[object, ...]:
    try:
        status = file.stat()
    except FileNotFoundError:
        return (os.path.abspath(file),)
    times = (status.st_mtime_ns, status.st_ctime_ns)
    if time.time() - max(times) / 1e9 < SETTLED_SECONDS:  # it may yet change within a clock's tick
        times = (*times, time.perf_counter_ns())
    return (os.path.abspath(file), status.st_ino, status.st_size, *times)
