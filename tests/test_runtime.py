"""Seeds, devices and processes: what a result may depend on, and what it may not."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from specialists.errors import ConfigError, TrainingError
from specialists.runtime import (
    autocast,
    derive_seed,
    keep_freed_memory,
    map_processes,
    pick_device,
    progress,
    seed_everything,
    threads,
)
from specialists.runtime.torch_environment import WAITING

LOADING = f"""
import os, sys
class Watching:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print([os.environ.get(name) for name in {WAITING}])
            sys.exit()
sys.meta_path.insert(0, Watching())
{{command}}
"""
STEPS = """
import resource, sys
import torch
from specialists.runtime import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
for step in range(12):
    if step == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(1 << 20) for _ in range(8)]
    del blocks
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
DIE = "from specialists.runtime.processes import die_with_parent; die_with_parent"
PARENT = """
import sys
from pathlib import Path
from specialists.runtime import map_processes
from test_runtime import wait_forever
if __name__ == "__main__":
    map_processes(wait_forever, [(sys.argv[1], i) for i in range(2)], jobs=2)
"""


def multiply_late(task: int) -> tuple[int, int, torch.Tensor]:
    time.sleep(0.2 if task == 0 else 0)
    seed_everything(task)
    return task, os.getpid(), torch.randn(64, 300) @ torch.randn(300, 40)


def write_or_fail(task: tuple[str, int]) -> int:
    folder, index = task
    if index == 0:
        raise ConfigError("no such option", got=index)
    Path(folder, str(index)).touch()
    return index


def die_or_write(task: tuple[str, int]) -> int:
    if task[1] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return write_or_fail(task)


def recall(task: int) -> tuple[int, int, bool]:
    return task, torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS") == "1"


def recall_environment(task: int) -> list[str | None]:
    return [os.environ.get(name) for name in WAITING]


def wait_forever(task: tuple[str, int]) -> None:
    folder, index = task
    Path(folder, f"{index}.tmp").write_text(str(os.getpid()))
    Path(folder, f"{index}.tmp").rename(Path(folder, str(index)))
    time.sleep(60)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_seed_depends_on_every_name_and_fits_every_generator():
    seeds = {derive_seed(s, *n) for s in (0, 1) for n in ((), ("a",), ("a", 1), ("a", 2), ("a1",))}
    assert len(seeds) == 10
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_seed_is_the_same_on_every_machine():
    assert derive_seed(0, "specialist", 3) == 782_970_625


