"""A resumable result is built once, again if what it depends on changed, and goes on if stopped."""

import os

import pytest

from pipelines.runs import ensure_result
from specialists.errors import InputError
from specialists.files import CODE_VERSION, is_done, write_json, write_text
from specialists.files.ownership import MARKER, WRITTEN

KEY = {"config": {"seed": 1}, "inputs": {}}


@pytest.fixture(autouse=True)
def no_sync(monkeypatch):
    """Syncing guards against power cuts, and takes long."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


def visible(folder) -> list[str]:
    """What lies there beside the list of names."""
    return sorted(path.name for path in folder.iterdir() if path.name != WRITTEN)


class Build:
    """Writes a result; remembers what it found, and can be made to fail."""

    def __init__(self) -> None:
        self.found: list[list[str]] = []
        self.fails = False

    def __call__(self, folder) -> None:
        self.found.append(visible(folder))
        write_text(folder / "checkpoint.pt", "half")
        if self.fails:
            raise RuntimeError("killed")
        (folder / "checkpoint.pt").unlink()
        write_text(folder / "weights", "whole")


def test_a_result_that_holds_is_not_built_again(tmp_path):
    build = Build()
    assert ensure_result(tmp_path / "unit", KEY, build)
    assert not ensure_result(tmp_path / "unit", KEY, build)
    assert build.found == [[".started.json"]]
    assert visible(tmp_path / "unit") == ["manifest.json", "weights"]


@pytest.mark.parametrize("seed", [1, 2])
def test_an_interrupted_result_finds_its_checkpoint_only_under_the_same_key(tmp_path, seed):
    build = Build()
    build.fails = True
    with pytest.raises(RuntimeError, match="killed"):
        ensure_result(tmp_path, KEY, build)
    build.fails = False
    assert ensure_result(tmp_path, {**KEY, "config": {"seed": seed}}, build)
    goes_on = [".started.json", "checkpoint.pt"]
    assert build.found[1] == (goes_on if seed == 1 else [".started.json"])


def test_a_changed_key_builds_from_nothing(tmp_path):
    build = Build()
    ensure_result(tmp_path, KEY, build)
    assert ensure_result(tmp_path, {**KEY, "inputs": {"a": "b"}}, build)
    assert build.found[1] == [".started.json"]


def test_a_damaged_output_is_made_again(tmp_path):
    build = Build()
    ensure_result(tmp_path, KEY, build)
    (tmp_path / "weights").write_text("damaged")
    assert ensure_result(tmp_path, KEY, build)
    assert (tmp_path / "weights").read_text() == "whole"


def test_the_key_may_hold_tuples(tmp_path):
    build = Build()
    build.fails = True
    with pytest.raises(RuntimeError, match="killed"):
        ensure_result(tmp_path, {"subset": (1, 2)}, build)
    build.fails = False
    ensure_result(tmp_path, {"subset": (1, 2)}, build)
    assert build.found[1] == [".started.json", "checkpoint.pt"]
    assert is_done(tmp_path, {"code": CODE_VERSION, "subset": (1, 2)}) is None


def test_a_result_is_not_made_beyond_a_link_inside_its_run(tmp_path):
    build, run = Build(), tmp_path / "by-a-link"
    (tmp_path / "run").mkdir()
    run.symlink_to(tmp_path / "run")
    write_json(run / MARKER, {"kind": "run"})
    assert ensure_result(run / "stage/units/wide", KEY, build)
    (run / "stage/units").rename(tmp_path / "elsewhere")
    (run / "stage/units").symlink_to(tmp_path / "elsewhere")
    write_json(tmp_path / "elsewhere" / MARKER, {"kind": "run"})  # of another run, or forged
    assert not ensure_result(run / "stage/units/wide", KEY, build)
    for key, name in (({**KEY, "inputs": {"a": "b"}}, "wide"), (KEY, "narrow")):
        with pytest.raises(InputError, match="symbolic link, which is neither followed nor empt"):
            ensure_result(run / "stage/units" / name, key, build)
    assert visible(tmp_path / "elsewhere/wide") == ["manifest.json", "weights"]
    assert len(build.found) == 1
