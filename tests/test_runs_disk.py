"""A disk that is full or fails is the machine's fault: one message, and nothing half-written."""

import errno
import os
import pickle
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.messages import told_in_one_message
from pipelines.terminal import log, say
from specialists.errors import DamagedError, SpecialistsError, StorageError
from specialists.files import (
    artifacts,
    atomic_write,
    check_file,
    read_json,
    sha256,
    storage_faults,
    write_array,
    write_json,
    write_tensors,
    write_text,
)

MACHINE_S = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO]
LIMIT = 4096


def write_checkpoint(path, tensor):
    with atomic_write(path) as temporary:
        torch.save({"a": tensor, "b": [torch.zeros(3)]}, temporary)


WRITERS = {
    "text": lambda path: write_text(path, "x" * 9000),
    "json": lambda path: write_json(path, list(range(9000))),
    "array": lambda path: write_array(path, np.zeros(9000)),
    "tensors": lambda path: write_tensors(path, {"a": torch.zeros(9000)}),
    "checkpoint": lambda path: write_checkpoint(path, torch.zeros(9000)),
}


@contextmanager
def small_files():
    """No file may grow beyond 4,096 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def failing(number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_that_the_disk_does_not_take_leaves_the_old_one_and_nothing_else(tmp_path, write):
    file = tmp_path / "a.pt"
    file.write_text("old")
    with small_files(), pytest.raises(StorageError) as caught:
        write(file)
    assert caught.value.exit_code == 1
    assert f"where: {file}\n" in str(caught.value)
    assert "then run the same command: it goes on where it was" in str(caught.value)
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a.pt", "old")]
    write(file)
    assert file.stat().st_size > LIMIT


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("number", MACHINE_S)
def test_a_fault_of_the_machine_is_told_whenever_it_comes(tmp_path, monkeypatch, moment, number):
    monkeypatch.setattr(artifacts.os, moment, failing(number))
    with pytest.raises(StorageError, match=os.strerror(number)) as caught:
        write_text(tmp_path / "new" / "a.txt", "x")
    monkeypatch.undo()
    assert isinstance(caught.value.__cause__, OSError)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    "said",
    [
        "[enforce fail at inline_container.cc:747] . open file failed with strerror: "
        + os.strerror(errno.ENOSPC),
        "[enforce fail at inline_container.cc:595] . PytorchStreamWriter failed writing file data/0"
        ": file write failed",
        "[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598",
        "basic_ios::clear: iostream error",
    ],
)
def test_what_pytorch_says_of_a_full_disk_is_understood(tmp_path, said):
    with (
        pytest.raises(StorageError, match="to mend it: free space on"),
        atomic_write(tmp_path / "a"),
    ):
        raise RuntimeError(said)


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EROFS, errno.ENOENT, errno.EPIPE, errno.ENOTDIR]
)
def test_what_the_user_can_mend_is_not_the_machine_s_fault(tmp_path, monkeypatch, number):
    monkeypatch.setattr(artifacts.os, "replace", failing(number))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write_text(tmp_path / "a.txt", "x")
    assert not isinstance(caught.value, SpecialistsError)


def test_a_read_only_disk_is_a_refusal_that_names_the_users_file(tmp_path, monkeypatch, capsys):
    def refuse(path, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SystemExit) as ended, told_in_one_message():
        write_text(tmp_path / "x.tsv", "x")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"where: {tmp_path}/x.tsv\n  got: Read-only file system" in told
    assert "goes on" not in told


def test_a_damaged_file_names_the_run_that_makes_it_again(tmp_path):
    file = tmp_path / "rc" / "stage" / "x.json"
    write_text(file, "{")
    with pytest.raises(DamagedError, match="`specialists run --out RUN` makes it again"):
        read_json(file)
    write_json(tmp_path / "rc" / ".specialists.json", {"kind": "run"})
    with pytest.raises(DamagedError, match=f"`specialists run --out {tmp_path}/rc` makes it again"):
        read_json(file)
    with pytest.raises(DamagedError, match=f"make it again: `specialists run --out {tmp_path}/rc`"):
        check_file(file, "another")


def test_another_error_of_a_writer_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"), atomic_write(tmp_path / "a"):
        raise RuntimeError("out of memory")
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_named_by_where_it_is_mounted(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.is_mount", lambda path: path == tmp_path)
    told = pytest.raises(StorageError, match=f"free space on {tmp_path}, then")
    with told, storage_faults(tmp_path / "run" / "a"):
        failing(errno.ENOSPC)()


def test_the_innermost_writer_tells_its_path(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts.os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(StorageError) as caught, storage_faults(tmp_path / "outer"):
        write_text(tmp_path / "inner", "x")
    assert str(caught.value).splitlines()[1] == f"  where: {tmp_path / 'inner'}"


def test_the_error_comes_whole_from_a_worker():
    sent = StorageError("the disk is full", where="a", fix="free space")
    assert str(pickle.loads(pickle.dumps(sent))) == str(sent)


@pytest.mark.parametrize("write", [say, log.info])
def test_output_that_nobody_takes_is_the_machine_s_fault(write, monkeypatch, capsys):
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(StorageError, match="where: standard output"):
            write("x")
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    write("y")
    assert capsys.readouterr().out == "y\n"


def test_json_keeps_names_that_utf_8_has_no_form_for(tmp_path):
    names = ["\ud800", "\udcff\\", "ж", "\x1b", "\\ud800"]
    write_json(tmp_path / "a.json", names)
    assert read_json(tmp_path / "a.json") == names
    assert "ж" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_folder_has_a_hash_whatever_bytes_name_its_files(tmp_path):
    for name in (b"bad\xff", b"\x1b"):
        (tmp_path / os.fsdecode(name)).mkdir()
        (tmp_path / os.fsdecode(name) / "a").touch()
    assert len(sha256(tmp_path)) == 64
