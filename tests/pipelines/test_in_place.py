"""Data that are read where they lie: a run of them is the run of a copy."""

import numpy as np
import pytest
from small_run import SETTINGS, all_but_times, create_run, features

from pipelines.stages import run_stages
from specialists.config import Config
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
