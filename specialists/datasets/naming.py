"""How does a message name things: the file that was meant, or the name that was meant?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from specialists.errors import DataError


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
    """The file or folder beside ``path`` whose name is most like it, if any is like it."""
    if not path.parent.is_dir():
        return None
    near = nearest_name(path.name, (entry.name for entry in path.parent.iterdir()))
    return path.parent / near if near else None


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, if any is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The nearest known name as a question, for the end of a message."""
    near = nearest_name(name, known)
    return f"did you mean {near!r}?" if near else None
