"""Data that are larger than the memory that a run may take for itself: sparse files of zeros."""

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import SETTINGS, create_run

from pipelines.stages import run_stages
from specialists import SpecialistClassifier
from specialists.config import Config

N_CLASSES = 12


def own_memory(pid):
    """Bytes that a process holds for itself, without the pages of files that it has mapped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return 1024 * sum(int(status.get(key, "0 kB").split()[0]) for key in ("RssAnon", "RssShmem"))


def peak_memory(work):
    """The most bytes that ``work`` holds in a process of its own."""
    child = os.fork()
    if child == 0:
        done = False
        try:
            torch.set_num_threads(1)
            work()
            done = True
        finally:
            os._exit(not done)
    peak = ended = status = 0
    while not ended:
        peak = max(peak, own_memory(child))  # of one that has ended it is nothing
        time.sleep(0.02)
        ended, status = os.waitpid(child, os.WNOHANG)
    assert status == 0
    return peak


def sparse_arrays(folder, n_rows, n_features):
    """Arrays of mostly zeros, which take a page of the disk a row; their paths."""
    random = np.random.default_rng(0)
    labels = random.integers(0, N_CLASSES, n_rows)
    centres = 3 * random.normal(size=(4, 8)).repeat(3, axis=0) + random.normal(size=(12, 8))
    values = centres[labels] + random.normal(size=(n_rows, 8))
    paths = {"x": str(folder / "x.npy"), "y": str(folder / "y.npy")}
    x = np.lib.format.open_memmap(paths["x"], "w+", np.float32, (n_rows, n_features))
    for i, row in enumerate(values):
        x[i, :8] = row
    x.flush()
    np.save(paths["y"], np.array([f"class {label}" for label in labels]))
    return paths


ONE_EPOCH = {
    **SETTINGS,
    "generalist": {"width": 8, "epochs": 1, "learning_rate": 0.01, "batch_size": 256, "depth": 1},
    "specialists": {"epochs": 1, "learning_rate": 0.01, "batch_size": 256},
    "student": {**SETTINGS["student"], "epochs": 1},
    "combination": {"n": [1], "weights": [1.0], "admission": "off"},
}


def train(folder, paths, **data):
    """Generalist, clusters, specialists, combination and student, an epoch each."""
    settings = {**ONE_EPOCH, "data": {"arrays": paths, "augment": False, **data}}
    run = create_run(folder, Config.from_dict(settings))
    with run.lock():
        run_stages(run, "distill-student")


def fit(folder, paths, **data):
    """The same by the estimator, from a memory-mapped array."""
    settings = {**ONE_EPOCH, "data": {"augment": False, **data}}
    folder.mkdir()
    tempfile.tempdir = str(folder)  # of this process
    x = np.load(paths["x"], mmap_mode="r")
    SpecialistClassifier(settings=settings).fit(x, np.load(paths["y"])).predict(x)


@pytest.mark.parametrize("work", [train, fit])
def test_memory_does_not_grow_with_an_array_that_is_read_in_place(work, tmp_path):
    peaks = []
    for n_rows in (9600, 14_400):  # 315 and 472 MB: many batches, and half as many more
        folder = tmp_path / str(n_rows)
        folder.mkdir()
        paths = sparse_arrays(folder, n_rows, 8192)
        peaks.append(peak_memory(partial(work, folder / "run", paths, in_place=True)))
    assert peaks[1] - peaks[0] < 60e6
    assert not list(tmp_path.rglob("train.inputs.npy"))


@pytest.mark.slow
def test_an_array_of_8_gb_trains_in_less_than_3_gb(tmp_path):
    paths = sparse_arrays(tmp_path, 32_768, 65_536)
    assert os.path.getsize(paths["x"]) > 8e9
    assert peak_memory(partial(train, tmp_path / "run", paths, max_examples=16_384)) < 3e9  # 4.3 GB
