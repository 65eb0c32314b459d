"""A stage is skipped while its manifest holds, says why it does not, and survives any kill."""

import errno
import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import toy_stages

from pipelines import stages
from pipelines.runs import Run
from pipelines.stage import Stage, run_stage, why_not_done
from pipelines.terminal import log
from specialists.config import Config
from specialists.config.defaults import DEFAULTS
from specialists.errors import InputError, StorageError
from specialists.files import artifacts, read_json, recording, write_json, write_text

REAL_STAGES = stages.STAGES


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "STAGES", toy_stages.TOY_STAGES)
    run = Run(tmp_path / "run")
    with run.lock():
        write_text(run.config_file, toy_stages.CONFIG)
    return run


def configure(run: Run, **changes: str) -> None:
    text = run.config_file.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    write_text(run.config_file, text)
    run.reread_config()


def states(run: Run) -> list[str]:
    return [status.state for status in stages.status(run)]


def test_everything_is_made_then_skipped(run, capsys):
    stages.run_stages(run)
    assert states(run) == ["done"] * 3
    before = toy_stages.results(run.folder)
    capsys.readouterr()
    stages.run_stages(run)
    assert capsys.readouterr().out.splitlines() == [
        "prepare-data: done already, skipped",
        "train-generalist: done already, skipped",
        "write-report: done already, skipped",
    ]
    assert toy_stages.results(run.folder) == before


def test_a_stage_that_is_done_says_again_what_it_found(run, capsys):
    def look(run: Run) -> None:
        log.info(f"look: `specialists run --out {run.folder} --force look` looks again")
        write_json(run.path("look", "things.json"), 3)

    stage = Stage("look", ("seed",), (), look)
    for _ in range(2):
        run_stage(run, stage)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "look: starts"
    again = f"look: `specialists run --out {run.folder} --force look` looks again"
    assert told[1] == again
    assert told[-2:] == ["look: done already, skipped", again]
    run = Run(run.folder.rename(run.folder.with_name("copy")))
    run_stage(run, stage)
    again = f"look: `specialists run --out {run.folder} --force look` looks again"
    assert capsys.readouterr().out.splitlines() == ["look: done already, skipped", again]
    for damage in ("[", '{"lines": 3}'):
        run.path("look", "timing-stage.json").write_text(damage)
        run_stage(run, stage)
        assert capsys.readouterr().out.splitlines() == ["look: done already, skipped"]


def test_a_changed_config_makes_its_stages_stale_and_says_why(run, capsys):
    stages.run_stages(run)
    configure(run, **{"epochs = 6": "epochs = 8"})
    assert states(run) == ["done", "stale", "stale"]
    capsys.readouterr()
    stages.run_stages(run)
    said = capsys.readouterr().out
    assert "prepare-data: done already" in said
    assert "stale (config changed: generalist.epochs 6 -> 8), made again" in said
    assert "write-report: stale (input train-generalist/best.json changed" in said
    assert (run.folder / "report.html").read_text() == "<p>144"


def test_a_setting_that_equals_its_default_changes_nothing(run):
    configure(run, **{"epochs = 6": ""})
    stages.run_stages(run)
    default = DEFAULTS["text"]["generalist"]["epochs"]
    configure(run, **{"[generalist]": f"[generalist]\nepochs = {default}"})
    assert states(run) == ["done"] * 3


def test_settings_of_no_result_leave_everything_done(run):
    stages.run_stages(run)
    configure(run, **{"jobs = 0": "jobs = 7", "threads = 0": "threads = 2"})
    assert run.config.jobs == 7
    assert states(run) == ["done"] * 3


def test_a_scalar_setting_is_named_once(run):
    stages.run_stages(run)
    configure(run, **{"seed = 3": "seed = 4"})
    assert why_not_done(run, stages.STAGES[0]) == "config changed: seed 3 -> 4"


def test_the_users_own_file_is_an_input(run, tmp_path):
    table = tmp_path / "x.tsv"
    table.write_text("one")
    configure(run, **{'name = "languages"': f'table = "{table}"'})
    stages.run_stages(run)
    table.write_text("two")
    assert why_not_done(run, stages.STAGES[0]) == "input data.table changed"


