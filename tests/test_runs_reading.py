"""Where a file of ours belongs may lie a pipe, a device, a vast file, or JSON of other types."""

import os
import signal

import numpy as np
import pytest
from small_run import create_run
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.runs import RUN, check_result, claimed, kind_of
from specialists.config import Config
from specialists.errors import DamagedError, InputError
from specialists.files import is_done, read_array, read_json, write_sealed
from specialists.files.manifests import CODE_VERSION, read_manifest
from specialists.files.ownership import owned_names, written_names
from specialists.files.reading import LARGEST

DIGEST = "0" * 64


@pytest.fixture(autouse=True)
def ends():
    """A test that waits for a pipe fails instead."""

    def fail(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def sparse(file):
    with file.open("wb") as opened:
        opened.truncate(2**33)


def device(file):
    file.symlink_to("/dev/zero")


@pytest.fixture(params=[os.mkfifo, device, sparse], ids=["pipe", "device", "sparse"])
def trap(request):
    """Puts something endless in the place of a file."""
    return lambda file: (file.unlink(missing_ok=True), request.param(file))


def test_json_is_read_of_ordinary_files_only(tmp_path, trap):
    trap(tmp_path / "model.json")
    with pytest.raises(DamagedError, match=r"no ordinary file|larger than"):
        read_json(tmp_path / "model.json")


@pytest.mark.parametrize(
    "name", [".specialists.json", ".specialists-written", ".lock", "config.toml",
             "prepare-data/manifest.json", "prepare-data/.started.json",
             "prepare-data/.specialists-written", "comparison.json", "prepare-data/dataset.json"],
)  # fmt: skip
def test_no_command_waits_for_what_lies_in_a_strangers_folder(tmp_path, trap, name):
    run = create_run(tmp_path / "run", Config.from_dict({"data": {"arrays": "gone.npz"}}))
    (run.folder / "prepare-data").mkdir()
    trap(run.folder / name)
    for command in ("status", "prepare-data"):
        told = CliRunner().invoke(app, [command, str(run.folder)])
        assert told.exit_code in (0, 2), told.output
        assert told.output.count("error:") == (told.exit_code == 2)


def test_a_large_file_of_ours_is_read(tmp_path):
    (tmp_path / "large.json").write_text("[" + " " * (LARGEST // 64) + "1]")
    assert read_json(tmp_path / "large.json") == [1]


@pytest.mark.parametrize("part", ["inputs", "outputs"])
@pytest.mark.parametrize("forged", [None, 7, "a/b", ["a/b.json"]])
def test_a_manifest_of_other_types_is_damaged(tmp_path, part, forged):
    stage = tmp_path / "stage"
    content = {"code": CODE_VERSION, "inputs": {}, "outputs": {}, part: forged}
    write_sealed(stage / "manifest.json", content)
    with pytest.raises(DamagedError, match="does not record files by name"):
        read_manifest(stage)
    assert is_done(stage, {"inputs": {}}) == "manifest.json cannot be read"
    with pytest.raises(InputError, match="to mend it: "):
        check_result(tmp_path, "stage")
    run = tmp_path / "run"
    with claimed(run, RUN):
        write_sealed(run / "stage" / "manifest.json", content)
    with pytest.raises(InputError, match="`specialists stage "):
        check_result(run, "stage")


def test_a_name_that_no_file_can_have_is_nobodys(tmp_path):
    (tmp_path / ".specialists-written").write_bytes(b"\na.npy\nb\0c\n\0\0")
    assert written_names(tmp_path) == {"a.npy", "b\0c", "\0\0"}
    assert owned_names(tmp_path) == {"a.npy"}
    assert kind_of(tmp_path) is None


def test_an_archive_is_no_array(tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.zeros(3))
    whole = (tmp_path / "whole.npz").read_bytes()
    for content in (whole, whole[:60]):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(DamagedError, match="no whole array"):
            read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_of_ours_holds_no_such_number(tmp_path, number):
    (tmp_path / "a.json").write_text(f'{{"temperature": {number}}}')
    with pytest.raises(DamagedError, match="is no number of JSON"):
        read_json(tmp_path / "a.json")
