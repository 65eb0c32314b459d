"""How does a message name things: the file that was meant, or the name that was meant?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from specialists.errors import DataError

CLOSE = 0.6  # a similarity of names, by difflib, from which on one may be meant by the other


def existing(path: str | Path, what: str = "file") -> Path:
    """``path``, if it exists; otherwise a DataError that names the nearest one beside it."""
    try:
        path = Path(path).expanduser()
        if path.exists():
            return path
    except (OSError, RuntimeError, ValueError) as error:  # no right to look, no home, a NUL
        raise DataError(f"no such {what}", where=ascii(str(path)), got=error) from None
    beside = path.parent
    while not beside.is_dir():
        beside = beside.parent
    if beside != path.parent:
        raise DataError(f"no such {what}", where=path, got=f"the path ends at {beside}")
    near = nearest_file(path)
    raise DataError(f"no such {what}", where=path, fix=f"did you mean {near}?" if near else None)


def nearest_file(path: Path) -> Path | None:
    """The file or folder beside ``path`` whose name is most like it, if any is like it.

    Endings do not make names alike: what stands before them has to be.
    """
    if not path.parent.is_dir():
        return None
    names: dict[str, list[str]] = {}
    for entry in path.parent.iterdir():
        names.setdefault(_before_endings(entry.name), []).append(entry.name)
    like = difflib.get_close_matches(_before_endings(path.name), names, n=1, cutoff=CLOSE)
    of_these = [name for stem in like for name in names[stem]]
    near = difflib.get_close_matches(path.name, of_these, n=1, cutoff=0.0)
    return path.parent / near[0] if near else None


def _before_endings(name: str) -> str:
    """For instance "x" of "x.tsv.gz", and all of ".hidden"."""
    return name.partition(".")[0] or name


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, if any is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=CLOSE)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The nearest known name as a question, for the end of a message."""
    near = nearest_name(name, known)
    return f"did you mean {near!r}?" if near else None
