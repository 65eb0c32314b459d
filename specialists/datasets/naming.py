"""How does a message name things: the file that was meant, or the name that was meant?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from specialists.config.toml import DATA_ENDINGS, IMAGE_SUFFIXES
from specialists.errors import DataError, listed

NAMED = 3
KINDS = {
    **dict.fromkeys((".txt", *DATA_ENDINGS["table"]), "rows"),
    **dict.fromkeys((".npy", *DATA_ENDINGS["arrays"]), "arrays"),
    **dict.fromkeys(IMAGE_SUFFIXES, "picture"),
}
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
        got, fix = f"the path ends at {beside}", f"name a {what} that is there"
        raise DataError(f"no such {what}", where=path, got=got, fix=fix)
    raise DataError(f"no such {what}", where=path, fix=what_instead(path, what == "folder"))


def what_instead(path: Path, folder: bool = False) -> str:
    """What may be named in place of a ``path`` that is not there, for the end of a message."""
    if near := nearest_file(path, folder):
        return f"did you mean {near}?"
    beside = sorted(name for name in _alike(path, folder) if not name.startswith("."))
    what = "folder" if folder else "file"
    there = f", for instance one in {path.parent}: {listed(beside, NAMED)}" if beside else ""
    return f"name a {what} that is there{there}"


def nearest_file(path: Path, folder: bool = False) -> Path | None:
    """What lies beside ``path``, of its kind, and has a name most like it, if any is like it.

    Endings do not make names alike: what stands before them has to be. They say of which kind a
    file is; a ``path`` without one may be anything, or a ``folder``.
    """
    names: dict[str, list[str]] = {}
    for name in _alike(path, folder):
        names.setdefault(_before_endings(name), []).append(name)
    like = difflib.get_close_matches(_before_endings(path.name), names, n=1, cutoff=CLOSE)
    of_these = [name for stem in like for name in names[stem]]
    near = difflib.get_close_matches(path.name, of_these, n=1, cutoff=0.0)
    return path.parent / near[0] if near else None


def _alike(path: Path, folder: bool) -> list[str]:
    """Names of what lies beside ``path`` and is of its kind."""
    kind, entries = _kind(path), path.parent.iterdir() if path.parent.is_dir() else ()
    if folder:
        return [entry.name for entry in entries if entry.is_dir()]
    return [e.name for e in entries if not kind or (_kind(e) == kind and not e.is_dir())]


def _kind(path: Path) -> str:
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return KINDS.get(ending, ending)


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
