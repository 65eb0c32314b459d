"""Artifacts are written whole or not at all; manifests tell why a result no longer holds."""

import os
import re
import runpy
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import specialists
from pipelines.runs import (
    COMPARISON,
    Run,
    how_to_have_a_run,
    locked,
    remove_leftovers,
)
from pipelines.trained_models import load
from specialists.errors import DamagedError, InputError, RunLockedError
from specialists.files import (
    CODE_VERSION,
    atomic_write,
    finish,
    hash_files,
    is_done,
    manifest_key,
    read_array,
    read_json,
    read_tensors,
    recording,
    sha256,
    write_array,
    write_json,
    write_tensors,
    write_text,
)

KEY: Any = manifest_key({"prepare-data/train.labels.npy": "ab"}, {"generalist": {"epochs": 6}})

KILLED_WRITER = """
import sys, time
from specialists.files import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    temporary.write_text("half of the new")
    print("half", flush=True)
    time.sleep(60)
"""

LOCK_HOLDER = """
import sys, time
from pipelines.runs import Run
with Run(sys.argv[1]).lock():
    print("locked", flush=True)
    time.sleep(60)
"""


def start(code: str, argument: Path) -> subprocess.Popen:
    """A Python process that has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(argument)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def kill(process: subprocess.Popen) -> None:
    with process:
        process.send_signal(signal.SIGKILL)


def made(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        write_text(folder / f"{name}.txt", text)
    finish(folder, KEY)
    return folder


def test_a_killed_writer_leaves_the_old_file_and_its_leftover_is_cleared(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("old")
    kill(start(KILLED_WRITER, path))
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    finish(tmp_path, KEY)
    assert list(read_json(tmp_path / "manifest.json")["outputs"]) == ["words.txt"]
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["manifest.json", "words.txt"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_text(f"new {1 / 0}")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_the_temporary_name_keeps_the_suffix_and_lies_in_the_same_folder(tmp_path):
    with atomic_write(tmp_path / "new" / "x.npy") as temporary:
        assert temporary.suffix == ".npy"
        assert temporary.parent == tmp_path / "new"
        temporary.touch()


@pytest.mark.parametrize("mmap", [True, False])
def test_arrays_come_back(tmp_path, mmap):
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    write_array(tmp_path / "a.npy", array)
    back = read_array(tmp_path / "a.npy", mmap=mmap)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert isinstance(back, np.memmap) == mmap


def test_object_arrays_are_refused_both_ways(tmp_path):
    pickled = np.array([{}], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle"):
        write_array(tmp_path / "a.npy", pickled)
    np.save(tmp_path / "b.npy", pickled, allow_pickle=True)
    with pytest.raises(DamagedError, match="no whole array"):
        read_array(tmp_path / "b.npy", mmap=False)


def test_tensors_come_back_and_their_file_depends_on_their_values_alone(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"w": whole, "transposed": whole.T, "shared": whole[1]}
    write_tensors(tmp_path / "a.safetensors", tensors)
    write_tensors(tmp_path / "b.safetensors", dict(reversed(tensors.items())))
    back = read_tensors(tmp_path / "a.safetensors")
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")


def test_json_takes_numpy_and_text_but_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"π": np.float32(0.5), "b": np.arange(2)})
    assert read_json(tmp_path / "a.json") == {"π": 0.5, "b": [0, 1]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == {"π": 0.5, "b": [0, 1]}


@pytest.mark.parametrize("read", [read_json, read_array, read_tensors])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00 not what was written"])
def test_a_damaged_artifact_is_told_with_its_path(tmp_path, read, content):
    file = tmp_path / "artifact"
    file.write_bytes(content)
    with pytest.raises(DamagedError, match="damaged") as caught:
        read(file)
    assert str(file) in str(caught.value)
    assert "pickle" not in str(caught.value)


def test_a_hash_follows_the_contents_even_when_rewritten_at_once(tmp_path):
    file = tmp_path / "a"
    hashes = set()
    for text in "abcdefgh":
        file.write_text(text)
        hashes.add(sha256(file))
    assert len(hashes) == 8


def test_a_remembered_hash_is_dropped_when_the_file_changes_in_place(tmp_path):
    file = tmp_path / "a"
    file.write_text("a")
    os.utime(file, (1e9, 1e9))
    before = sha256(file)
    file.write_text("b")
    os.utime(file, (1e9 + 1, 1e9 + 1))
    assert sha256(file) != before


def test_the_hash_of_a_folder_follows_names_and_contents(tmp_path):
    for name in ("one/a", "two/a", "three/b", "four/a"):
        write_text(tmp_path / name, "1" if name != "two/a" else "2")
    assert sha256(tmp_path / "one") == sha256(tmp_path / "four")
    assert len({sha256(tmp_path / name) for name in ("one", "two", "three")}) == 3


def test_a_finished_result_holds(tmp_path):
    assert is_done(made(tmp_path, a="1"), KEY) is None


@pytest.mark.parametrize("content", ["{", "[]", "{}", "\xff"])
def test_a_broken_manifest_is_told(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content.encode("latin-1"))
    assert is_done(tmp_path, KEY) == "manifest.json cannot be read"


def test_nothing_made_is_missing(tmp_path):
    assert is_done(tmp_path / "nowhere", KEY) == "missing"
    (tmp_path / "weights.txt").touch()
    assert is_done(tmp_path, KEY) == "missing"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (
            manifest_key(KEY["inputs"], {"generalist": {"epochs": 8}}),
            "config changed: generalist.epochs 6 -> 8",
        ),
        (
            manifest_key(KEY["inputs"], {"generalist": {"epochs": 6, "width": (1, 2)}}),
            "config changed: generalist.width nothing -> [1, 2]",
        ),
        (
            manifest_key({"prepare-data/train.labels.npy": "cd"}, KEY["config"]),
            "input prepare-data/train.labels.npy changed",
        ),
        (
            manifest_key({"a": "cd"}, KEY["config"]),
            "input prepare-data/train.labels.npy is gone, a is new",
        ),
        ({**KEY, "code": "other"}, f"code version {CODE_VERSION} -> other"),
        ({**KEY, "seed": 3}, "seed changed: nothing -> 3"),
    ],
)
def test_a_changed_key_is_told_in_words(tmp_path, key, reason):
    assert is_done(made(tmp_path, a="1"), key) == reason


def test_of_many_changes_three_are_named(tmp_path):
    key = manifest_key(KEY["inputs"], {"generalist": {"epochs": 6, **dict.fromkeys("abcde", 1)}})
    assert str(is_done(made(tmp_path), key)).endswith("and 2 more")


def test_a_changed_or_lost_output_is_told(tmp_path):
    made(tmp_path, a="1", b="1")
    write_text(tmp_path / "a.txt", "2")
    assert is_done(tmp_path, KEY) == "output a.txt changed"
    (tmp_path / "a.txt").unlink()
    assert is_done(tmp_path, KEY) == "output a.txt is gone"


def test_times_checkpoints_hidden_and_temporary_files_are_not_outputs(tmp_path):
    for name in ("timing.jsonl", "checkpoint.safetensors", ".key.json", "x.tmp"):
        write_text(tmp_path / name, "1")
    made(tmp_path, a="1")
    assert list(read_json(tmp_path / "manifest.json")["outputs"]) == ["a.txt"]
    assert list(hash_files(tmp_path, ["*"])) == ["a.txt", "manifest.json"]


def test_an_inner_result_is_recorded_by_its_manifest_and_checked_to_the_bottom(tmp_path):
    made(tmp_path / "plain" / "unit-000", weights="1")
    made(tmp_path, a="1")
    outputs = read_json(tmp_path / "manifest.json")["outputs"]
    assert list(outputs) == ["a.txt", "plain/unit-000/manifest.json"]
    assert is_done(tmp_path, KEY) is None
    write_text(tmp_path / "plain" / "unit-000" / "weights.txt", "2")
    assert is_done(tmp_path, KEY) == "output weights.txt changed (in plain/unit-000)"


def test_a_foreign_manifest_inside_is_just_a_file(tmp_path):
    write_json(tmp_path / "targets" / "manifest.json", ["shard-0.npy"])
    assert is_done(made(tmp_path), KEY) is None


def test_an_output_outside_the_folder_is_checked_too(tmp_path):
    write_text(tmp_path / "report.html", "<p>")
    folder = tmp_path / "write-report"
    finish(folder, KEY, outside=[tmp_path / "report.html"])
    assert is_done(folder, KEY) is None
    (tmp_path / "report.html").unlink()
    assert is_done(folder, KEY) == "output ../report.html is gone"


def test_the_same_result_has_the_same_manifest_wherever_it_lies(tmp_path):
    one, two = made(tmp_path / "one", a="1", b="2"), made(tmp_path / "two", b="2", a="1")
    assert sha256(one / "manifest.json") == sha256(two / "manifest.json")


def test_the_distribution_package_and_results_have_one_version():
    root = Path(__file__).parents[1]
    file = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["version"]["path"]
    assert runpy.run_path(str(root / file))["__version__"] == CODE_VERSION
    assert specialists.__version__ == CODE_VERSION


def test_a_second_process_is_refused_at_once_and_told_who_works(tmp_path):
    holder = start(LOCK_HOLDER, tmp_path)
    with pytest.raises(RunLockedError, match=rf"process {holder.pid}\b"), Run(tmp_path).lock():
        pass
    kill(holder)


def test_a_dead_process_s_lock_does_not_block_and_its_leftovers_go(tmp_path):
    kill(start(LOCK_HOLDER, tmp_path))
    folders = [tmp_path / "stage", tmp_path / "stage/units/wide"]
    for folder in folders:
        with recording(folder):
            write_text(folder / "weights.npy", "whole")
        write_text(folder / ".tmp-0123abcd-weights.npy", "half")
        write_text(folder / ".tmp-0123abcd-notes.txt", "of the user")
    with Run(tmp_path).lock():
        assert re.fullmatch(str(os.getpid()), (tmp_path / ".lock").read_text())
        for folder in folders:
            left = sorted(path.name for path in folder.iterdir() if path.is_file())
            assert left == [".specialists-written", ".tmp-0123abcd-notes.txt", "weights.npy"]


def test_a_lock_ends_with_its_block(tmp_path):
    for _ in range(2):
        with Run(tmp_path).lock():
            pass


def test_a_folder_without_a_config_is_no_run(tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        _ = Run(tmp_path).config


def test_where_no_run_is_the_advice_names_one_or_makes_one_of_the_users_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    write_text(tmp_path / "mine" / "notes.txt", "mine")
    for image in ("cat/1.PNG", "dog/2.png"):
        write_text(tmp_path / "photos" / image, "")
    with locked(tmp_path / "comparison", COMPARISON), Run(tmp_path / "comparison/seed-3").lock():
        pass
    of_a_table = "`specialists run --set data.table=TABLE` makes a run of a table of yours"
    names = ("new", "mine", "mine/notes.txt", "photos", "comparison", "nowhere")
    assert {name: how_to_have_a_run(Path(name)) for name in names} == {
        "new": of_a_table,
        "mine": of_a_table,
        "mine/notes.txt": "name the folder of a run",
        "photos": "`specialists run --set data.images=photos` makes a run of its images",
        "comparison": "name one of its runs, for instance comparison/seed-3",
        "nowhere": of_a_table,
    }
    for name in ("colours", "birds"):
        with Run(Path("runs", name)).lock():
            pass
    assert how_to_have_a_run(Path("mine")) == "name a run that is there: runs/birds, runs/colours"
    assert how_to_have_a_run(Path("bird")) == "did you mean runs/birds?"
    assert how_to_have_a_run(Path("runs/birds")) == "`specialists run --out runs/birds` makes one"
    for use in (
        lambda folder: Run(folder).config,
        lambda folder: load(folder, "student", False),
        lambda folder: load(folder, "generalist_wide", False),
    ):
        for folder in (tmp_path / "mine", tmp_path / "colour"):
            with pytest.raises(InputError, match=r"name a run that is there|did you mean runs/col"):
                use(folder)


def test_a_run_knows_its_config_and_how_many_may_train_at_a_time(tmp_path):
    (tmp_path / "config.toml").write_text('jobs = 3\n[data]\nname = "languages"\n')
    assert Run(tmp_path).config.data.name == "languages"
    assert Run(tmp_path).jobs == 3
    assert Run(tmp_path, jobs=2).jobs == 2
    assert Run(tmp_path, jobs=0).jobs == len(os.sched_getaffinity(0))


def test_importing_runs_or_the_command_loads_nothing_heavy():
    code = (
        "import sys, specialists, specialists.errors, specialists.config, specialists.files\n"
        "import pipelines.__main__\n"
        "print([m for m in ('torch', 'numpy', 'scipy', 'pandas', 'sklearn', 'matplotlib') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