def test_changed_code_of_the_users_function_makes_its_stage_stale(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = tmp_path / "own_colours.py"
    module.write_text("def make(): return 1")
    configure(run, **{'name = "languages"': 'factory = "own_colours:make"'})
    stages.run_stages(run)
    assert states(run) == ["done"] * 3
    module.write_text("def make(): return 2")
    assert why_not_done(run, stages.STAGES[0]) == "input data.factory changed"
    module.unlink()
    assert why_not_done(run, stages.STAGES[0]) == "data.factory: own_colours.py is gone"


def test_a_file_of_the_user_that_is_gone_stops_only_what_reads_it(run, tmp_path):
    table = tmp_path / "x.tsv"
    table.write_text("one")
    configure(run, **{'name = "languages"': f'table = "{table}"'})
    stages.run_stages(run)
    table.unlink()
    assert why_not_done(run, stages.STAGES[0]) == f"data.table: {table} is gone"
    assert states(run) == ["stale"] * 3
    stages.check_earlier(run, stages.STAGES[2])
    (tmp_path / "xy.tsv").touch()
    with pytest.raises(InputError, match=r"no such file(?s:.*)did you mean \S+xy.tsv"):
        stages.run_stages(run)


def test_a_pipe_is_refused_before_anything_waits_for_it(run, tmp_path):
    os.mkfifo(tmp_path / "x.tsv")
    configure(run, **{'name = "languages"': f'table = "{tmp_path / "x.tsv"}"'})
    with pytest.raises(InputError, match=r"no ordinary file(?s:.*)data.table"):
        stages.run_stages(run)


def test_a_lost_output_is_made_again_even_outside_the_stage_s_folder(run, capsys):
    stages.run_stages(run)
    (run.folder / "report.html").unlink()
    stages.run_stages(run)
    assert "write-report: stale (output ../report.html is gone)" in capsys.readouterr().out
    assert (run.folder / "report.html").is_file()


def test_what_is_left_of_an_older_result_goes_but_units_stay(run, capsys):
    with recording(run.path("train-generalist")):
        write_text(run.path("train-generalist", "old.json"), "1")
    stages.run_stages(run)
    write_text(run.path("train-generalist", "new.json"), "1")
    run.path("train-generalist", "manifest.json").unlink()
    capsys.readouterr()
    stages.run_stages(run)
    assert not run.path("train-generalist", "old.json").exists()
    assert run.path("train-generalist", "new.json").exists()
    assert "trains" not in capsys.readouterr().out


def test_force_makes_a_stage_again_from_nothing(run, capsys):
    stages.run_stages(run)
    before = toy_stages.results(run.folder)
    capsys.readouterr()
    stages.run_stages(run, force=["train-generalist"])
    said = capsys.readouterr().out
    assert said.count("trains") == toy_stages.N_UNITS
    assert "write-report: done already" in said
    assert toy_stages.results(run.folder) == before


def test_until_stops_after_its_stage(run):
    stages.run_stages(run, until="train-generalist")
    assert states(run) == ["done", "done", "missing"]


def test_a_stage_alone_asks_for_the_stages_before_it(run):
    with pytest.raises(InputError, match="needs prepare-data, which is missing") as caught:
        stages.check_earlier(run, stages.STAGES[1])
    assert f"`specialists prepare-data {run.folder}`" in str(caught.value)
    run_stage(run, stages.STAGES[0])
    stages.check_earlier(run, stages.STAGES[1])


def test_what_follows_a_stale_stage_waits_for_it(run):
    stages.run_stages(run)
    configure(run, **{"epochs = 6": "epochs = 8"})
    assert [row.reason for row in stages.status(run)] == [
        "",
        "config changed: generalist.epochs 6 -> 8",
        "train-generalist comes first",
    ]


def test_a_typo_in_a_stage_names_the_nearest(run):
    with pytest.raises(InputError, match="did you mean `train-generalist`"):
        stages.run_stages(run, until="train-generalst")
    with pytest.raises(InputError, match="did you mean `write-report`"):
        stages.run_stages(run, force=["write-repot"])
    assert states(run) == ["missing"] * 3


def test_a_failing_stage_is_not_done_and_keeps_its_units(run, monkeypatch, capsys):
    def fail(_: Run) -> None:
        toy_stages.train(run)
        raise InputError("a specialist failed")

    broken = replace(toy_stages.TOY_STAGES[1], execute=fail)
    monkeypatch.setattr(stages, "STAGES", (toy_stages.TOY_STAGES[0], broken))
    with pytest.raises(InputError):
        stages.run_stages(run)
    assert states(run) == ["done", "missing"]
    monkeypatch.setattr(stages, "STAGES", toy_stages.TOY_STAGES)
    capsys.readouterr()
    stages.run_stages(run)
    said = capsys.readouterr().out
    assert "train-generalist: goes on where it was interrupted" in said
    assert "trains" not in said


def test_times_are_kept_beside_the_result_but_not_in_its_manifest(run):
    stages.run_stages(run)
    folder = run.path("train-generalist")
    assert read_json(folder / "timing-stage.json")["seconds"] >= 0
    assert not any("timing" in name for name in read_json(folder / "manifest.json")["outputs"])


def test_a_run_killed_at_any_moment_goes_on_to_the_same_result(tmp_path):
    script = [sys.executable, toy_stages.__file__, "kill-everywhere", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


def test_test_labels_are_an_input_of_the_evaluation_and_the_report_alone():
    readers = [
        stage.name
        for stage in REAL_STAGES
        if any(Path("prepare-data/test.labels.npy").match(glob) for glob in stage.inputs)
    ]
    assert readers == ["evaluate-models", "write-report"]


def test_nothing_before_the_combination_depends_on_the_rows_kept_for_the_gate():
    readers = [
        stage.name
        for stage in REAL_STAGES
        if any(Path("prepare-data/admission.labels.npy").match(glob) for glob in stage.inputs)
    ]
    assert readers == ["combine-predictions", "evaluate-models", "write-report"]


def test_what_found_the_clusters_is_an_input_of_the_combination_which_counts_it():
    (stage,) = (stage for stage in REAL_STAGES if stage.name == "combine-predictions")
    assert any(Path("cluster-classes/costs.json").match(glob) for glob in stage.inputs)


def test_every_stage_depends_on_existing_settings_and_on_earlier_stages_alone():
    known, earlier = Config.model_fields, ["evaluation.json"]
    for stage in REAL_STAGES:
        assert {name.partition(".")[0] for name in stage.sections} <= set(known)
        assert all(glob.split("/")[0] in earlier for glob in stage.inputs), stage.name
        for setting in stage.files:
            section, key = setting.split(".")
            assert key in Config.from_dict({}).section(section)
        earlier.append(stage.name)


def test_a_disk_that_is_full_at_any_write_costs_nothing_that_was_done(run, monkeypatch):
    left = 0

    def sync(path):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artifacts, "sync", sync)
    room = 1
    for room in itertools.count(1):
        left = room
        try:
            with run.lock():
                stages.run_stages(run)
            break
        except StorageError:
            assert not list(run.folder.rglob(".tmp-*"))
    assert room > 4
    assert (run.folder / "report.html").read_text() == "<p>108"
