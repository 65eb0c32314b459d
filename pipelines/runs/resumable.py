"""How is a result made whole, even if its making was interrupted?

Inside a stage some results stand alone: each specialist, each tuning trial, each baseline. Such a
result is a folder with a manifest of its own. One that holds is kept. One that was interrupted goes
on from its checkpoint, unless what it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from specialists.errors import DamagedError
from specialists.files.artifacts import read_json, write_json
from specialists.files.manifests import CODE_VERSION, describe_changes, finish, is_done
from specialists.files.ownership import (
    MANIFEST,
    RESERVED,
    STARTED,
    claim,
    marked_kind,
    recording,
    refuse_link,
)

from .folder_kinds import RUN
from .removal import clear, remove_leftovers


def ensure_result(folder: Path, key: Mapping[str, object], build: Callable[[Path], None]) -> bool:
    """Run ``build(folder)`` unless what lies there holds for ``key``; returns whether it ran.

    Parameters
    ----------
    key : mapping
        JSON-able: everything that the result depends on.
    build : callable
        Writes the result into the folder; may find its checkpoint there.

    Raises
    ------
    InputError
        If it has to be made, and a folder between the run and the result is a link.
    """
    if stands(folder, key):
        end_attempt(folder)
        return False
    key = {"code": CODE_VERSION, **key}
    above = folder.absolute().parents
    n_inside = max((i for i, place in enumerate(above) if marked_kind(place) == RUN), default=0)
    for place in above[:n_inside]:
        refuse_link(place)
    if not is_same_attempt(folder, key):
        clear(folder)
    with attempt(folder, key):
        build(folder)
    return True


def stands(folder: Path, key: Mapping[str, object]) -> bool:
    """Whether what lies there holds for the ``key`` of :func:`ensure_result`."""
    return is_done(folder, {"code": CODE_VERSION, **key}) is None


@contextmanager
def attempt(
    folder: Path, key: Mapping[str, object], outside: Sequence[Path] = ()
) -> Iterator[None]:
    """Make a result inside: its marker first, its manifest last.

    The folder holds nothing of ours, or what an interrupted attempt with the same key left. Outputs
    may lie ``outside`` of it. Raises an InputError if a link, or a file of somebody else, is in the
    way.
    """
    with recording(folder) as record:
        record.claim(*(folder / name for name in RESERVED))
        claim(*outside)
        remove_leftovers(folder)
        if not is_same_attempt(folder, key):
            write_json(folder / STARTED, key)
        yield
        finish(folder, key, outside)
    end_attempt(folder)


def reopen(folder: Path, key: Mapping[str, object]) -> None:
    """Turn a result that holds for ``key`` into an attempt to make it, which goes on from there."""
    if stands(folder, key):
        with recording(folder):
            write_json(folder / STARTED, {"code": CODE_VERSION, **key})
            (folder / MANIFEST).unlink()


def end_attempt(folder: Path) -> None:
    """Remove the marker of an attempt whose manifest stands."""
    if not folder.is_symlink():
        (folder / STARTED).unlink(missing_ok=True)


def is_same_attempt(folder: Path, key: Mapping[str, object]) -> bool:
    """Whether an attempt with the same key was interrupted here."""
    marker = folder / STARTED
    if (folder / MANIFEST).is_file() or not marker.is_file():
        return False
    try:
        return not describe_changes(read_json(marker), key)
    except DamagedError:
        return False
