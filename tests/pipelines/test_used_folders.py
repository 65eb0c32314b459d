"""Every byte of the user survives, wherever the command is pointed at; what is ours is remade."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import toy_stages
from typer.testing import CliRunner

from pipelines import stages, write_report
from pipelines.__main__ import app
from pipelines.benchmarks.study import share_stage
from pipelines.predict import HEADER
from pipelines.run_settings import source_and_folder
from pipelines.runs import Run, kind_of
from specialists.errors import InputError
from specialists.files import is_output_folder, read_json, recording, write_text
from specialists.files.ownership import MARKER, WRITTEN

OURS = 'seed = 3\n[data]\nname = "languages"\n'
TRAIN = "train-generalist"


@pytest.fixture(autouse=True)
def toys(monkeypatch, tmp_path):
    """Three quick stages in place of the real ones, in an empty folder."""
    monkeypatch.setattr(write_report, "closing_lines", lambda run: [])
    monkeypatch.setattr(stages, "STAGES", toy_stages.TOY_STAGES)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(toy_stages.CONFIG)


def put(folder: Path, *names: str) -> dict[Path, bytes]:
    """Files of the user, each with its own name in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"the user's {name}")
    return {folder / name: (folder / name).read_bytes() for name in names}


def held(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, links as what they lead to."""
    found = {}
    for path in folder.rglob("*"):
        content = os.fsencode(os.readlink(path)) if path.is_symlink() else b"a folder"
        found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else content
    return found


def command(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


def made(folder: Path, *arguments: object) -> Path:
    command("run", "mine.toml", "--out", folder, *arguments)
    return folder


def as_older_versions_left_it(run: Path) -> None:
    for name in (MARKER, WRITTEN):
        for file in list(run.rglob(name)):
            file.unlink()


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def manifest_of_something_else(used: Path) -> None:
    put(used, "prepare-data/model.bin")
    (used / "config.toml").write_text(OURS)
    (used / "prepare-data/manifest.json").write_text('{"outputs": ["model.bin"], "code": "x"}')


def run_of_another_kind(used: Path) -> None:
    used.mkdir()
    (used / MARKER).write_text('{"kind": "notebook"}')


def lock_that_is_a_link(used: Path) -> None:
    put(used.parent / "outside", "important.txt")
    link(used / ".lock", used.parent / "outside" / "important.txt")
    (used / "config.toml").write_text(OURS)


USED = {
    "a config.toml of another program": lambda used: put(used, "config.toml"),
    "a config.toml that could be ours": lambda used: (
        put(used, "x"),
        (used / "config.toml").write_text(OURS),
    ),
    "a prepare-data of the user": lambda used: put(
        used, "prepare-data/dataset.json", "prepare-data/train.inputs.npy"
    ),
    "a manifest of something else": manifest_of_something_else,
    "temporary files of others": lambda used: put(used, ".tmp-0123abcd-x", "a/b/.tmp-01234567-y"),
    "a lock of others": lambda used: put(used, ".lock"),
    "a lock that is a link": lock_that_is_a_link,
    "a repository": lambda used: put(used, ".git/HEAD", "README.md"),
    "results of others": lambda used: put(used, "report.html", "evaluation.json"),
    "a comparison of others": lambda used: put(used, "comparison.md", "seed-0/config.toml"),
    "a marker of another kind": run_of_another_kind,
    "one hidden file": lambda used: put(used, ".notes"),
    "a unit of the user": lambda used: put(used, f"{TRAIN}/unit-0/weights.json", "config.toml"),
    "a link to a used folder": lambda used: (
        put(used.parent / "outside", "notes.txt"),
        link(used, used.parent / "outside"),
    ),
}


@pytest.mark.parametrize("kind", ["run", "compare"])
@pytest.mark.parametrize("layout", USED)
def test_a_used_folder_is_refused_before_anything_is_written(tmp_path, layout, kind):
    USED[layout](tmp_path / "used")
    before = held(tmp_path)
    for config in ("mine.toml", ""):
        told = command(kind, *filter(None, [config]), "--out", tmp_path / "used", code=2)
        assert told.count("error:") == 1
        assert held(tmp_path) == before


@pytest.mark.parametrize("stage", ["prepare-data", TRAIN, "write-report"])
def test_a_stage_is_not_made_in_a_folder_of_others(tmp_path, stage):
    put(tmp_path / "used", "prepare-data/numbers.json", "notes.txt")
    (tmp_path / "used" / "config.toml").write_text(OURS)
    before = held(tmp_path)
    command(stage, tmp_path / "used", "--force", code=2)
    assert held(tmp_path) == before


def test_runs_and_comparisons_do_not_share_a_folder(tmp_path):
    run = made(tmp_path / "run")
    assert "got: a run folder" in command("compare", "mine.toml", "--out", run, code=2)
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / MARKER).write_text('{"kind": "comparison"}')
    told = command("run", "mine.toml", "--out", tmp_path / "all", code=2)
    assert "got: the folder of a comparison" in told
    assert os.listdir(tmp_path / "all") == [MARKER]


def test_a_comparison_looks_at_the_folders_of_all_seeds_first(tmp_path):
    put(tmp_path / "all", "seed-4/notes.txt")
    (tmp_path / "all" / MARKER).write_text('{"kind": "comparison"}')
    before = held(tmp_path)
    assert "seed-4" in command("compare", "mine.toml", "--out", tmp_path / "all", code=2)
    assert held(tmp_path) == before


@pytest.mark.parametrize("out", ["", " "])
@pytest.mark.parametrize("kind", ["run", "compare"])
def test_an_empty_name_is_no_folder(tmp_path, kind, out):
    assert "empty" in command(kind, "mine.toml", "--out", out, code=2)
    assert os.listdir(tmp_path) == ["mine.toml"]


MESS = (
    "notes.txt",
    ".tmp-0123abcd-mine.txt",
    "prepare-data/notes.txt",
    "prepare-data/.tmp-0123abcd-notes.txt",
    "prepare-data/mine/.tmp-0123abcd-numbers.json",
    "prepare-data/train.npy",
    f"{TRAIN}/timing notes.txt",
    f"{TRAIN}/checkpoint of mine.pt",
    f"{TRAIN}/mine/manifest.json",
    f"{TRAIN}/unit-0/notes.txt",
    f"{TRAIN}/unit-9/notes.txt",
    "write-report/figures/plot.png",
)
AGAIN = {
    "skipped": [],
    "stale": ["--set", "seed=4"],
    "other settings": ["--set", "generalist.epochs=8"],
    "first forced": ["--force", "prepare-data"],
    "units forced": ["--force", TRAIN],
    "all forced": ["--force", "prepare-data", "--force", TRAIN, "--force", "write-report"],
}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("again", AGAIN)
def test_files_among_our_own_survive_and_change_no_result(tmp_path, again, older):
    run, clean = made(tmp_path / "run"), made(tmp_path / "clean")
    made(clean, *AGAIN[again])
    if older:
        as_older_versions_left_it(run)
    mine = put(run, *MESS)
    told = command("run", "mine.toml", "--out", run, *AGAIN[again])
    assert {file: file.read_bytes() for file in mine} == mine
    assert results(run, mine) == results(clean, {})
    assert ("not written by specialists" in told) == (again != "skipped")
    assert command("run", "--out", run).count("skipped") == 3


def results(run: Path, mine: dict[Path, bytes]) -> dict[str, bytes]:
    """Our artifacts without the lists, whose order tells how a run came about."""
    found = toy_stages.results(run, of_lists=False)
    return {name: content for name, content in found.items() if run / name not in mine}


def test_what_comes_while_a_stage_is_interrupted_survives(tmp_path, monkeypatch):
    train = toy_stages.TOY_STAGES[1].execute

    def stop(run: Run) -> None:
        train(run)
        raise KeyboardInterrupt

    interrupted = list(toy_stages.TOY_STAGES)
    interrupted[1] = replace(interrupted[1], execute=stop)
    monkeypatch.setattr(stages, "STAGES", tuple(interrupted))
    command("run", "mine.toml", "--out", "run", code=130)
    run = tmp_path / "run"
    mine = put(run, *MESS)
    monkeypatch.setattr(stages, "STAGES", toy_stages.TOY_STAGES)
    for settings in ([], ["--set", "generalist.epochs=8"]):
        command("run", "mine.toml", "--out", run, *settings)
        assert {file: file.read_bytes() for file in mine} == mine
        outputs = read_json(run / TRAIN / "manifest.json")["outputs"]
        assert not [name for name in outputs if "mine" in name or "notes" in name]


@pytest.mark.parametrize(
    "name", ["manifest.json", "best.json", "unit-1/weights.json", ".started.json", "timing.jsonl"]
)
def test_a_file_in_the_way_of_ours_is_not_replaced(tmp_path, name):
    run = made(tmp_path / "run", "--until", "prepare-data")
    mine = put(run, f"{TRAIN}/{name}")
    told = command("run", "--out", run, code=2)
    assert told.count("error:") == 1
    assert f"where: {run / TRAIN / name}" in told
    assert {file: file.read_bytes() for file in mine} == mine
    (run / TRAIN / name).rename(tmp_path / "kept")
    command("run", "--out", run)
    assert (run / "report.html").read_text() == "<p>108"


@pytest.mark.parametrize("name", ["prepare-data", TRAIN, f"{TRAIN}/unit-2"])
def test_a_link_in_place_of_a_folder_is_read_but_never_followed_to_write(tmp_path, name):
    run = made(tmp_path / "run")
    (run / name).rename(tmp_path / "elsewhere")
    put(tmp_path / "elsewhere", "notes.txt")
    link(run / name, tmp_path / "elsewhere")
    before = held(tmp_path / "elsewhere")
    stage = name.partition("/")[0]
    assert f"{stage}: done already, skipped" in command("run", "--out", run)
    for again in (["--force", stage], ["--set", "seed=5"]):
        told = command("run", "mine.toml", "--out", run, *again, code=2)
        assert "a symbolic link, which is neither followed nor emptied" in told
        assert told.count("error:") == 1
        assert held(tmp_path / "elsewhere") == before


def test_a_link_inside_a_stage_keeps_all_of_an_old_result(tmp_path):
    run = made(tmp_path / "run")
    (run / TRAIN / "unit-2").rename(tmp_path / "elsewhere")
    link(run / TRAIN / "unit-2", tmp_path / "elsewhere")
    before = held(run / TRAIN)
    command("run", "--out", run, "--force", TRAIN, code=2)
    assert held(run / TRAIN) == before


def test_links_to_the_users_files_survive(tmp_path):
    run = made(tmp_path / "run")
    mine = put(tmp_path / "outside", "a.txt", "b/c.txt")
    link(run / TRAIN / "to-folder", tmp_path / "outside")
    link(run / TRAIN / "to-file", tmp_path / "outside" / "a.txt")
    link(run / TRAIN / "loop", run / TRAIN)
    for name in ("best.json", WRITTEN, ".started.json"):
        (run / TRAIN / name).unlink(missing_ok=True)
    link(run / TRAIN / "best.json", tmp_path / "outside" / "a.txt")
    command("run", "--out", run, "--force", TRAIN)
    assert {file: file.read_bytes() for file in mine} == mine
    assert (run / TRAIN / "to-folder").is_symlink()
    assert (run / TRAIN / "to-file").is_symlink()


@pytest.mark.parametrize("name", [".lock", WRITTEN])
def test_our_own_names_are_not_followed_either(tmp_path, name):
    run = made(tmp_path / "run")
    mine = put(tmp_path / "outside", "important.txt")
    (run / name).unlink()
    link(run / name, tmp_path / "outside" / "important.txt")
    command("run", "mine.toml", "--out", run, "--set", "seed=9", code=2)
    assert {file: file.read_bytes() for file in mine} == mine


def test_a_run_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    link(tmp_path / "run", tmp_path / "disk")
    made(tmp_path / "run")
    assert command("run", "--out", "run").count("skipped") == 3


def test_a_manifest_that_names_files_elsewhere_deletes_none(tmp_path):
    run = made(tmp_path / "run")
    mine = put(tmp_path / "outside", "a.txt")
    file = run / TRAIN / "manifest.json"
    manifest = read_json(file)
    elsewhere = ["../../outside/a.txt", str(tmp_path / "outside" / "a.txt"), "../../mine.toml"]
    manifest["outputs"] |= dict.fromkeys(elsewhere, "0" * 64)
    file.write_text(json.dumps(manifest))
    with open(run / TRAIN / WRITTEN, "a") as written:
        written.write("\n" + "\n".join(elsewhere))
    command("run", "--out", run, "--force", TRAIN)
    assert {file: file.read_bytes() for file in mine} == mine
    assert (tmp_path / "mine.toml").is_file()


@pytest.mark.parametrize("until", ["prepare-data", TRAIN, "write-report"])
def test_a_run_of_an_older_version_is_taken_on(tmp_path, until):
    run = made(tmp_path / "run", "--until", until)
    as_older_versions_left_it(run)
    assert command("run", "mine.toml", "--out", run, "--set", "seed=4").count("done in") == 3
    assert command("run", "--out", run).count("skipped") == 3


def test_what_an_older_version_left_of_its_first_stage_is_made_whole(tmp_path):
    run = made(tmp_path / "run", "--until", "prepare-data")
    as_older_versions_left_it(run)
    manifest = read_json(run / "prepare-data" / "manifest.json")
    (run / "prepare-data" / "manifest.json").unlink()
    (run / "prepare-data" / "numbers.json").unlink()
    started = {name: manifest[name] for name in ("inputs", "config", "code")}
    (run / "prepare-data" / ".started.json").write_text(json.dumps(started | {"code": "0.2.0"}))
    mine = put(run, "prepare-data/notes.txt")
    command("run", "mine.toml", "--out", run)
    assert command("run", "--out", run).count("skipped") == 3
    assert {file: file.read_bytes() for file in mine} == mine


def test_a_lost_marker_and_lost_lists_do_not_lock_a_run_out(tmp_path):
    run = made(tmp_path / "run")
    as_older_versions_left_it(run)
    (run / MARKER).write_bytes(b"\0\0")
    assert command("run", "--out", run).count("skipped") == 3
    assert read_json(run / MARKER)["kind"] == "run"


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"\nconfig.tnml\nrepo"])
def test_a_damaged_list_does_not_lock_a_run_out_nor_give_away_what_is_the_users(tmp_path, content):
    run = made(tmp_path / "run")
    (run / WRITTEN).write_bytes(content)
    command("run", "mine.toml", "--out", run, "--set", "seed=9")
    assert (run / "config.toml").read_text().startswith("seed = 9")
    (run / WRITTEN).write_bytes(content)
    mine = put(run, "report.html")
    told = command("run", "mine.toml", "--out", run, "--set", "seed=8", code=2)
    assert f"where: {run / 'report.html'}" in told
    assert {file: file.read_bytes() for file in mine} == mine


def test_a_damaged_manifest_of_ours_is_not_taken_for_the_users(tmp_path):
    run = made(tmp_path / "run")
    for folder in (TRAIN, f"{TRAIN}/unit-1"):
        (run / folder / "manifest.json").write_bytes(b"\x80{")
    command("run", "--out", run)
    assert command("run", "--out", run).count("skipped") == 3


def test_the_folder_of_images_that_a_run_lies_in_stays_as_it_was_read(tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    assert not is_output_folder(tmp_path / "photos")
    run = made(tmp_path / "photos" / "runs" / "x")
    made(tmp_path / "photos" / "runs" / "deeper" / "y")
    for folder in (run, run.parent, run.parent / "deeper"):
        assert is_output_folder(folder)
    put(run.parent, "notes.txt")
    assert not is_output_folder(run.parent)


def test_output_is_known_by_its_marker_or_by_its_settings_beside_results(tmp_path):
    marked, old = tmp_path / "marked", made(tmp_path / "old")
    put(marked, "comparison.json")
    assert not is_output_folder(marked)
    (marked / MARKER).write_text('{"kind": "comparison"}')
    as_older_versions_left_it(old)
    assert is_output_folder(marked)
    assert is_output_folder(old)
    (old / "config.toml").unlink()
    assert not is_output_folder(old)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        (".", "runs/photos"),
        ("./", "runs/photos"),
        ("..", "runs/parent"),
        ("../photos/", "runs/photos"),
        ("languages/", "runs/languages-images"),
        ("/", "runs/images"),
        (".hidden", "runs/hidden"),
    ],
)
def test_a_default_run_folder_has_a_name_of_its_own(tmp_path, monkeypatch, capsys, name, folder):
    (tmp_path / "parent" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "parent" / "photos")
    assert source_and_folder(None, None, [f"data.images={name}"])[1] == Path(folder)
    assert ("shipped" in capsys.readouterr().out) == ("languages" in folder)


def test_a_configuration_of_the_users_with_a_shipped_name_has_a_folder_of_its_own(tmp_path):
    (tmp_path / "languages.toml").write_text(OURS)
    assert source_and_folder("languages.toml", None, [])[1] == Path("runs/languages-config")
    assert source_and_folder("languages", None, [])[1] == Path("runs/languages")
    assert source_and_folder("mine.toml", None, [])[1] == Path("runs/mine")


def test_predictions_replace_no_input_and_no_part_of_a_run(tmp_path):
    run = made(tmp_path / "run")
    put(tmp_path, "in.txt", "photos/cat.png", "table.tsv")
    (tmp_path / "predictions.tsv").write_text("\t".join(HEADER) + "\n")
    link(tmp_path / "same.tsv", tmp_path / "in.txt")
    before = held(tmp_path)
    for source, out in (
        ("in.txt", "in.txt"),
        ("in.txt", "./photos/../in.txt"),
        ("in.txt", "same.tsv"),
        ("photos", "photos/cat.png"),
        ("in.txt", "run/config.toml"),
        ("in.txt", "run/report.html"),
        ("in.txt", f"run/{TRAIN}/best.json"),
        ("in.txt", f"run/{TRAIN}/unit-0/manifest.json"),
        ("in.txt", f"run/{MARKER}"),
        ("in.txt", "table.tsv"),
    ):
        assert "would replace" in command("predict", run, source, "--out", out, code=2)
    told = command("predict", run, "in.txt", "--out", "predictions.tsv", code=2)
    assert "would replace" not in told
    assert held(tmp_path) == before


@pytest.mark.parametrize("change", ["seed", "force", "older"])
def test_a_kill_at_any_moment_of_a_remake_loses_nothing(tmp_path, change):
    script = [sys.executable, toy_stages.__file__, "kill-remakes", str(tmp_path), change]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, "comparison"),
        ({"comparison.json": '{"models": {}}', "comparison.md": "ours"}, "comparison"),
        ({"comparison.json": "[]"}, None),
        ({"comparison.md": "the user's"}, None),
    ],
)
@pytest.mark.parametrize("inner", ["seed-3", "seed-3/random", "base/seed-3"])
def test_a_comparison_of_an_older_version_is_one_but_for_files_of_others(
    tmp_path, inner, files, kind
):
    made(tmp_path / "all" / inner, "--until", "prepare-data")
    as_older_versions_left_it(tmp_path / "all")
    for name, content in files.items():
        (tmp_path / "all" / name).write_text(content)
    assert kind_of(tmp_path / "all") == kind


def test_a_stage_is_shared_by_links_that_a_kill_leaves_half_done(tmp_path):
    source, copy = made(tmp_path / "source"), made(tmp_path / "copy", "--until", "prepare-data")
    put(source, f"{TRAIN}/notes.txt")
    share_stage(source, copy, TRAIN)
    for name in ("manifest.json", "unit-2/manifest.json", "best.json"):
        (copy / TRAIN / name).unlink()
    mine = put(copy, f"{TRAIN}/mine.txt")
    share_stage(source, copy, TRAIN)
    assert (copy / TRAIN / "unit-2/weights.json").samefile(source / TRAIN / "unit-2/weights.json")
    assert not (copy / TRAIN / "notes.txt").exists()
    told = command("run", "--out", copy, "--until", TRAIN)
    assert f"{TRAIN}: done already, skipped" in told
    (copy / TRAIN / "manifest.json").unlink()
    assert "trains" not in command("run", "--out", copy, "--until", TRAIN)
    command("run", "mine.toml", "--out", copy, "--set", "seed=9")
    assert command("run", "--out", source).count("skipped") == 3
    assert {file: file.read_bytes() for file in mine} == mine


@pytest.mark.parametrize("name", ["", "student"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    link(tmp_path / "run" / "stage" / name, tmp_path / "outside")
    with pytest.raises(InputError, match="a symbolic link"), recording(tmp_path / "run" / "stage"):
        write_text(tmp_path / "run" / "stage" / name / "model.json", "{}")
    assert os.listdir(tmp_path / "outside") == []


def test_a_list_that_is_a_link_is_not_written_to(tmp_path):
    mine = put(tmp_path / "outside", "important.txt")
    link(tmp_path / "stage" / WRITTEN, tmp_path / "outside" / "important.txt")
    with pytest.raises(OSError, match="symbolic links"), recording(tmp_path / "stage"):
        write_text(tmp_path / "stage" / "model.json", "{}")
    assert {file: file.read_bytes() for file in mine} == mine


def test_a_report_of_the_users_stays_and_is_told_before_the_stage_works(tmp_path):
    run = made(tmp_path / "run", "--until", TRAIN)
    mine = put(run, "report.html")
    assert f"where: {run / 'report.html'}" in command("run", "--out", run, code=2)
    assert {file: file.read_bytes() for file in mine} == mine
