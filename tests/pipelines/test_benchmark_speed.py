"""Every section of the speed benchmark gives a table of ratios; times are not tested."""

import json
import sys

import pytest
import torch

from pipelines.benchmarks import speed, speed_gpu, speed_run


@pytest.mark.parametrize("section", ["loading", "checkpoints"])
def test_a_section_prints_its_table_alone(section, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed", section, "--quick"])
    speed.main()
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if line.startswith("#")] == [f"## {section}"]
    assert len([line for line in told if line.startswith("|")]) >= 3


def test_a_section_that_there_is_not_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed", "thread"])
    with pytest.raises(SystemExit, match="2"):
        speed.main()
    assert "no section thread; there are threads, table, loading" in capsys.readouterr().err


def test_steps_are_timed_on_the_processor_and_on_the_wall(capsys):
    before = torch.get_num_threads()
    speed.time_steps(2)
    torch.set_num_threads(before)
    cpu, wall = json.loads(capsys.readouterr().out)
    assert min(cpu, wall) > 0


def test_processes_of_other_work_end_with_it(monkeypatch):
    started, start = [], speed.subprocess.Popen
    monkeypatch.setattr(
        speed.subprocess, "Popen", lambda command: started.append(start(command)) or started[-1]
    )
    with speed.other_work(2):
        assert [process.poll() for process in started] == [None, None]
    assert [process.returncode for process in started] == [-9, -9]


def test_the_tables_of_a_gpu_can_be_had_from_a_cpu(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed_gpu", "--quick", "--device", "cpu"])
    monkeypatch.setattr(speed_gpu, "N_TRAININGS", 1)
    speed_gpu.main()
    told = capsys.readouterr().out
    for title, n_lines in {
        "training": 3,
        "waiting": 1,
        "side by side": 2,
        "prediction": 2,
        "combination": 2,
    }.items():
        table = told.partition(f"## {title}\n\n")[2].partition("\n\n")[0]
        assert len(table.splitlines()) == 2 + n_lines


def test_batches_that_are_not_pinned_are_the_same_batches():
    examples, order = speed_gpu.make_trainer("cpu", quick=True).examples, torch.randperm(64)
    batches = [
        list(kind(examples, order, 16, torch.Generator(), torch.device("cpu"))._prefetched())
        for kind in (speed_gpu.Loader, speed_gpu.UnpinnedLoader)
    ]
    assert [len(batch) for batch in batches[1]] == [16] * 4
    for pinned, gathered in zip(*batches, strict=True):
        assert isinstance(pinned.inputs, torch.Tensor)
        assert isinstance(gathered.inputs, torch.Tensor)
        assert torch.equal(pinned.inputs, gathered.inputs)


RUN_ENDS = """
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
folder.mkdir()
(folder / "weights").write_bytes(bytes(3_000_000))
print("The report: report.html\\nKeep the generalist: nothing is better")
"""


def test_a_whole_run_is_measured_beside_an_older_version(monkeypatch, tmp_path):
    monkeypatch.setattr(speed_run, "COMMAND", RUN_ENDS)
    before, after, ratio = speed_run.whole_run(quick=True, before=tmp_path)
    for line in (before, after):
        assert line["verdict"] == "Keep the generalist"
        assert line["disk, MB"] == "3"
        assert float(line["peak memory of a process, MB"].replace(",", "")) > 1
    assert ratio["disk, MB"] == "1.00"


def test_a_run_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(speed_run, "COMMAND", "print('what went wrong'); raise SystemExit(2)")
    with pytest.raises(RuntimeError, match="what went wrong"):
        speed_run.whole_run(quick=True)
