"""What the command prints and how it exits, with toy stages in place of the real ones."""

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile_names
import pytest
import toy_stages

from specialists import __main__ as entry

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)]),
    "COLUMNS": "120",
    "NO_COLOR": "1",
}
TOYS = [sys.executable, toy_stages.__file__]
REAL = [sys.executable, "-m", "pipelines"]
SLOW_TO_END = """
import atexit, sys, time, types
from pipelines.messages import told_in_one_message
from specialists.__main__ import main

def say(line, seconds):
    print(line, flush=True)
    time.sleep(seconds)

def work():
    with told_in_one_message():
        try:
            say("works", 60)
        finally:
            say("cleans up", 0.3)

atexit.register(say, "ends", 0.3)
sys.modules["specialists.pipelines.__main__"] = types.SimpleNamespace(main=work)
main()
"""


def specialists(
    *arguments: object,
    command: list[str] = TOYS,
    cwd: Path | None = None,
    stdout: Any = subprocess.PIPE,
    encoding: str = "utf-8",
    files_of_at_most: int | None = None,
):
    def limit() -> None:
        if files_of_at_most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (files_of_at_most, files_of_at_most))

    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**ENVIRONMENT, "PYTHONIOENCODING": encoding},
        cwd=cwd,
        preexec_fn=limit,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=60,
    )


