"""What is a stage, does its result still hold, and how is it made?

A stage is one call of a library function that writes ``RUN/<stage>/``. Its manifest is written last
and records everything that the result depends on: the artifacts of earlier stages, files of the
user, and sections of the configuration (resolved for the kind of input).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from specialists.config import Config
from specialists.errors import DamagedError, listed
from specialists.files import (
    hash_files,
    is_done,
    manifest_key,
    read_json,
    recording,
    sha256,
    write_json,
    write_text,
)
from specialists.files.ownership import MANIFEST, json_object
from specialists.runtime import working_on

from .runs import Run, attempt, clear, end_attempt, forget_removed, is_same_attempt
from .terminal import keeping_lines, log
from .users_data import check_users_file

MISSING = "missing"
NAMED = 3
DATASET = "prepare-data/dataset.json"
TIMING = "timing-stage.json"  # seconds, and the lines that were shown
ANY_FOLDER = "--out RUN "  # in these lines, since a run may be copied


@dataclass(frozen=True)
class Stage:
    """One step from a run's artifacts to more of them.

    Parameters
    ----------
    name : str
        Of the command and of the folder.
    sections : tuple of str
        Sections of the configuration, or top-level settings, that the result depends on.
    inputs : tuple of str
        Globs of earlier artifacts, relative to the run folder.
    execute : callable
        Writes the stage's folder. It may find finished results of an interrupted attempt there.
    files : tuple of str
        Settings that name files, folders or functions of the user, for instance "data.table".
    outputs : tuple of str
        Artifacts that lie outside the stage's folder, relative to the run folder.
    check : callable, optional
        Raises what is wrong with the settings before anything of an old result is removed.
    elsewhere : mapping, optional
        sha256 of files outside the run that the result depends on, by the name of each.
    summary : str
        The help of its command.
    """

    name: str
    sections: tuple[str, ...]
    inputs: tuple[str, ...]
    execute: Callable[[Run], None]
    files: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    check: Callable[[Run], None] | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""


def why_not_done(run: Run, stage: Stage) -> str | None:
    """None if the stage's result holds, else the reason in words ("missing" if never finished)."""
    files = _users_files(run, stage)
    gone = (f"{setting}: {path} is gone" for setting, path in files if not path.exists())
    return what_changed(run, stage) or ", ".join(gone) or None


def what_changed(run: Run, stage: Stage) -> str | None:
    """Like why_not_done, but a user's file that is gone counts as unchanged.

    What was made of it is still there, and later stages need nothing else.
    """
    folder = run.path(stage.name)
    if not (folder / MANIFEST).is_file():
        return MISSING
    try:
        return is_done(folder, _key(run, stage))
    except DamagedError as error:
        return error.what


def run_stage(run: Run, stage: Stage, force: bool = False) -> None:
    """Make the stage's result unless it holds; say which, and why, and what the stage found.

    An interrupted attempt with the same key goes on where it stopped. Otherwise what is left of
    the old result is removed, except for inner results, which have a manifest of their own and may
    still hold; with ``force`` they go too. Files of others in its folder are not touched.

    Raises
    ------
    InputError
        If a file of the user is gone, or is none that can be read twice; if the stage's folder, or
        one inside it, is a link that would be followed; if somebody else's file is in the way.
    """
    folder = run.path(stage.name)
    _record_defaults(run, stage)
    reason = why_not_done(run, stage)
    if reason is None and not force:
        end_attempt(folder)
        log.info(f"{stage.name}: done already, skipped")
        for line in _findings(folder):
            log.info(line.replace(ANY_FOLDER, f"--out {run.folder} "))
        return
    if stage.check is not None:
        with run.trusting():
            stage.check(run)
    for setting, path in _users_files(run, stage):
        check_users_file(setting, path)
    if lacking := forget_removed(folder):
        names = listed([unit.name for unit in lacking], NAMED)
        log.info(f"{stage.name}: `specialists clean` removed files of {names}: made again")
    key = _key(run, stage)
    goes_on = not force and is_same_attempt(folder, key)
    log.info(f"{stage.name}: {_announcement(reason, force, goes_on)}")
    if not goes_on and (n := clear(folder, units=force)):
        files = f"{n} file{'s' * (n > 1)} in {folder}"
        log.info(f"{stage.name}: {files} not written by specialists, kept")
    began = time.monotonic()
    outside = [run.folder / name for name in stage.outputs]
    with run.trusting(), recording(run.folder, follow=True), attempt(folder, key, outside):
        with working_on(stage.name), keeping_lines() as lines:
            stage.execute(run)
        seconds = time.monotonic() - began
        lines = [line.replace(f"--out {run.folder} ", ANY_FOLDER) for line in lines]
        write_json(folder / TIMING, {"seconds": round(seconds, 3), "lines": lines})
    log.info(f"{stage.name}: done in {seconds:.1f} s")


