"""No function runs because a folder names it, unless somebody vouches for that call."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import specialists
from pipelines.__main__ import app
from pipelines.runs import Run
from specialists.config import Config
from specialists.datasets.factory import source_file
from specialists.errors import InputError
from specialists.files import EVERYTHING, Trust, check_trusted, trusting, write_sealed, write_text
from specialists.files.sealed import read_sealed
from specialists.files.trust import record, recorded
from specialists.networks import NetworkSpec, load_network
from specialists.runtime import map_processes

EVIL = """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()

def f(*args, **kwargs):
    pathlib.Path(__file__).with_name("called").touch()
"""
CONFIG = {"data": {"factory": "evil.inner:f"}, "generalist": {"factory": "evil.inner:f"}}


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A state directory and a cache of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "state"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A package in the current folder that leaves a trace when it is imported or called."""
    package = tmp_path / "evil"
    package.mkdir()
    (package / "__init__.py").write_text(EVIL)
    (package / "inner.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    yield package
    for name in ("evil", "evil.inner"):
        sys.modules.pop(name, None)


def untouched(package: Path) -> bool:
    return not any((package / trace).exists() for trace in ("imported", "called"))


def stranger(folder: Path, **changes) -> Path:
    """A run folder that names functions, as one that was sent by somebody."""
    write_text(folder / "config.toml", Config.from_dict({**CONFIG, **changes}).to_toml())
    write_text(folder / ".lock", "")
    return folder


def model_folder(folder: Path, model: str = "evil.inner:f", **options) -> Path:
    """A model's folder whose checksums are all right and whose network is a function's."""
    from specialists.files import sha256, write_tensors

    write_tensors(folder / "weights.safetensors", {})
    spec = NetworkSpec(model, 3, (2,), options=options)
    about = {"class_names": ["a", "b", "c"], "preprocessing": {}, "temperature": 1.0}
    weights = sha256(folder / "weights.safetensors")
    write_sealed(folder / "model.json", {"network": spec.to_dict(), **about, "weights": weights})
    return folder


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


STAGES = (
    "prepare-data", "train-generalist", "cluster-classes", "train-specialists",
    "combine-predictions", "distill-student", "evaluate-models", "write-report",
)  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_of_a_strangers_run_calls_what_it_names(evil, tmp_path, stage):
    code, _ = command(stage, stranger(tmp_path / "run"))
    assert code == 2
    assert untouched(evil)


@pytest.mark.parametrize("arguments", [["run", "--out"], ["compare", "--seeds", "1", "--out"]])
def test_a_strangers_folder_without_a_config_of_ones_own_is_refused_by_name(
    evil, tmp_path, arguments
):
    run = tmp_path / "runs"
    stranger(run if arguments[0] == "run" else run / "seed-0")
    code, output = command(*arguments, run)
    assert code == 2
    assert "evil.inner:f" in output
    assert untouched(evil)


def test_status_of_a_strangers_run_imports_nothing(evil, tmp_path):
    code, output = command("status", stranger(tmp_path / "run"))
    assert code == 0, output
    assert untouched(evil)


@pytest.mark.parametrize("model", ["student", "generalist", "student_hard_labels"])
def test_a_models_folder_calls_nothing_wherever_it_lies(evil, tmp_path, model):
    folder = {"generalist": "train-generalist"}.get(model, f"distill-student/{model}")
    model_folder(tmp_path / "run" / folder)
    for path in (tmp_path / "run" / folder, tmp_path / "run"):
        with pytest.raises(InputError):
            specialists.load(path, model)
    (tmp_path / "x.txt").write_text("a\n")
    code, output = command("predict", tmp_path / "run" / folder, tmp_path / "x.txt")
    assert code == 2
    assert "evil.inner:f" in output
    assert untouched(evil)


def test_the_callers_word_lets_a_function_run(evil, tmp_path):
    folder = model_folder(tmp_path / "model")
    with pytest.raises(InputError, match=r"must return a torch\.nn\.Module"):
        specialists.load(folder, trust_code=True)
    assert (evil / "called").exists()


@pytest.mark.parametrize("flag", [[], ["--trust-code"]])
def test_only_with_its_flag_a_stage_runs_what_the_folder_names(evil, tmp_path, flag):
    code, _ = command("prepare-data", stranger(tmp_path / "run"), *flag)
    assert code == 2  # the function returns no data set
    assert untouched(evil) == (not flag)


def test_a_config_on_the_command_line_is_the_users_word(evil, tmp_path):
    stranger(tmp_path / "mine")
    command("run", tmp_path / "mine/config.toml", "--out", tmp_path / "out")
    assert (evil / "called").exists()


def test_a_function_named_by_set_is_the_users_word(evil, tmp_path):
    command("run", "--set", "data.factory=evil.inner:f", "--out", tmp_path / "out")
    assert (evil / "called").exists()


def test_an_option_of_a_strangers_run_is_not_vouched_for_by_naming_its_function(evil, tmp_path):
    data = {"factory": "evil.inner:f", "options": {"repository": "theirs"}}
    run = stranger(tmp_path / "run", data=data, generalist={})
    code, output = command("run", "--out", run, "--set", "data.factory=evil.inner:f")
    assert code == 2
    assert "theirs" in output
    assert untouched(evil)


def test_what_was_recorded_here_is_trusted_until_it_moves_or_changes(tmp_path):
    run = stranger(tmp_path / "run")
    assert recorded(run) == Trust()
    record(run)
    inside = run / "train-generalist/units/width-64/model.json"
    check_trusted("evil.inner:f", {}, inside)
    for function, options in (("other:f", {}), ("evil.inner:f", {"repository": "theirs"})):
        with pytest.raises(InputError, match=function):
            check_trusted(function, options, inside)
    run.rename(tmp_path / "moved")
    assert recorded(tmp_path / "moved") == Trust()
    (tmp_path / "moved").rename(run)
    assert recorded(run) != Trust()
    write_text(run / "config.toml", (run / "config.toml").read_text() + "\n")
    assert recorded(run) == Trust()


@pytest.mark.parametrize("content", ["{", "[]", '{"run": 1}'])
def test_a_record_that_cannot_be_read_vouches_for_nothing(tmp_path, state, content):
    run = stranger(tmp_path / "run")
    record(run)
    (entry,) = (state / "specialists/runs").iterdir()
    entry.write_text(content)
    assert recorded(run) == Trust()


def test_a_state_directory_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    run = stranger(tmp_path / "run")
    record(run)
    assert recorded(run) == Trust()


def vouched_for(options: dict) -> bool:
    """In a worker: whether the parent's word came along."""
    try:
        check_trusted("a:b", options, Path("nowhere"))
    except InputError:
        return False
    return True


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_trust_what_their_parent_trusts_and_no_more(jobs):
    with trusting(Trust.from_config(Config.from_dict({"data": {"factory": "a:b"}}))):
        assert map_processes(vouched_for, [{}, {"x": 1}], jobs) == [True, False]


def test_trust_ends_with_its_block(tmp_path):
    with trusting(EVERYTHING):
        check_trusted("a:b", {}, tmp_path)
    with pytest.raises(InputError, match="a:b"):
        check_trusted("a:b", {}, tmp_path)


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("evil:f", "evil/__init__.py"),
        ("evil.inner:f", "evil/inner.py"),
        ("evil.nothing:f", None),
        ("evil.inner.deeper:f", None),
        ("space.inside:f", "space/inside.py"),
        ("nowhere.at.all:f", None),
        ("..:f", None),
        ("", None),
    ],
)
def test_the_file_of_a_function_is_found_without_an_import(evil, path, file):
    (evil.parent / "space").mkdir()
    (evil.parent / "space/inside.py").write_text(EVIL)
    found = source_file(path)
    assert found == (None if file is None else evil.parent / file)
    assert untouched(evil)
    assert untouched(evil.parent / "space")


