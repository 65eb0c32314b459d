"""A data set of twelve confusable classes and settings that run the whole pipeline in seconds."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipelines import stages
from pipelines.runs import Run
from specialists.config import Config
from specialists.files import Trust, artifacts, sha256, write_text
from specialists.training import loop

N_CLASSES = 12
NAMES = tuple(f"{family}{member}" for family in "abcd" for member in range(3))
DIM = 6
SETTINGS: dict[str, Any] = {
    "seed": 5,
    "device": "cpu",
    "precision": "float32",
    "threads": 1,
    "jobs": 1,
    "generalist": {
        "width": 12,
        "depth": 1,
        "epochs": 3,
        "batch_size": 64,
        "learning_rate": 0.03,
        "dropout": 0.1,
    },
    "clusters": {"n_clusters": 3},
    "specialists": {
        "start": "generalist",
        "epochs": 2,
        "batch_size": 64,
        "learning_rate": 0.03,
        "dropout": 0.3,
    },
    "combination": {"n": [1, 2], "weights": [1.0]},
    "student": {
        "width": 4,
        "epochs": 2,
        "batch_size": 64,
        "learning_rate": 0.05,
        "dropout": 0.0,
        "temperatures": [2.0],
        "alphas": [0.7],
    },
    "evaluation": {"n_bootstrap": 20, "baselines": "all"},
}


def features(n_per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four families of three classes each, close to one another; rows in random order."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(4, 1, DIM)) * 3
    centres = (centres + np.random.default_rng(1).normal(size=(4, 3, DIM))).reshape(-1, DIM)
    labels = rng.permutation(np.repeat(np.arange(N_CLASSES), n_per_class))
    x = centres[labels] + rng.normal(size=(len(labels), DIM))
    return x.astype(np.float32), np.array(NAMES)[labels]


def write_arrays(folder: Path, shuffled_test_labels: bool = False) -> Path:
    """``data.npz`` with train, validation and test parts."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for seed, (part, n) in enumerate({"train": 40, "validation": 10, "test": 10}.items()):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = features(n, seed + 2)
    if shuffled_test_labels:
        arrays["y_test"] = np.random.default_rng(9).permutation(arrays["y_test"])
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def make_run(folder: Path) -> Run:
    """A run folder with its settings and its data, and nothing made yet."""
    data = {"arrays": str(write_arrays(folder.parent / "data")), "augment": False}
    values = {**SETTINGS, "data": data}
    return create_run(folder, Config.from_dict(values))


def create_run(folder: Path, config: Config) -> Run:
    """A run folder that holds nothing but its settings."""
    run = Run(folder)
    with run.lock():
        write_text(run.config_file, config.to_toml())
    return run


def changed_copy(run: Run, folder: Path, *overrides: str, jobs: int | None = None) -> Run:
    """A copy of a run with other settings, of which what still holds needs not be made again."""
    shutil.copytree(run.folder, folder)
    config = Config.from_toml(folder / "config.toml", overrides)
    write_text(folder / "config.toml", config.to_toml())
    return Run(folder, jobs, Trust.from_config(config))


def all_but_times(folder: Path) -> dict[str, str]:
    """The sha256 of every artifact below ``folder``, by path."""
    files = (file for file in folder.rglob("*") if file.is_file())
    kept = (file for file in files if not file.name.startswith(("timing", ".")))
    return {file.relative_to(folder).as_posix(): sha256(file) for file in kept}


class Branched(nn.Module):
    """A user's own network: no chain, with a buffer that is not saved and a layer frozen."""

    scale: torch.Tensor

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((DIM,), 0.5), persistent=False)
        self.stem = nn.Linear(DIM, width)
        self.norm = nn.BatchNorm1d(width)
        self.branch = nn.Linear(DIM, width)
        self.out = nn.Linear(width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * self.scale
        return self.out(torch.relu(self.norm(self.stem(x)) + self.branch(x)))


def branched(n_classes: int, width: int = 12) -> nn.Module:
    """For ``generalist.factory = "small_run:branched"``."""
    return Branched(n_classes, width)


def attempt(folder: Path, moment: int | None = None) -> Callable[[], None]:
    """A run up to the evaluation; killed in the ``moment``-th replacement of a file, if given."""

    def work() -> None:
        replace, moments = os.replace, itertools.count()

        def risky(*arguments) -> None:
            now = next(moments)
            if now == moment and now % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*arguments)
            if now == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        artifacts.os.replace = risky
        run = Run(folder)
        with run.lock():
            stages.run_stages(run, "evaluate-models")
        artifacts.os.replace = replace
        (folder / "moments.txt").write_text(str(next(moments)))

    return work


def in_a_fork(work: Callable[[], None]) -> bool:
    """Whether ``work`` ended in a process of its own, instead of being killed."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as sys.stdout:
            work()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == 0


def kill_and_go_on(folder: Path, n_moments: int) -> None:
    """Kill a run at moments spread over it, repeat it, compare every artifact."""
    os.fsync = lambda file: None  # guards against power cuts, and takes long
    loop.CHECKPOINT_SECONDS = 0.0
    whole = make_run(folder / "whole")
    attempt(whole.folder)()  # here, so that what forks has imported everything
    total = int((whole.folder / "moments.txt").read_text())
    (whole.folder / "moments.txt").unlink()
    expected = all_but_times(whole.folder)
    for i in range(n_moments):
        moment = round((i + 0.5) * total / n_moments)
        run = make_run(folder / f"killed-{moment}")
        assert not in_a_fork(attempt(run.folder, moment)), moment
        assert in_a_fork(attempt(run.folder)), moment
        (run.folder / "moments.txt").unlink()
        found = all_but_times(run.folder)
        assert found == expected, (moment, sorted(dict(found.items() ^ expected.items())))
        shutil.rmtree(run.folder)
    print(f"{n_moments} moments of {total}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    kill_and_go_on(Path(sys.argv[1]), int(sys.argv[2]))