def _findings(folder: Path) -> list[str]:
    """What the stage said while it was made; nothing where that was not shown or is lost."""
    lines = json_object(folder / TIMING).get("lines")
    return [str(line) for line in lines] if isinstance(lines, list) else []


def _announcement(reason: str | None, force: bool, goes_on: bool) -> str:
    if force:
        return "forced, made again from nothing"
    if goes_on:
        return "goes on where it was interrupted"
    return "starts" if reason == MISSING else f"stale ({reason}), made again"


def _key(run: Run, stage: Stage) -> dict[str, object]:
    """Everything that the stage's result depends on, as its manifest records it.

    A file of the user that is gone has the digest that the manifest recorded.
    """
    config = _resolved(run, stage)
    parts = {name: config.section(name) for name in stage.sections}
    settings = {name: part.get(name, part) for name, part in parts.items()}
    inputs = hash_files(run.folder, stage.inputs)
    for name, path in _users_files(run, stage):
        if path.exists():
            inputs[name] = sha256(path)
        elif name in (recorded := read_json(run.path(stage.name, MANIFEST)).get("inputs", {})):
            inputs[name] = recorded[name]
    return manifest_key({**inputs, **stage.elsewhere}, settings)


def _resolved(run: Run, stage: Stage) -> Config:
    """The settings as the stage sees them: only what reads the data knows their kind."""
    return run.config.resolve(run.kind) if _knows_kind(run, stage) else run.config


def _knows_kind(run: Run, stage: Stage) -> bool:
    reads_data = any(Path(DATASET).match(pattern) for pattern in stage.inputs)
    return reads_data and (run.folder / DATASET).is_file()


def _record_defaults(run: Run, stage: Stage) -> None:
    """Write into config.toml what the kind of input decides, so that the run can be repeated."""
    if _knows_kind(run, stage):
        recorded = run.config.defaults
        if recorded is None or recorded.kind != run.kind:
            write_text(run.config_file, run.config.with_defaults(run.kind).to_toml())
            run.reread_config()


def _users_files(run: Run, stage: Stage) -> Iterator[tuple[str, Path]]:
    """Settings that name a file, folder or function of the user, with its path."""
    for setting in stage.files:
        section, key = setting.split(".")
        value = run.config.section(section)[key]
        path = _source_file(value) if value and key == "factory" else value
        paths = path if isinstance(path, dict) else {"": path}
        yield from (
            (f"{setting}.{part}".rstrip("."), Path(path))
            for part, path in paths.items()
            if isinstance(path, str | Path)  # generalist.classes may be the names themselves
        )
        if value and setting in ("generalist.weights", "generalist.predictions"):
            from specialists.networks import files_beside

            yield from ((f"{setting}, {file.name}", file) for file in files_beside(Path(value)))


def _source_file(function: str) -> Path | None:
    """Of a function; None for one that the program holds in memory."""
    from specialists.datasets.factory import is_handed_over, source_file

    if is_handed_over(function):
        return None
    return source_file(function) or Path(function.partition(":")[0].replace(".", "/") + ".py")
