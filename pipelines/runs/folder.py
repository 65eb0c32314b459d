"""Which files belong to one run, and who works on it?

A run is a folder with ``config.toml`` and one folder a stage. One process at a time works on it.
The lock is the kernel's (flock), so that it ends with its process, however that process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from specialists.config import Config
from specialists.config.defaults import DEFAULTS
from specialists.errors import DamagedError, InputError, RunLockedError
from specialists.files import (
    CODE_VERSION,
    NOTHING,
    Trust,
    read_json,
    recording,
    sha256,
    storage_faults,
    trusting,
    write_json,
)
from specialists.files.ownership import ANYTHING, MANIFEST, MARKER, marked_kind, recorded_outputs
from specialists.runtime import n_cores

from .folder_kinds import (
    KINDS,
    LOCK,
    RUN,
    check_claimable,
    how_to_have_a_run,
    is_configuration,
    kind_of,
)
from .removal import (
    is_own,
    missing_folders,
    own_folders,
    remove_leftovers,
    withdrawn_if_refused,
)

if TYPE_CHECKING:
    from specialists.datasets import Dataset


class Run:
    """A run folder.

    Parameters
    ----------
    jobs : int, optional
        Processes at a time, instead of the configuration's; 0: one a core. No result depends on it.
    trust : Trust
        Functions that the run may call although its folder names them.
    dataset : Dataset, optional
        What the program holds in memory, in place of the configuration's source of data.
    """

    def __init__(
        self,
        folder: str | Path,
        jobs: int | None = None,
        trust: Trust = NOTHING,
        dataset: Dataset | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._jobs = jobs
        self.trust = trust
        self.dataset = dataset

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def config_file(self) -> Path:
        return self.folder / "config.toml"

    @cached_property
    def config(self) -> Config:
        """The configuration as it was given. Where it is None, the kind of input decides.

        Raises an InputError if the folder is no run.
        """
        refuse_missing(self.folder)
        if not self.config_file.is_file():
            raise InputError(
                "this is no run folder: it has no config.toml",
                where=self.folder,
                fix=how_to_have_a_run(self.folder),
            )
        return Config.from_toml(self.config_file)

    def suppose(self, config: Config) -> None:
        """Look at the folder, which need not be there, as if these were its settings."""
        self.__dict__["config"] = config

    def reread_config(self) -> None:
        """Forget the configuration that was read, since its file has changed."""
        self.__dict__.pop("config", None)

    @property
    def kind(self) -> str:
        """The kind of input: text, features or images; known once the data are prepared.

        Raises a DamagedError if what was prepared does not say it.
        """
        file = self.path("prepare-data", "dataset.json")
        about = read_json(file)
        kind = about.get("kind") if isinstance(about, dict) else None
        if not isinstance(kind, str) or kind not in DEFAULTS:
            raise DamagedError(
                "this file is damaged: it names no kind of input",
                where=file,
                got=kind,
                expected=", ".join(DEFAULTS),
                fix=f"`specialists run --out {self.folder}` makes it again",
            )
        return kind

    @property
    def jobs(self) -> int:
        """How many processes train at a time, at least 1."""
        wanted = self.config.jobs if self._jobs is None else self._jobs
        return wanted or n_cores()

    def path(self, stage: str, *parts: str) -> Path:
        """``RUN/stage/parts``; nothing is made."""
        return self.folder.joinpath(stage, *parts)

    def trusting(self) -> AbstractContextManager[None]:
        """A context in which the functions that were vouched for may be called."""
        return trusting(self.trust)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that works on this run; clear what killed ones left half written.

        A new or empty folder becomes a run's. Raises what :func:`locked` does.
        """
        with locked(self.folder, RUN):
            self._remove_leftovers()
            yield

    def _remove_leftovers(self) -> None:
        """Clear what killed writers left in the run's own folders."""
        inner = [path for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink()]
        waiting = [self.folder, *filter(is_own, inner)]
        for folder in waiting:
            remove_leftovers(folder)
            if folder != self.folder:
                waiting += own_folders(folder)


@contextmanager
def locked(folder: Path, kind: str) -> Iterator[None]:
    """Be the only process that works in a folder of this kind, which a new or empty one becomes.

    A new one goes again if the input is refused before any result is finished.

    Raises
    ------
    RunLockedError
        At once, if another live process holds the lock; it names that process.
    InputError
        If the folder is somebody else's; then nothing is written.
    """
    check_claimable(folder, kind)
    new = missing_folders(folder)
    folder.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with open(os.open(folder / LOCK, flags, 0o666), "r+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLockedError(
                f"another process works on this {kind}",
                where=folder,
                got=f"process {file.read().strip() or 'unknown'}",
                fix=f"wait until it ends, or give this {kind} another folder with --out",
            ) from None
        file.truncate(0)
        with storage_faults(folder / LOCK):
            os.write(file.fileno(), str(os.getpid()).encode())
        with withdrawn_if_refused(folder, new), claimed(folder, kind):
            yield


def refuse_missing(folder: Path) -> None:
    """Raise an InputError if no such folder is there; it names the runs that are."""
    if not folder.exists():
        fix = how_to_have_a_run(folder)
        raise InputError("no such folder", where=folder, expected="the folder of a run", fix=fix)


def check_folder_of(file: Path) -> None:
    """Raise an InputError unless ``file`` can be written: its folder is there, and takes files."""
    folder = file.parent
    if folder.is_file():
        raise InputError("this is a file, not a folder", where=folder)
    if not folder.is_dir():
        fix = f"make it first (`mkdir -p {folder}`), or name another file"
        raise InputError("no such folder", where=folder, expected=f"a folder for {file}", fix=fix)
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        what, fix = "no file can be written there", "name a file in another folder"
        raise InputError(what, where=file, got=error.strerror, fix=fix) from None


@contextmanager
def claimed(folder: Path, kind: str) -> Iterator[None]:
    """Write in the folder of a run or a comparison, with its marker, which a new folder gets.

    Raises an InputError if the folder is somebody else's; then nothing is written.
    """
    check_claimable(folder, kind)
    with recording(folder, follow=True) as record:
        if marked_kind(folder) not in KINDS:
            if kind_of(folder) is not None:  # made by an older version, which kept no list
                record.names.add(ANYTHING)
            write_json(folder / MARKER, {"kind": kind, "code": CODE_VERSION})
        record.names |= _known_without_a_list(folder, record.names)
        record.save()
        yield


def _known_without_a_list(folder: Path, listed: set[str]) -> set[str]:
    """Files beside the stages that are ours although a damaged list lacks them."""
    known = {"config.toml"} if is_configuration(folder / "config.toml") else set()
    for stage in folder.glob(f"*/{MANIFEST}"):
        for name, digest in (recorded_outputs(stage.parent) or {}).items():
            file = folder / name.removeprefix("../")
            if name == f"../{file.name}" and file.name not in listed and file.is_file():
                known |= {file.name} if sha256(file) == digest else set()
    return known