def test_a_factory_may_import_its_neighbour_when_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_neighbour.py").write_text("from torch import nn\nhead = nn.Linear\n")
    (tmp_path / "own_lazy.py").write_text(
        "def f(n_classes):\n"
        "    from own_neighbour import head, nn\n"
        "    return nn.Sequential(head(2, n_classes))\n"
    )
    from specialists.networks import build

    assert build(NetworkSpec("own_lazy:f", 3))[0].out_features == 3  # type: ignore[index]


def test_a_run_of_ones_own_needs_no_word_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_data.py").write_text("def f():\n    return None\n")
    (tmp_path / "out").mkdir()  # a new folder would go with the refused data
    arguments = ("run", "--set", "data.factory=own_data:f", "--out", "out")
    for again in (arguments, ("run", "--out", "out"), ("prepare-data", "out")):
        code, output = command(*again)
        assert code == 2
        assert "the factory returned something else" in output, again


def test_a_network_of_a_tampered_description_is_refused(tmp_path):
    folder = model_folder(tmp_path, "mlp")
    about = read_sealed(folder / "model.json")
    for changes in (
        {"network": 3},
        {"network": {**about["network"], "width": 10**12}},
        {"network": {**about["network"], "depth": 10**9}},
        {"network": {**about["network"], "width": "wide"}},
        {"network": {**about["network"], "model": ["mlp"]}},
        {"network": {**about["network"], "input_shape": 7}},
        {"network": {**about["network"], "more": 7}},
        {"network": {}},
        {"weights": 3},
    ):
        write_sealed(folder / "model.json", {**about, **changes})
        with pytest.raises(InputError):
            load_network(folder)


def test_a_run_vouches_for_what_it_was_given(tmp_path):
    run = Run(tmp_path, trust=EVERYTHING)
    with run.trusting():
        check_trusted("a:b", {}, tmp_path)
