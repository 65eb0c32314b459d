"""Every command and every line of Python that README.md shows does what it says."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from readme_run import specialists

from pipelines.__main__ import app
from pipelines.run_settings import source_and_folder
from specialists.config import Config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
LINES = [line for kind, block in BLOCKS if kind == "bash" for line in block.splitlines()]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
COMMANDS = [
    shlex.split(part, comments=True)
    for line in LINES
    for part in line.split("&&")
    if part.split()[0] == "specialists"
]
INLINE = [
    shlex.split(command)
    for command in re.findall(r"`(specialists\s+(?:run|compare)\s[^`]+)`", README)
    if "CONFIG" not in command
]
SETUPS = [line for line in LINES if line.startswith("python3 -m venv")]


def test_there_is_one_command_for_the_main_job_and_one_for_the_tests():
    main, tests = SETUPS
    assert main.endswith("&& specialists run")
    assert "&& pytest" in tests
    assert all("pip install" in setup and ". .venv/bin/activate" in setup for setup in SETUPS)


def test_ci_installs_and_tests_by_the_readme_s_command():
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"grep -m 1 -E '(.*?)' README.md", script)
    assert pattern is not None
    assert [line for line in README.splitlines() if re.search(pattern[1], line)] == SETUPS[1:]


@pytest.mark.parametrize("command", [*COMMANDS, *INLINE], ids=" ".join)
def test_every_command_and_option_exists(command):
    group = typer.main.get_command(app)
    context = group.make_context("specialists", command[1:2])
    name, known, _ = group.resolve_command(context, command[1:])  # pyright: ignore
    known.make_context(name, command[2:])


def test_every_setting_exists_and_every_run_is_of_a_config_that_is_there(tmp_path, monkeypatch):
    (own,) = [block for kind, block in BLOCKS if kind == "toml"]
    (tmp_path / "own.toml").write_text(own, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert INLINE
    for command in [*COMMANDS, *INLINE]:
        if command[1] in ("run", "compare"):
            named = [part for part in command[2:3] if not part.startswith("-")]
            settings = [command[i + 1] for i, part in enumerate(command) if part == "--set"]
            Config.from_toml(named[0] if named else "emoji", settings)
    assert source_and_folder("own.toml", None, [])[1] == Path("runs", "own")
    assert "`specialists run own.toml` writes to `runs/own`" in README


@pytest.mark.slow
@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize(
    "command",
    [c for c in COMMANDS if c[1] in ("status", "configs", "datasets", "predict")],
    ids=" ".join,
)
def test_what_does_not_train_runs_as_it_stands(readme_run, command):
    told = specialists(command[1:], readme_run)
    assert told.strip()
    if "--out" in command:
        table = (readme_run / command[command.index("--out") + 1]).read_text(encoding="utf-8")
        assert "winkende Hand" in table
        assert len(table.splitlines()) == 1 + 2 * int(command[command.index("--top") + 1])


@pytest.mark.slow
@pytest.mark.xdist_group("readme")
@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_runs_as_it_stands(readme_run, code, monkeypatch):
    monkeypatch.chdir(readme_run)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_a_student_is_distilled_from_the_run(readme_run):
    (command,) = [command for command in COMMANDS if command[1] == "distill"]
    shown = specialists(command[1:], readme_run)
    assert "for the admission test" not in shown
    assert "the student: runs/distilled/distill/student" in shown


@pytest.mark.slow
@pytest.mark.xdist_group("readme")
def test_a_stage_of_a_finished_run_is_skipped(readme_run):
    for command in COMMANDS:
        if command[1].startswith(("train-", "write-")):
            assert "done already, skipped" in specialists(command[1:], readme_run)
