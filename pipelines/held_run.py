"""The run folder of a fitted classifier: made in a temporary folder, which goes with it.

A pickle carries the bytes of the files that prediction needs: descriptions, weights, the chosen
rule. They lie in a folder again as soon as a model is asked for.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specialists.config import Config
from specialists.datasets import Dataset
from specialists.datasets.factory import handing_over
from specialists.errors import InputError, calling
from specialists.files import (
    EVERYTHING,
    NOTHING,
    atomic_write,
    copy_file,
    trusting,
    write_json,
    write_text,
)
from specialists.files.disk import unsynced
from specialists.predictor import Predictor
from specialists.runtime import check_guarded

from .runs import Run
from .stages import run_stages
from .trained_models import load

FITTED = "distill-student"  # the last stage that no report is needed for
CLUSTERS = "given-clusters.json"
WEIGHTS = (
    "train-generalist/weights.safetensors",
    "train-specialists/s*-*/weights.safetensors",
    "distill-student/student*/weights.safetensors",
)

Functions = Mapping[str, Callable[..., Any]]


class HeldRun:
    """A run that a program owns.

    Parameters
    ----------
    functions : mapping
        Callables of the program, by the names that the configuration gives them.
    trust_code : bool
        Whether functions that the folder names may be called.
    origin : Path, optional
        The folder that somebody saved this in.
    """

    def __init__(
        self, functions: Functions, trust_code: bool = True, origin: Path | None = None
    ) -> None:
        self.functions, self.trust_code, self.origin = functions, trust_code, origin
        self._directory: Path | None = None
        self._files: dict[str, bytes] = {}
        self._rows: Functions = {}
        self._names: Mapping[str, str] = {}
        self._run: Run | None = None
        self._models: dict[str, Predictor] = {}

    @classmethod
    def make(
        cls,
        dataset: Dataset,
        config: Config,
        functions: Functions,
        clusters: Sequence[Sequence[str]] | None = None,
        rows: Functions | None = None,
        names: Mapping[str, str] | None = None,
    ) -> HeldRun:
        """Train every model on a data set of the program.

        ``clusters`` are the names of their classes, ``rows`` gives what the data set reads again
        and again, and ``names`` says what errors call parts of the configuration.

        Raises
        ------
        InputError
            If the settings cannot work with these data.
        """
        held = cls(functions)
        held._rows, held._names = rows or {}, names or {}
        if rows:  # no worker process has them
            config = config.model_copy(update={"jobs": 1})
        if config.jobs > 1:
            check_guarded()
        held._run = Run(held.folder, trust=EVERYTHING, dataset=dataset)
        with held._at_work(), held._run.lock():
            if clusters is not None:
                file = held.path(CLUSTERS)
                write_json(file, {"clusters": [{"names": list(names)} for names in clusters]})
                given = config.clusters.model_copy(update={"file": str(file)})
                config = config.model_copy(update={"clusters": given})
            write_text(held._run.config_file, config.to_toml())
            run_stages(held._run, FITTED)
        return held

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="specialists-"))
            weakref.finalize(self, _remove, self._directory, os.getpid())
            for name, content in self._files.items():
                with unsynced(), atomic_write(self._directory / name) as temporary:
                    temporary.write_bytes(content)
            self._files = {}
        elif not self._directory.is_dir():
            raise _gone(self._directory)
        return self._directory

    @cached_property
    def data_keys(self) -> Mapping[str, str]:
        """Under which keys the items of a dataset have what is read; {}: under the usual ones."""
        return Run(self.folder).config.data.keys or {}

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    def model(self, name: str) -> Predictor:
        """The student, ensemble or generalist, read once."""
        if name not in self._models:
            with self._called_as_given(), handing_over(self.functions):
                self._models[name] = load(self.folder, name, self.trust_code)
        return self._models[name]

    def _called_as_given(self) -> AbstractContextManager[None]:
        """Errors name what the user gave, not the files and names that stand for it here."""
        files = {f"{self.folder / CLUSTERS}": "clusters="}
        files[f"`specialists run --out {self.folder}`"] = "`fit`"
        return calling(
            {**files, **self._names, f"{self.folder}": f"{self.origin or 'the fitted classifier'}"}
        )

    @contextmanager
    def reading(self) -> Iterator[Path]:
        """The folder, whose networks may be built inside."""
        trust = EVERYTHING if self.trust_code else NOTHING
        functions = {**self.functions, **self._rows}
        with self._called_as_given(), handing_over(functions), trusting(trust):
            yield self.folder

    def report(self, folder: Path) -> Path:
        """Measure every model and its baselines, and write ``report.html`` into a folder.

        Raises
        ------
        InputError
            If this came out of a pickle or a saved folder, which hold none of the data.
        """
        if self._run is None:
            raise InputError(
                "a report needs the data, and only the program that fitted this has them",
                fix="write the report before the classifier is saved or pickled",
            )
        with self._at_work(), self._run.lock():
            run_stages(self._run)
        for name in ("report.html", "evaluation.json"):
            copy_file(self.path(name), folder / name)
        return folder / "report.html"

    def files(self) -> dict[str, bytes]:
        """What prediction needs, by path below the folder.

        Raises
        ------
        InputError
            If somebody removed the folder.
        """
        if self._directory is None:
            return self._files
        folder = self.folder
        if not Run(folder).config_file.is_file():
            raise _gone(folder)
        found = [p for suffix in ("json", "toml") for p in folder.rglob(f"*.{suffix}")]
        found += [path for pattern in WEIGHTS for path in folder.glob(pattern)]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}

    @classmethod
    def from_files(
        cls,
        files: Mapping[str, bytes],
        functions: Functions,
        trust_code: bool = True,
        origin: Path | None = None,
    ) -> HeldRun:
        """What :meth:`files` gave; ``trust_code`` as :func:`specialists.load` has it."""
        held = cls(functions, trust_code, origin)
        held._files = dict(files)
        return held

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.files(), dict(self.functions), self.trust_code, self.origin)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Stages may be run: random numbers of the program go on as if they had not been."""
        states = random.getstate(), np.random.get_state()
        try:
            with self.reading(), unsynced(), torch.random.fork_rng():
                yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _remove(folder: Path, maker: int) -> None:
    """A forked child, which ends with a copy of the run, leaves the folder to its maker."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)


def _gone(folder: Path) -> InputError:
    return InputError(
        "the folder of this fitted classifier is gone, and its models with it",
        where=folder,
        expected="a folder that stays as long as the classifier",
        fix="fit it again; where temporary folders are cleaned up, set TMPDIR elsewhere",
    )


def _restored(
    files: Mapping[str, bytes], functions: Functions, trust_code: bool, origin: Path | None
) -> HeldRun:
    return HeldRun.from_files(files, functions, trust_code, origin)
