"""data/TUTORIAL.md, followed from its first line to its last, on less data than it has."""

import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from pipelines.__main__ import app
from specialists.config import Config

PAGE = Path(__file__).parents[1] / "data" / "TUTORIAL.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
SHOWN = [line for kind, block in BLOCKS if kind == "text" for line in block.splitlines()]
SMALL = {
    "threads": 1,
    "data.min_examples": 30,
    "data.max_examples": 3000,
    "data.validation_fraction": 0.4,
    "generalist.width": 16,
    "generalist.n_buckets": 4096,
    "clusters.n_clusters": 3,
    "specialists.epochs": 1,
    "combination.rules": '["kl"]',
    "combination.n": "[1]",
    "combination.weights": "[1.0]",
    "student.n_buckets": 4096,
    "student.epochs": 1,
    "student.alphas": "[0.7]",
    "evaluation.n_bootstrap": 20,
    "evaluation.baselines": "[]",
}
SETTINGS = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tutorial")]


def follow(line: str) -> str:
    """What a line of shell tells; every run but the first, which trains nothing, is small."""
    command = shlex.split(line)
    if command[0] != "specialists":
        return subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout
    trains = command[1] == "run" and "prepare-data" not in command
    with contextlib.redirect_stdout(io.StringIO()) as told:
        arguments = [*command[1:], *(SETTINGS if trains else [])]
        typer.main.get_command(app).main(arguments, "specialists", standalone_mode=False)
    return told.getvalue()


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder in which all of the page was done, and all that its commands told."""
    folder, told = tmp_path_factory.mktemp("tutorial"), []
    with contextlib.chdir(folder):
        for kind, block in BLOCKS:
            if kind == "bash":
                told += map(follow, block.splitlines())
            if kind == "python":
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(compile(block, PAGE.name, "exec"), {})
                told.append(printed.getvalue())
    return folder, told


def test_the_table_has_30_000_rows(followed):
    rows = (followed[0] / "names.tsv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "name\temoji"
    assert len(rows) == 1 + 30_000


@pytest.mark.parametrize("line", SHOWN)
def test_what_it_shows_is_what_the_commands_tell(followed, line):
    pattern = re.escape(line).replace(re.escape("..."), r"[\d.,]+")
    assert re.search(f"^{pattern}$", "\n".join(followed[1]), flags=re.MULTILINE)


def test_one_of_its_two_lines_tells_whether_specialists_help(followed):
    page, told = " ".join(TEXT.split()), "\n".join(followed[1])
    admitted = ["the log-likelihood of the truth changes by ", " nats (p ", "), top-1 ", " -> "]
    refused = "the ensemble answers like its generalist: "
    assert all(part.strip() in page for part in [*admitted, refused])
    pattern = ".*".join(map(re.escape, [" admitted", ": on ", *admitted]))
    assert re.search(pattern, told) or refused in told


def test_a_changed_setting_makes_again_what_depends_on_it(followed):
    longer = next(told for told in followed[1] if "of 15" in told)
    assert "train-generalist: done in" in longer
    assert "prepare-data: done already, skipped" in longer


def test_the_copied_student_predicts_in_both_ways(followed):
    table = (followed[0] / "predictions.tsv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 1 + 2 * 3
    assert followed[1][-1].count("(") == 2 * 3


def test_every_setting_that_it_names_exists():
    runs = [shlex.split(line) for line in TEXT.splitlines() if line.startswith("specialists run")]
    given = [run[i + 1] for run in runs for i, word in enumerate(run) if word == "--set"]
    inline = re.findall(r"`([a-z]+\.[a-z_]+=[^`]+)`", TEXT)
    assert inline
    config = Config.from_toml(None, [*given, *inline])
    for section, key in re.findall(r"`([a-z]+)\.([a-z_]+)`", TEXT):
        if (section, key) != ("metrics", "jsonl"):
            assert hasattr(getattr(config, section), key)
