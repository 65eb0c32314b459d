"""The command works beside a user's own module or folder called `pipelines`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MINE = """
import torch
from specialists.datasets import Dataset, Split

def made(seed):
    labels = torch.arange(240) % 4
    inputs = torch.randn(240, 4) + 3 * torch.eye(4)[labels]
    splits = [Split(inputs[i::3].contiguous(), labels[i::3]) for i in range(3)]
    return Dataset("mine", "features", ("a", "b", "c", "d"), *splits, {})
"""
ROWS = """
import torch
from torch.utils.data import TensorDataset

def rows(n):
    labels = torch.arange(n) % 4
    noise = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(noise + 3 * torch.eye(4)[labels], labels)
"""
# As pip writes it, and as a worker process imports it again.
SCRIPT = "from specialists.__main__ import main\nif __name__ == '__main__':\n    main()\n"
WORKERS = """
from importlib import import_module
from specialists.runtime import map_processes
if __name__ == "__main__":
    positive = import_module("specialists.pipelines.benchmarks.study").positive
    assert positive.__module__ == "specialists.pipelines.benchmarks.study"
    print(map_processes(positive, ["1", "2", "3"], jobs=2))
"""
TINY = ["generalist.epochs=1", "generalist.widths=[4,8]", "threads=1"]


@pytest.fixture(params=["module", "package"])
def mine(request, tmp_path):
    """A folder with a user's own `pipelines`, which has a stranger's __main__ if it can."""
    if request.param == "module":
        (tmp_path / "pipelines.py").write_text(MINE)
    else:
        (tmp_path / "pipelines").mkdir()
        (tmp_path / "pipelines" / "__init__.py").write_text(MINE)
        (tmp_path / "pipelines" / "__main__.py").write_text("raise SystemExit('not the command')")
    return tmp_path


def done(folder: Path, *command: str, path: Path | None = None) -> str:
    """What a command prints in ``folder``; modules are looked for in ``path`` first."""
    places = [path, ROOT, *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, filter(None, places)))}
    finished = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("first", ["current folder", "PYTHONPATH"])
def test_the_command_answers(mine, tmp_path_factory, first):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    folder, path = (mine, None) if first == "current folder" else (elsewhere, mine)
    (elsewhere / "script").write_text(SCRIPT)
    for command in (["-m", "specialists"], [str(elsewhere / "script")]):
        assert "write-report" in done(folder, *command, "--help", path=path)
        assert "pipelines/configs/languages.toml" in done(folder, *command, "configs", path=path)


def test_workers_know_the_command_s_functions(mine, tmp_path_factory):
    script = tmp_path_factory.mktemp("elsewhere") / "script.py"
    script.write_text(WORKERS)
    assert done(mine, str(script), path=mine) == "[1, 2, 3]\n"


def test_a_function_of_the_user_s_own_pipelines_brings_data_to_stages_with_workers(mine):
    settings = [part for setting in TINY for part in ("--set", setting)]
    source = ["--set", "data.factory=pipelines:made", "--jobs", "2"]
    printed = done(
        mine, "-m", "specialists", "run", "--until", "train-generalist", *source, *settings
    )
    assert "train-generalist: done" in printed


def test_worker_processes_read_the_dataset_of_a_factory_where_it_lies(tmp_path):
    (tmp_path / "own_rows.py").write_text(ROWS)
    settings = ["data.factory=own_rows:rows", "data.options.n=480", "data.in_place=true"]
    settings += [*TINY, "clusters.n_clusters=2", "specialists.epochs=1"]
    given = [part for setting in settings for part in ("--set", setting)]
    command = ("-m", "specialists", "run", "--out", "run", "--until", "train-specialists")
    assert "train-specialists: done" in done(tmp_path, *command, "--jobs", "2", *given)
    prepared = tmp_path / "run" / "prepare-data"
    assert (prepared / "train.inputs.json").is_file()
    assert not (prepared / "train.inputs.npy").exists()
