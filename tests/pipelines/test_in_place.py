"""Data that are read where they lie: a run of them is the run of a copy."""

import numpy as np
import pytest
from PIL import Image
from small_run import SETTINGS, all_but_times, create_run, features

from pipelines.stages import run_stages
from specialists.config import Config
from specialists.datasets.raw_rows import ImageFiles
from specialists.files import read_json


def parts(folder):
    """Training, validation and test rows in files of their own, by role."""
    folder.mkdir()
    paths = {}
    for seed, (part, n) in enumerate({"train": 40, "validation": 10, "test": 10}.items()):
        for role, array in zip("xy", features(n, seed + 2), strict=True):
            paths[f"{role}_{part}"] = str(folder / f"{role}_{part}.npy")
            np.save(paths[f"{role}_{part}"], array)
    return paths


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two whole runs of the same rows: read in place, and copied."""
    folder = tmp_path_factory.mktemp("both")
    paths, runs = parts(folder / "rows"), {}
    for in_place in (True, False):
        data = {"arrays": paths, "augment": False, "in_place": in_place}
        few = {"n": [1], "weights": [1.0], "admission": "off"}
        values = {**SETTINGS, "data": data, "combination": few}
        run = create_run(folder / str(in_place), Config.from_dict(values))
        with run.lock():
            run_stages(run)
        runs[in_place] = run
    return runs


def test_rows_read_in_place_give_the_same_models_and_results(both):
    found, expected = (all_but_times(run.folder) for run in both.values())
    models = [name for name in expected if name.endswith((".safetensors", ".npy", "choice.json"))]
    models = [name for name in models if not name.startswith("prepare-data/")]
    assert len(models) > 20
    assert {name: found[name] for name in models} == {name: expected[name] for name in models}


def test_a_run_holds_no_copy_of_rows_that_are_read_in_place(both):
    held = [run.path("prepare-data", "train.inputs.npy").is_file() for run in both.values()]
    assert held == [False, True]
    assert read_json(both[True].path("prepare-data", "train.inputs.json"))["shape"] == [480, 6]


def paint(folder):
    """Pictures of 8 x 8 pixels of twelve classes, three alike each, in a folder a class."""
    rng = np.random.default_rng(0)
    bases = rng.integers(40, 216, (4, 1, 8, 8)) + rng.integers(-25, 26, (4, 3, 8, 8))
    for label, base in enumerate(bases.reshape(12, 8, 8)):
        (folder / f"class {label:02d}").mkdir(parents=True)
        for i in range(24):
            pixels = (base + rng.integers(-15, 16, (8, 8))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"class {label:02d}" / f"{i}.png")
    return str(folder)


def test_a_folder_of_pictures_trains_a_few_of_them_at_a_time(tmp_path, monkeypatch):
    few = {"epochs": 1, "batch_size": 32, "learning_rate": 0.01}
    values = {**SETTINGS, "generalist": {**few, "width": 4, "depth": 1}}
    values["specialists"] = {**few, "start": "generalist"}
    values["combination"] = {"n": [1], "weights": [1.0], "admission": "off"}
    values["student"] = {**SETTINGS["student"], **few}
    read, reads, made = ImageFiles.read, [], {}
    monkeypatch.setattr(ImageFiles, "read", lambda s, n: (reads.append(len(n)), read(s, n))[1])
    for room in ("raw_rows", "fetched_rows"):  # blocks of 40 pictures at most
        monkeypatch.setattr(f"specialists.datasets.{room}.BLOCK_BYTES", 40 * 8 * 8)
    data = {"images": paint(tmp_path / "pictures"), "image_size": 8, "augment": False}
    for in_place in (False, True):
        values["data"] = {**data, "in_place": in_place}
        run = create_run(tmp_path / str(in_place), Config.from_dict(values))
        with run.lock():
            run_stages(run, "distill-student")
        made[in_place] = {
            name: digest
            for name, digest in all_but_times(run.folder).items()
            if name.endswith(".safetensors")
        }
        assert bool(reads) == in_place
    assert sum(reads) > 3 * 12 * 24
    assert max(reads) <= 40
    assert len(made[True]) > 4
    assert made[True] == made[False]
    assert not list((tmp_path / "True").rglob("*.inputs.npy"))
