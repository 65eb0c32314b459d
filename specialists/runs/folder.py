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

from specialists.config import Config
from specialists.errors import InputError, RunLockedError
from specialists.runs.artifacts import read_json, remove_leftovers
from specialists.runs.disk import storage_faults
from specialists.runs.trust import NOTHING, Trust, trusting


class Run:
    """A run folder.

    Parameters
    ----------
    folder : path
    jobs : int, optional
        Processes at a time, instead of the configuration's; 0: one a core. No result depends on it.
    trust : Trust
        Functions that the run may call although its folder names them.
    """

    def __init__(self, folder: str | Path, jobs: int | None = None, trust: Trust = NOTHING) -> None:
        self.folder = Path(folder)
        self._jobs = jobs
        self.trust = trust

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def config_file(self) -> Path:
        return self.folder / "config.toml"

    @cached_property
    def config(self) -> Config:
        """The configuration as it was given: what is None depends on the kind of input.

        Raises
        ------
        InputError
            If the folder is no run.
        """
        if not self.config_file.is_file():
            raise InputError(
                "this is no run folder: it has no config.toml",
                where=self.folder,
                fix=f"`specialists run --out {self.folder}` makes one",
            )
        return Config.from_toml(self.config_file)

    def reread_config(self) -> None:
        """Forget the configuration that was read, since its file has changed."""
        self.__dict__.pop("config", None)

    @property
    def kind(self) -> str:
        """The kind of input: text, features or images; known once the data are prepared."""
        return read_json(self.path("prepare-data", "dataset.json"))["kind"]

    @property
    def jobs(self) -> int:
        """How many processes train at a time, at least 1."""
        wanted = self.config.jobs if self._jobs is None else self._jobs
        return wanted or len(os.sched_getaffinity(0))

    def path(self, stage: str, *parts: str) -> Path:
        """``RUN/stage/parts``; nothing is made."""
        return self.folder.joinpath(stage, *parts)

    def trusting(self) -> AbstractContextManager[None]:
        """A context in which the functions that were vouched for may be called."""
        return trusting(self.trust)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that works on this run; clear what killed ones left half written.

        Raises
        ------
        RunLockedError
            At once, if another live process holds the lock; it names that process.
        InputError
            If the path is that of a file.
        """
        if self.folder.is_file():
            raise InputError(
                "this is a file, not a run folder",
                where=self.folder,
                fix="give a run a folder of its own with --out",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunLockedError(
                    "another process works on this run",
                    where=self.folder,
                    got=f"process {file.read().strip() or 'unknown'}",
                    fix="wait until it ends, or give this run another folder with --out",
                ) from None
            file.truncate(0)
            with storage_faults(self.folder / ".lock"):
                os.write(file.fileno(), str(os.getpid()).encode())
            remove_leftovers(self.folder)
            yield
