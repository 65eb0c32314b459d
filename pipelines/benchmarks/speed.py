"""What does the time around the training loop cost? Before and after, as ratios of one run.

    python -m pipelines.benchmarks.speed [--quick] [--before CHECKOUT] [SECTION ...]

threads      a step of training with two threads that spin or sleep while they wait, on a machine
             that is idle and on one whose cores all have other work
table        trainings with three optimisers of the n-gram table
loading      a network that is read from its folder, with and without weights drawn before
checkpoints  what one writes and takes, where its best weights are the current ones and where they
             are not, and its share of the time, if one is written every 20 s and as it is now
disk         what networks of `languages` take of the disk, and how long they are loaded
targets      steps of a student's training with stored soft targets, beside those with hard labels
specialists  one specialist of few classes, where there are many
combination  calls of ``combine`` for few and for many rows
inference    predictions of an ensemble and of a student, beside their FLOPs
predict      the command for one line with a student, beside nothing but the import of PyTorch
run          `languages` with all baselines; an older version, too, whose checkout is given

Seconds are of the processor, unless they are called wall time. Each has its turn in every round;
the best round counts. "before" does again what the program did, as far as it can be added.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from specialists.config import Recipe
from specialists.datasets.base import Ragged
from specialists.networks import build, load_network, read_model, save_network
from specialists.runtime import n_cores, one_torch_thread
from specialists.runtime.torch_environment import WAITING
from specialists.training.checkpoints import save_checkpoint
from specialists.training.loop import CHECKPOINT_SECONDS
from specialists.training.optimisers import Optimisers

from .markdown_tables import Line, markdown_table
from .seconds import best_of
from .speed_combination import combination_calls
from .speed_disk import disk_and_loads, text_network
from .speed_inference import inference_speed
from .speed_many_specialists import many_specialists
from .speed_run import whole_run
from .speed_soft_targets import soft_target_steps
from .table_optimisers import table_optimisers

N_CLASSES = 239
BATCH_SIZE, N_GRAMS = 128, 60  # of one text
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
STEPS = "from pipelines.benchmarks.speed import time_steps; time_steps({n_steps})"
HEAVY = "import scipy.stats, scipy.optimize, torch._dynamo; "
PREDICT = "from specialists.__main__ import main; main()"


def time_steps(n_steps: int) -> None:
    """Print the seconds of a step with two threads, of the processor and of the wall, as JSON."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    network = build(text_network(2**14))
    recipe = Recipe(epochs=1, batch_size=BATCH_SIZE, learning_rate=0.001)
    optimisers = Optimisers(network, recipe, n_steps + 5)
    hashes = torch.randint(2**31 - 1, (BATCH_SIZE * N_GRAMS,), dtype=torch.int32)
    texts = Ragged(hashes, torch.arange(0, len(hashes) + 1, N_GRAMS))
    labels = torch.randint(N_CLASSES, (BATCH_SIZE,))
    start = (0.0, 0.0)
    for step in range(n_steps + 5):
        if step == 5:
            start = time.process_time(), time.perf_counter()
        F.cross_entropy(network(texts), labels).backward()
        optimisers.step()
    times = (time.process_time() - start[0]) / n_steps, (time.perf_counter() - start[1]) / n_steps
    print(json.dumps(times))


def threads_that_wait(quick: bool) -> list[Line]:
    """One line a machine, idle or busy."""
    code, lines = STEPS.format(n_steps=5 if quick else 60), []
    for name, n_others in {"idle": 0, "busy": n_cores()}.items():
        best = {"spin": (float("inf"),) * 2, "sleep": (float("inf"),) * 2}
        with other_work(n_others):
            for _ in range(1 if quick else 3):
                for policy, variables in {
                    "spin": {},
                    "sleep": {"OMP_WAIT_POLICY": "PASSIVE"},
                }.items():
                    told = run_python(["-c", code], variables)
                    best[policy] = min(best[policy], tuple(json.loads(told)))
        (cpu, wall), (cpu_asleep, wall_asleep) = best["spin"], best["sleep"]
        lines.append(
            {
                "machine": name,
                "CPU ms a step, spinning": f"{1e3 * cpu:.1f}",
                "sleeping": f"{1e3 * cpu_asleep:.1f}",
                "ratio": f"{cpu / cpu_asleep:.2f}",
                "wall ms a step, spinning": f"{1e3 * wall:.1f}",
                "sleeping, wall": f"{1e3 * wall_asleep:.1f}",
                "ratio of wall times": f"{wall / wall_asleep:.2f}",
            }
        )
    return lines