def test_seeding_seeds_numpy_and_torch():
    draws = []
    for _ in range(2):
        seed_everything(5)
        draws.append((np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]


def test_the_cpu_is_picked_by_name_and_auto_gives_a_device_that_works():
    assert pick_device("cpu") == torch.device("cpu")
    assert torch.ones(1, device=pick_device("auto")).sum() == 1


@pytest.mark.parametrize("name", ["gpu", "cuda:77", ""])
def test_a_device_that_is_not_there_is_the_user_s_error(name):
    with pytest.raises(ConfigError, match="device"):
        pick_device(name)


@pytest.mark.parametrize(
    ("precision", "able", "dtype"),
    [
        ("auto", {}, torch.float32),
        ("auto", {"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ("auto", {"avx512_bf16": True}, torch.bfloat16),
        ("auto", {"amx_bf16": True}, torch.bfloat16),
        ("float32", {"avx512_bf16": True}, torch.float32),
        ("bfloat16", {}, torch.bfloat16),
    ],
)
def test_precision_on_the_cpu(monkeypatch, precision, able, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    with autocast(torch.device("cpu"), precision):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_threads_are_set_and_zero_means_one_a_core():
    before = torch.get_num_threads()
    assert threads(0) == len(os.sched_getaffinity(0)) == torch.get_num_threads()
    assert threads(before) == torch.get_num_threads() == before


def test_results_come_in_the_order_of_tasks_and_do_not_depend_on_the_number_of_jobs():
    alone, together = (map_processes(multiply_late, range(4), jobs=jobs) for jobs in (1, 2))
    assert [task for task, _, _ in together] == [0, 1, 2, 3]
    assert len({pid for _, pid, _ in together} | {os.getpid()}) == 3
    assert all(torch.equal(a[2], b[2]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_worker_has_one_thread_and_the_parent_keeps_its_own(jobs):
    before, environment = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(2)
    assert map_processes(recall, range(4), jobs=jobs) == [(task, 1, True) for task in range(4)]
    assert torch.get_num_threads() == 2
    assert dict(os.environ) == environment
    torch.set_num_threads(before)


CHOSEN = [
    ({}, ["PASSIVE", None, None]),
    ({"OMP_WAIT_POLICY": "active"}, ["active", None, None]),
    ({"GOMP_SPINCOUNT": "1000"}, [None, "1000", None]),
    ({"KMP_BLOCKTIME": "200"}, [None, None, "200"]),
]


@pytest.mark.parametrize(("chosen", "expected"), CHOSEN[:2])
def test_workers_have_the_environment_that_torch_needs_unless_the_user_has_chosen(
    monkeypatch, chosen, expected
):
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    environment = dict(os.environ)
    assert map_processes(recall_environment, range(2), jobs=2) == [expected] * 2
    assert dict(os.environ) == environment


@pytest.mark.parametrize(("chosen", "expected"), CHOSEN)
@pytest.mark.parametrize(
    "command", ["from specialists.__main__ import main", "from pipelines.__main__ import main"]
)
def test_the_command_sets_what_torch_reads_before_it_loads_it(chosen, expected, command):
    code = LOADING.format(command=f"{command}; sys.argv[1:] = ['predict', 'runs', 'x']; main()")
    assert at_the_import_of_torch(code, chosen) == [str(expected)]


def test_an_import_of_the_library_leaves_the_environment_as_it_is():
    code = LOADING.format(command="import specialists, specialists.runtime, specialists.networks")
    assert at_the_import_of_torch(code, {}) == [str([None] * 3)]


def at_the_import_of_torch(code: str, chosen: dict[str, str]) -> list[str]:
    """What was in force when a new process began to load PyTorch; it ends there."""
    kept = {name: value for name, value in os.environ.items() if name not in WAITING}
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **chosen, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_task_does_not_lose_the_others(tmp_path, jobs):
    with pytest.raises(ConfigError, match="no such option"):
        map_processes(write_or_fail, [(str(tmp_path), i) for i in range(4)], jobs=jobs)
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3"]


def test_a_killed_worker_loses_its_own_task_alone(tmp_path):
    with pytest.raises(TrainingError, match="exit code -9"):
        map_processes(die_or_write, [(str(tmp_path), i) for i in range(4)], jobs=2)
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3"]


class TwoWordsError(Exception):
    """Sent without its second argument, so that it cannot be made again."""

    def __init__(self, first: str, second: int) -> None:
        super().__init__(f"{first} {second}")


def fail_in_its_own_way(task: int) -> int:
    class LocalError(Exception):
        pass

    raise LocalError("task 0") if task == 0 else TwoWordsError("task", task)


@pytest.mark.parametrize(("tasks", "told"), [([0, 1], "LocalError: task 0"), ([1, 0], "task 1")])
def test_an_error_that_cannot_be_sent_still_tells_its_message(tasks, told):
    with pytest.raises(TrainingError, match=told):
        map_processes(fail_in_its_own_way, tasks, jobs=2)


def test_no_tasks_give_no_results():
    assert map_processes(multiply_late, [], jobs=2) == []


def test_children_die_with_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, script, tmp_path], env=environment) as parent:
        files = [tmp_path / "0", tmp_path / "1"]
        assert wait_until(lambda: all(file.exists() for file in files))
        parent.kill()
    children = [int(file.read_text()) for file in files]
    assert wait_until(lambda: not any(map(is_alive, children)), seconds=5)


def test_a_child_whose_parent_is_dead_already_ends_at_once():
    code = f"{DIE}(1 << 22); print('on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_live_parent_leaves_the_child_alone():
    code = f"{DIE}({os.getpid()})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_progress_counts_in_silence_unless_it_is_asked_for(capfd):
    with progress("training", 10) as bar:
        bar.advance(3)
        bar.advance()
        assert bar.done == 4
    assert capfd.readouterr() == ("", "")


def log_lines(task: int) -> None:
    log = logging.getLogger("specialists.test")
    log.info(f"line [{task}]\a")
    log.debug("too much")


@pytest.mark.parametrize("jobs", [1, 2])
def test_lines_of_workers_reach_their_parent_s_handlers(jobs, capfd):
    map_processes(log_lines, range(3), jobs=jobs)
    printed = capfd.readouterr()
    assert sorted(printed.out.splitlines()) == [rf"line [{task}]\x07" for task in range(3)]
    assert printed.err == ""


@pytest.mark.parametrize("logger", ["specialists", "specialists.test"])
def test_lines_of_workers_can_be_silenced(logger, capfd):
    before = logging.getLogger(logger).level
    logging.getLogger(logger).setLevel(logging.WARNING)
    map_processes(log_lines, range(3), jobs=2)
    logging.getLogger(logger).setLevel(before)
    assert capfd.readouterr() == ("", "")


def test_a_library_prints_warnings_alone_and_no_bars():
    code = (
        "import logging; from specialists.runtime import progress\n"
        "with progress('bar', 1) as bar: bar.advance()\n"
        "log = logging.getLogger('specialists.training')\n"
        "log.info('news'); log.warning('a fault')\n"
        "logging.getLogger('specialists').setLevel(logging.ERROR); log.warning('silenced')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "a fault\n")


def blocked_signals(_):
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ctrl_c_is_the_parents_also_while_workers_start():
    for blocked in map_processes(blocked_signals, range(2), jobs=2):
        assert signal.SIGINT in blocked
    assert signal.SIGINT not in blocked_signals(0)


def faults(how, **environment):
    """Pages that the system fills anew in eight steps of 32 MiB, and whether memory is kept."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", STEPS, how]
    made = subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    kept, pages = map(int, made.stdout.split())
    return bool(kept), pages


def test_a_step_gets_the_memory_that_the_one_before_it_freed():
    if not faults("keep")[0]:
        pytest.skip("not glibc")
    # Own mappings: a heap that cannot be trimmed, by chance, keeps its memory unasked.
    left = faults("leave", MALLOC_MMAP_THRESHOLD_="65536")
    assert faults("keep")[1] < 0.1 * left[1]


def test_memory_is_kept_as_the_environment_says():
    assert not faults("keep", MALLOC_ARENA_MAX="8")[0]


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory.__wrapped__()
