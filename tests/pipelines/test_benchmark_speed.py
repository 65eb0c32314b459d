"""Every section of the speed benchmark gives a table of ratios; times are not tested."""

import json
import sys

import pytest
import torch

from pipelines.benchmarks import speed


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
    assert "no section thread; there are threads, loading" in capsys.readouterr().err


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
