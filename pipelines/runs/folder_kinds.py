"""Whose folder is this: a run's, a comparison's, or somebody else's?

A marker says so since 0.4. Folders of earlier versions are known by what only these left there.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path

from specialists.config import Config
from specialists.config.toml import holds_images
from specialists.errors import InputError, listed
from specialists.files.ownership import (
    MANIFEST,
    MARKER,
    WRITTEN,
    holds_results,
    json_object,
    marked_kind,
    owned_names,
    recorded_outputs,
)
from specialists.files.reading import read_text_file

LOCK = ".lock"
RUN, COMPARISON, REPRODUCTION = "run", "comparison", "reproduction"
QUICK_REPRODUCTION = "quick-reproduction"
KINDS = {
    RUN: "a run folder",
    COMPARISON: "the folder of a comparison",
    REPRODUCTION: "the folder of a reproduction",
    QUICK_REPRODUCTION: "the folder of a quick reproduction",
}
NAMED = 3
RUNS = "runs"  # where runs lie unless --out says otherwise
LONGEST_LOCK = 20  # the digits of a process
CLAIM_BEGUN = re.compile(rf"\.tmp-[0-9a-f]{{8}}-{re.escape(MARKER)}")
# Where runs lie in a comparison, or in one of those that benchmarks keep side by side.
SEEDS = ("seed-*", "seed-*/*", "base/seed-*")


def kind_of(folder: Path) -> str | None:
    """What a folder was made as: `RUN`, `COMPARISON`, or None if not by this program."""
    kind = marked_kind(folder)
    if kind in KINDS:
        return kind
    if _is_old_run(folder):
        return RUN
    return COMPARISON if _is_old_comparison(folder) else None


def check_claimable(folder: Path, kind: str) -> None:
    """Check, before anything is written, that a folder is new, empty, or of this kind.

    Raises an InputError if it is a file, of the other kind, or holds what this program did not
    write.
    """
    if folder.is_file():
        raise InputError(
            f"this is a file, not {KINDS[kind]}",
            where=folder,
            fix="name a folder of its own with --out",
        )
    actual = kind_of(folder) if folder.is_dir() else kind
    if actual == kind or (actual is None and _is_empty(folder)):
        return
    entries = sorted(path.name for path in folder.iterdir())
    raise InputError(
        f"this is not {KINDS[kind]}, so nothing is written there",
        where=folder,
        got=KINDS[actual] if actual else listed(entries, NAMED),
        expected=f"a new or empty folder, or {KINDS[kind]} made by specialists",
        fix=f"name another folder, for instance --out {folder / kind}",
    )


def how_to_have_a_run(folder: Path) -> str:
    """What helps where a run was expected: one that is there, or the command that makes one.

    That command writes into a folder only if this is new, empty or a run's.
    """
    if folder.is_file():
        return "name the folder of a run"
    if kind_of(folder) == RUN:
        return f"`specialists run --out {folder}` makes one"
    inside = (path for seeds in SEEDS for path in sorted(folder.glob(seeds)))
    for path in inside:
        if kind_of(path) == RUN:
            return f"name one of its runs, for instance {path}"
    if holds_images(folder):
        return f"`specialists run --set data.images={folder}` makes a run of its images"
    runs = _runs_near(folder)
    if near := difflib.get_close_matches(folder.name, {run.name: run for run in runs}, n=1):
        return f"did you mean {next(run for run in runs if run.name == near[0])}?"
    if runs:
        return f"name a run that is there: {listed(runs, NAMED)}"
    return "`specialists run --set data.table=TABLE` makes a run of a table of yours"


def _runs_near(folder: Path) -> list[Path]:
    """Runs beside the folder, and where the command puts them."""
    places = dict.fromkeys((folder.parent, Path(RUNS)))
    found = (mark.parent for place in places for mark in sorted(place.glob(f"*/{MARKER}")))
    return [run for run in found if marked_kind(run) == RUN and run != folder]


def belongs_to_result(file: Path) -> bool:
    """Whether a list or a manifest in one of the folders above names a file as ours."""
    for folder in file.parents:
        name = file.relative_to(folder).as_posix()
        if name in owned_names(folder) or name == WRITTEN:
            return True
        beside = f"../{name}"  # an output of a stage that lies outside its folder
        if "/" not in name and any(
            beside in (recorded_outputs(manifest.parent) or ())
            for manifest in folder.glob(f"*/{MANIFEST}")
        ):
            return True
    return False


def is_configuration(file: Path) -> bool:
    """Whether a file holds settings of ours, right or wrong."""
    try:
        names = set(tomllib.loads(read_text_file(file)))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(names) and names <= set(Config.model_fields)


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
    return _is_lock(folder / LOCK) or holds_results(folder)


def _is_old_comparison(folder: Path) -> bool:
    """Runs called seed-S, also in an inner folder; no comparison.md but beside its values."""
    runs = (path for pattern in SEEDS for path in folder.glob(pattern) if path.is_dir())
    if not any(marked_kind(run) == RUN or _is_old_run(run) for run in runs):
        return False
    written = [folder / f"comparison.{suffix}" for suffix in ("json", "md", "svg")]
    return "models" in json_object(written[0]) or not any(file.exists() for file in written)
