"""Whose folder is this: a run's, a comparison's, or somebody else's?

A marker says so since 0.4. Folders of earlier versions are known by what only these left there.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from specialists.config import Config
from specialists.errors import InputError
from specialists.runs.reading import read_text
from specialists.runs.records import WRITTEN, recorded_outputs

MARKER = ".specialists.json"
LOCK = ".lock"
RUN, COMPARISON = "run", "comparison"
KINDS = {RUN: "a run folder", COMPARISON: "the folder of a comparison"}
NAMED = 3
LONGEST_LOCK = 20  # the digits of a process
CLAIM_BEGUN = re.compile(rf"\.tmp-[0-9a-f]{{8}}-{re.escape(MARKER)}")


def kind_of(folder: Path) -> str | None:
    """What a folder was made as: `RUN`, `COMPARISON`, or None if not by this program."""
    kind = marked_kind(folder)
    if kind is None and _is_old_run(folder):
        return RUN
    if kind is None and _is_old_comparison(folder):
        return COMPARISON
    return kind


def marked_kind(folder: Path) -> str | None:
    """What the folder's marker says."""
    try:
        kind = json.loads(read_text(folder / MARKER))["kind"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return kind if kind in KINDS else None


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is of a run or a comparison, or holds nothing but such folders.

    ``data.images`` may be a folder that runs lie in: they are no classes.
    """
    if kind_of(folder) is not None:
        return True
    entries = _visible(folder)
    first = next(entries, None)
    return first is not None and _is_inner(first) and all(map(_is_inner, entries))


def check_claimable(folder: Path, kind: str) -> None:
    """Check, before anything is written, that a folder is new, empty, or of this kind.

    Raises
    ------
    InputError
        If it is a file, of the other kind, or holds what this program did not write.
    """
    if folder.is_file():
        raise InputError(
            f"this is a file, not {KINDS[kind]}",
            where=folder,
            fix="name a folder of its own with --out",
        )
    found = kind_of(folder) if folder.is_dir() else kind
    if found == kind or (found is None and _is_empty(folder)):
        return
    entries = sorted(path.name for path in folder.iterdir())
    more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    raise InputError(
        f"this is not {KINDS[kind]}, so nothing is written there",
        where=folder,
        got=KINDS[found] if found else ", ".join(entries[:NAMED]) + more,
        expected=f"a new or empty folder, or {KINDS[kind]} made by specialists",
        fix=f"name another folder, for instance --out {folder / kind}",
    )


def _is_empty(folder: Path) -> bool:
    """Apart from what a process left that was killed before the marker stood."""
    names = (path.name for path in folder.iterdir() if path.name != LOCK or not _is_lock(path))
    return all(name == WRITTEN or CLAIM_BEGUN.fullmatch(name) for name in names)


def _is_lock(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LONGEST_LOCK:
        return False
    content = path.read_bytes()
    return content.isdigit() or not content


def _is_old_run(folder: Path) -> bool:
    """Settings of ours beside a lock or a result of ours: a config.toml alone may be anybody's."""
    if not is_configuration(folder / "config.toml"):
        return False
    inner = (path for path in folder.iterdir() if path.is_dir())
    return _is_lock(folder / LOCK) or any(recorded_outputs(path) is not None for path in inner)


def is_configuration(file: Path) -> bool:
    """Whether a file holds settings of ours, right or wrong."""
    try:
        names = set(tomllib.loads(read_text(file)))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(names) and names <= set(Config.model_fields)


def _is_old_comparison(folder: Path) -> bool:
    """Runs called seed-S, also in an inner folder; no comparison.md but beside its values."""
    if not any(map(_is_seed, _seeds(folder))):
        return False
    written = [folder / f"comparison.{suffix}" for suffix in ("json", "md", "svg")]
    if not any(file.exists() for file in written):
        return True
    try:
        return "models" in json.loads(read_text(written[0]))
    except (OSError, ValueError, RecursionError, TypeError):
        return False


def _seeds(folder: Path) -> Iterator[Path]:
    """Folders of runs in a comparison, or in one of those that benchmarks keep side by side."""
    for pattern in ("seed-*", "seed-*/*", "base/seed-*"):
        yield from folder.glob(pattern)


def _is_seed(folder: Path) -> bool:
    return folder.is_dir() and (marked_kind(folder) == RUN or _is_old_run(folder))


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _is_inner(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and is_run_folder(path)