@contextmanager
def other_work(n_processes: int) -> Iterator[None]:
    """Processes that never rest."""
    with ExitStack() as stack:
        for _ in range(n_processes):
            process = subprocess.Popen([sys.executable, "-c", BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def run_python(arguments: Sequence[str], variables: dict[str, str] | None = None) -> str:
    """What a new process of Python prints, in an environment that chooses nothing for PyTorch."""
    kept = {name: value for name, value in os.environ.items() if name not in WAITING}
    paths = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
    environment = {**kept, **(variables or {}), "PYTHONPATH": paths}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def table_trainings(quick: bool) -> list[Line]:
    """A line an optimiser of the n-gram table, each in a short training."""
    with one_torch_thread():
        return table_optimisers(quick, ["generalist.epochs=2"], seeds=1)


def network_loading(quick: bool) -> list[Line]:
    """One line a size of the table."""
    lines = []
    for n_buckets in (2**10,) if quick else (2**17, 2**20):
        spec = text_network(n_buckets)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            save_network(build(spec), spec, folder)
            jobs = {
                "before": partial(drawn_and_overwritten, folder),
                "after": partial(load_network, folder),
            }
            jobs["after"]()  # its checksum is remembered
            times = best_of(jobs, 1 if quick else 5)
        lines.append(
            {
                "weights": f"{4 * n_buckets * spec.embedding_dim / 1e6:.0f} MB",
                "before, s": f"{times['before']:.3f}",
                "after, s": f"{times['after']:.3f}",
                "ratio": f"{times['before'] / times['after']:.1f}",
            }
        )
    return lines


def drawn_and_overwritten(folder: Path) -> nn.Module:
    """What `load_network` did."""
    spec, _, tensors = read_model(folder)
    network = build(spec)
    network.load_state_dict(tensors)
    return network


def checkpoint_share(quick: bool) -> list[Line]:
    """A line for best weights that are the current ones, and one for others."""
    spec = text_network(2**10 if quick else 2**20)
    state = build(spec).state_dict()
    sums = {name: torch.zeros_like(value) for name, value in state.items()}
    lines = []
    for name, best in {"the current": state, "earlier": None}.items():
        best = best or {key: value.clone() for key, value in state.items()}
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            content = {"network": state, "optimisers": sums, "best": best}
            save_checkpoint(Path(folder), content)
            seconds = time.perf_counter() - start
            size = sum(file.stat().st_size for file in Path(folder).iterdir())
        wait = max(CHECKPOINT_SECONDS, CHECKPOINT_SECONDS * seconds)
        lines.append(
            {
                "best weights": name,
                "MB": f"{size / 1e6:.0f}",
                "wall s": f"{seconds:.2f}",
                "share of the time, one every 20 s": f"{seconds / (20 + seconds):.1%}",
                "share now": f"{seconds / (wait + seconds):.1%}",
            }
        )
    return lines


def start_of_predict(quick: bool) -> list[Line]:
    """One line."""
    spec = text_network(2**10 if quick else 2**17)
    about = {
        "kind": "text",
        "class_names": [f"class {i}" for i in range(N_CLASSES)],
        "preprocessing": {
            "kind": "text",
            "char_ngrams": [1, 5],
            "word_ngrams": [0, 0],
            "lowercase": False,
        },
        "temperature": 1.0,
    }
    with tempfile.TemporaryDirectory() as name:
        save_network(build(spec), spec, Path(name, "student"), **about)
        Path(name, "x.txt").write_text("Donnerstag\n")
        command = ["predict", f"{name}/student", f"{name}/x.txt"]
        jobs = {
            "import torch": lambda: run_python(["-c", "import torch"]),
            "before": lambda: run_python(["-c", HEAVY + PREDICT, *command]),
            "after": lambda: run_python(["-c", PREDICT, *command]),
        }
        times = best_of(jobs, 1 if quick else 5)
    return [
        {
            "predict": "one line",
            "import torch, s": f"{times['import torch']:.2f}",
            "before, s": f"{times['before']:.2f}",
            "after, s": f"{times['after']:.2f}",
            "ratio": f"{times['before'] / times['after']:.2f}",
        }
    ]


SECTIONS: dict[str, Callable[[bool], list[Line]]] = {
    "threads": threads_that_wait,
    "table": table_trainings,
    "loading": network_loading,
    "checkpoints": checkpoint_share,
    "disk": disk_and_loads,
    "targets": soft_target_steps,
    "specialists": many_specialists,
    "combination": combination_calls,
    "inference": inference_speed,
    "predict": start_of_predict,
    "run": whole_run,
}


def main() -> None:
    """Print a table a section."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.speed")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="an older version to run")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - SECTIONS.keys()
    if unknown:
        parser.error(f"no section {min(unknown)}; there are {', '.join(SECTIONS)}")
    sections = {**SECTIONS, "run": partial(whole_run, before=arguments.before)}
    for name in arguments.sections or sections:
        table = markdown_table(sections[name](arguments.quick))
        print(f"## {name}\n\n{table}\n", flush=True)


if __name__ == "__main__":
    main()