def started(*arguments: object) -> subprocess.Popen:
    """A run that has finished two units and works on its third without end."""
    process = subprocess.Popen(
        [*TOYS, *map(str, arguments)],
        env={**ENVIRONMENT, "TOY_HANGS": "unit-2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any(line == "trains unit-2\n" for line in process.stdout)
    return process


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(toy_stages.CONFIG)
    return file


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Artifacts of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "mine.toml").write_text(toy_stages.CONFIG)
    done = specialists("run", folder / "mine.toml", "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return toy_stages.results(folder / "run")


def test_help_names_the_commands():
    done = specialists("--help", command=REAL)
    assert done.returncode == 0
    for name in ("run", "evaluate-models", "write-report", "status", "predict", "configs"):
        assert f"  {name} " in done.stdout


def test_run_ends_with_the_report_and_what_it_found(config, tmp_path):
    done = specialists("run", config, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["The report: runs/mine/report.html", "found mine"]
    assert (tmp_path / "runs" / "mine" / "report.html").read_text() == "<p>108"


def test_without_a_config_the_run_is_called_as_its_data(tmp_path):
    (tmp_path / "t.tsv.gz").write_text("colours")
    done = specialists("run", "--set", "data.table=t.tsv.gz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "t" / "report.html").is_file()
    table = tmp_path / "t.tsv.gz"
    table.unlink()
    shown = specialists("status", "runs/t", cwd=tmp_path).stdout
    assert f"data.table: {table} is gone" in " ".join(shown.split()).replace("/ ", "/")


def test_until_another_stage_ends_without_a_report(config, tmp_path):
    done = specialists("run", config, "--out", tmp_path / "run", "--until", "prepare-data")
    assert done.returncode == 0
    assert "report" not in done.stdout


def test_interrupt_exits_130_and_the_same_command_goes_on_to_the_same_result(
    config, tmp_path, expected
):
    command = ("run", config, "--out", tmp_path / "run")
    with started(*command) as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "The same command goes on" in errors
    assert "Traceback" not in errors
    again = specialists(*command)
    assert "train-generalist: goes on where it was interrupted" in again.stdout
    assert again.stdout.count("trains") == toy_stages.N_UNITS - 2
    assert toy_stages.results(tmp_path / "run") == expected


@pytest.fixture
def heeding_ctrl_c():
    """As in a terminal; what a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_is_heeded_once_until_the_process_has_ended():
    command = [sys.executable, "-c", SLOW_TO_END]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in process.stdout:
            process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert errors == "\nInterrupted. The same command goes on where this one stopped.\n"
    assert process.returncode == 130


def test_a_ctrl_c_that_was_lost_can_be_repeated(monkeypatch):
    heeded = entry._Interruptions()
    with pytest.raises(KeyboardInterrupt):
        heeded(signal.SIGINT, None)
    heeded(signal.SIGINT, None)
    monkeypatch.setattr(entry, "LOST_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        heeded(signal.SIGINT, None)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_the_command_leaves_the_handlers_of_a_process_that_goes_on(monkeypatch):
    before, inside = signal.getsignal(signal.SIGINT), []
    fake = SimpleNamespace(main=lambda: inside.append(signal.getsignal(signal.SIGINT)))
    monkeypatch.setitem(sys.modules, "specialists.pipelines.__main__", fake)
    entry.main()
    assert inside[0] is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_process_is_refused_at_once_and_a_killed_one_does_not_block(
    config, tmp_path, expected
):
    command = ("run", config, "--out", tmp_path / "run")
    with started(*command) as process:
        second = specialists(*command)
        alone = specialists("train-generalist", tmp_path / "run")
        assert process.poll() is None
        process.kill()
    assert second.returncode == alone.returncode == 2
    assert f"process {process.pid}" in second.stderr
    assert f"process {process.pid}" in alone.stderr
    assert specialists(*command).returncode == 0
    assert toy_stages.results(tmp_path / "run") == expected


def test_each_stage_is_a_command_and_status_shows_how_far_it_came(config, tmp_path):
    run = tmp_path / "run"
    specialists("run", config, "--out", run, "--until", "prepare-data")
    too_early = specialists("write-report", run)
    assert too_early.returncode == 2
    assert f"`specialists train-generalist {run}`" in too_early.stderr
    assert specialists("train-generalist", run).returncode == 0
    assert "done already, skipped" in specialists("train-generalist", run).stdout
    assert "trains" in specialists("train-generalist", run, "--force").stdout
    table = specialists("status", run).stdout
    assert re.findall(r"(\S+) +(done|stale|missing)", table) == [
        ("prepare-data", "done"),
        ("train-generalist", "done"),
        ("write-report", "missing"),
    ]


def test_a_changed_setting_replaces_the_config_and_says_what_follows(config, tmp_path):
    run = tmp_path / "run"
    specialists("run", config, "--out", run)
    done = specialists("run", config, "--out", run, "--set", "generalist.epochs=8")
    assert "config.toml of this run is replaced: generalist.epochs 6 -> 8" in done.stdout
    assert "stale (config changed: generalist.epochs 6 -> 8)" in done.stdout
    kept = specialists("run", "--out", run)
    assert kept.returncode == 0
    assert "replaced" not in kept.stdout
    assert kept.stdout.count("skipped") == 3


def test_data_that_are_not_there_leave_everything_as_it_was(config, tmp_path):
    run, settings = tmp_path / "run", ("--set", f"data.table={tmp_path / 'nowhere.tsv'}")
    refused = specialists("run", config, "--out", run, *settings)
    assert (refused.returncode, run.exists()) == (2, False)
    assert "error: no such file\n  where: data.table in the configuration\n" in refused.stderr
    specialists("run", config, "--out", run, "--until", "prepare-data")
    before = (run / "config.toml").read_text()
    assert specialists("run", "--out", run, *settings).returncode == 2
    assert (run / "config.toml").read_text() == before


def test_results_of_other_data_are_not_replaced_without_a_word(config, tmp_path):
    run, results = tmp_path / "run", toy_stages.results
    for name, content in {"a.tsv": "one", "moved.tsv": "one", "b.tsv": "two"}.items():
        (tmp_path / name).write_text(content)

    def with_data(name: str, *more: str):
        source = ("--set", f"data.table={tmp_path / name}")
        return specialists("run", "--out", run, *source, *more)

    for stage in (
        "prepare-data",
        "train-generalist",
    ):  # before anything is trained, data may change
        specialists("run", config, "--out", run, "--until", "prepare-data")
        assert with_data("a.tsv", "--until", stage).returncode == 0
    before = results(run)
    for more in ([], ["--dry-run"], ["--force", "train-generalist"], ["--until", "prepare-data"]):
        told = with_data("b.tsv", *more)
        assert told.returncode == 2
        assert told.stderr == (
            f"error: this folder holds the results of other data\n  where: {run}\n"
            f"  got: data.table = {tmp_path / 'b.tsv'}\n"
            f"  expected: data.table = {tmp_path / 'a.tsv'}\n"
            "  to mend it: name a folder of its own with --out; or `--force prepare-data`, which "
            "replaces the results\n"
        )
    assert "got: data.name = languages" in specialists("run", config, "--out", run).stderr
    assert results(run) == before
    assert with_data("moved.tsv").returncode == 0
    (tmp_path / "moved.tsv").write_text("more")
    assert "input data.table changed" in with_data("moved.tsv").stdout
    assert with_data("b.tsv", "--force", "prepare-data").returncode == 0
    assert '"two"' in (run / "prepare-data" / "dataset.json").read_text()


def test_the_user_s_mistake_is_one_message_and_exit_code_2_and_leaves_nothing(config, tmp_path):
    out, mistake = tmp_path / "runs" / "deeper" / "run", ("--set", "data.max_examples=3")
    done = specialists("run", config, "--out", out, *mistake)
    assert list(tmp_path.iterdir()) == [config]
    compared = specialists("compare", config, "--out", out, "--set", "data.max_examples=3")
    assert compared.returncode == 2
    assert "too few examples" in compared.stderr
    assert list(tmp_path.iterdir()) == [config]
    specialists("run", config, "--out", out, "--until", "prepare-data")
    assert specialists("run", "--out", out, *mistake).returncode == 2
    assert (out / "config.toml").is_file()
    assert done.returncode == 2
    assert "error: too few examples\n  where: class 7\n" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "languags"], "did you mean `languages`"),
        (["run", "--set", "generalist.epoch=3"], "did you mean `generalist.epochs`"),
        (["run", "--until", "train-generalis"], "did you mean `train-generalist`"),
        (["run", "--until", "combine"], "did you mean `combine-predictions`"),
        (["run", "--force", "write-reprot"], "did you mean `write-report`"),
        (["run", "names.tsv"], "no such file\n  where: names.tsv\n"),
        (["run", "--set", "device=cudaa"], "this device cannot be used"),
        (["run", "--until", "prepare-data", "--force", "write-report"], "asks for a stage after"),
        (["trian-generalist", "run"], "mend it: did you mean 'train-generalist'"),
        (["status", "nowhere"], "no such folder"),
        (["predict", "nowhere", "new.txt"], "no such folder"),
        (["status", "."], "this is no run folder"),
        (["prepare-data", "nowhere"], "no such folder"),
        (["evaluate-models", "x", "--split", "tst"], "mend it: did you mean test?\n"),
        (["run", "--sed", "3"], "error: no such option: --sed\n  where: `specialists run`\n"),
        (["--hepl"], "error: no such option: --hepl\n  where: `specialists`\n"),
        (["distill"], "error: missing option '--teacher'\n  where: `specialists distill`\n"),
        (["run", "--out"], "requires an argument\n  where: `specialists run`\n"),
        (["run", "--out", ""], "error: the name of a folder is empty\n  where: --out\n"),
        *(
            (
                [*command, option, value],
                f"error: this value cannot be used\n  where: {option}\n  got: {value}\n  expect",
            )
            for command, option, value in (
                (["predict", "nowhere", "x.txt"], "--model", "teacher"),
                (["predict", "nowhere", "x.txt"], "--top", "0"),
                (["predict", "nowhere", "x.txt"], "--top", "x"),
                (["compare"], "--seeds", "0"),
                (["run"], "--jobs", "-1"),
            )
        ),
    ],
)
def test_a_typo_is_told_with_the_nearest_name_and_leaves_no_trace(tmp_path, arguments, message):
    done = specialists(*arguments, command=REAL, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_fault_exits_1_with_its_traceback(config):
    script = "import toy_stages as t; t.use_toys(); t.stages.run_stages = None; t.command.main()"
    fault = specialists(
        "run", config, "--out", config.parent / "run", command=[sys.executable, "-c", script]
    )
    assert fault.returncode == 1
    assert "Traceback" in fault.stderr


def refused(*arguments: object, **options) -> str:
    """The message of a command that ends with exit code 2 and no traceback."""
    done = specialists(*arguments, **options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_file_in_place_of_a_folder_is_told_before_any_work(config, tmp_path):
    assert "not a run folder" in refused("run", config, "--out", config)
    assert "not a folder" in refused("predict", "run", "x", "--out", config / "x.tsv")
    assert "not a file" in refused("predict", "run", "x", "--out", tmp_path)


def test_what_the_operating_system_refuses_is_one_message(config, tmp_path):
    specialists("run", config, "--out", tmp_path / "run", "--until", "prepare-data")
    (tmp_path / "run" / ".lock").unlink()
    (tmp_path / "run" / ".lock").mkdir()
    told = refused("run", config, "--out", tmp_path / "run")
    assert f"where: {tmp_path / 'run' / '.lock'}" in told
    assert "got: Is a directory" in told


def test_a_full_disk_exits_1_and_the_same_command_goes_on(config, tmp_path, expected):
    command = ("run", config, "--out", tmp_path / "run")
    full = specialists(*command, files_of_at_most=100)
    assert full.returncode == 1
    assert f"  where: {tmp_path / 'run' / 'config.toml'}\n" in full.stderr
    assert "to mend it: raise that limit" in full.stderr
    assert "Traceback" not in full.stderr
    left = {file.name for file in (tmp_path / "run").iterdir()}
    assert left == {".lock", ".specialists.json", ".specialists-written"}
    assert specialists(*command).returncode == 0
    assert toy_stages.results(tmp_path / "run") == expected


@pytest.mark.parametrize(
    "arguments", [["run", "--out", "run"], ["status", "run"], ["configs"], ["--help"]]
)
def test_output_that_the_disk_does_not_take_exits_1(config, tmp_path, arguments):
    specialists("run", config, "--out", tmp_path / "run")
    with open("/dev/full", "w") as full:
        done = specialists(*arguments, cwd=tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full\n")
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


def test_a_reader_that_had_enough_ends_the_command_in_silence():
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        done = specialists("configs", command=REAL, stdout=closed)
    assert done.stderr == ""


def test_a_terminal_gets_no_control_characters_of_names(config, tmp_path):
    run = tmp_path / "\x1b[31mж"
    done = specialists("run", config, "--out", run)
    assert done.returncode == 0, done.stderr
    assert r"\x1b[31mж/report.html" in done.stdout
    status = specialists("status", run)
    told = refused("status", tmp_path / "\x1b[2J\udcff")
    assert r"where: " + str(tmp_path) + r"/\x1b[2J\udcff" in told
    for text in (done.stdout, status.stdout, told):
        assert hostile_names.acting(text) == set()


def test_output_without_utf_8_shows_what_it_lacks_as_escapes(config, tmp_path):
    done = specialists("run", config, "--out", "ж", cwd=tmp_path, encoding="ascii")
    assert done.returncode == 0, done.stderr
    assert r"The report: \u0436/report.html" in done.stdout


def test_status_prints_its_table_when_an_artifact_is_damaged(config, tmp_path):
    run = tmp_path / "run"
    specialists("run", config, "--out", run)
    (run / "prepare-data" / "dataset.json").write_text("{")
    done = specialists("status", run)
    assert done.returncode == 0, done.stderr
    assert "output dataset.json changed" in done.stdout
    (run / "prepare-data" / ".started.json").write_text("{")
    assert specialists("run", "--out", run).returncode == 0
    assert specialists("status", run).stdout.count(" done") == 3


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("st", "status"), ("run emo", "emoji"), ("predict --model stu", "student")],
)
def test_a_shell_completes_commands_configs_and_choices(typed, offered):
    words = ["specialists", *typed.split()]
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "specialists"],
        env={**ENVIRONMENT, **asked, "_SPECIALISTS_COMPLETE": "complete_bash"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.stdout.split() == [offered]


def test_quiet_prints_results_alone(config, tmp_path):
    command = ("run", config, "--out", tmp_path / "run")
    assert "trains" in specialists(*command, "--until", "train-generalist").stdout
    done = specialists(*command, "--quiet")
    assert done.stdout == f"\nThe report: {tmp_path}/run/report.html\nfound run\n"


def test_configs_lists_what_ships():
    done = specialists("configs", command=REAL)
    assert done.returncode == 0
    assert "languages" in done.stdout
    assert "pipelines/configs/languages.toml" in done.stdout
