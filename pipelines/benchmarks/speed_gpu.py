"""What does a GPU bring, and what holds it up? Ratios of one run, in at most five minutes.

    python -m pipelines.benchmarks.speed_gpu [--quick] [--device cuda]

training      images a second that a residual network trains on: in float32 and in bfloat16, and in
              bfloat16 with batches that are not pinned ahead by a thread
waiting       how often a step of training makes the CPU wait for the GPU, as PyTorch counts it
side by side  eight such trainings on one GPU, so many at a time, started by spawned processes
prediction    an ensemble of the shape of `omniglot`, beside its generalist and its FLOPs
combination   rows of ``combine``, beside a copy of the same matrix

Times are the wall's, the best of several rounds in which each has its turn. The same runs on a CPU.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch

from specialists.classifier import hard_label_loss
from specialists.combination import combine
from specialists.config import Recipe
from specialists.ensemble import CombinationRule
from specialists.networks import NetworkSpec, build
from specialists.runtime import Hardware, map_processes, seed_everything
from specialists.training import Batch, TensorExamples, Trainer
from specialists.training.loading import Loader

from .combination import machine, options_of
from .markdown_tables import Line, markdown_table
from .random_predictions import CASES, QUICK_CASES, Case, draw_predictions
from .speed_inference import ROWS, image_models, relative_flops

N_TRAININGS = 8
SPEC = NetworkSpec("resnet", 1000, (1, 28, 28), width=32, depth=1)
QUICK_SPEC = NetworkSpec("resnet", 10, (1, 8, 8), width=4, depth=1)


class UnpinnedLoader(Loader):
    """Gathers a batch when it is asked for one, and copies it from pageable memory."""

    def _prefetched(self) -> Iterator[Batch]:
        return (self.examples.batch(chunk, self.generator) for chunk in self.chunks)


def make_trainer(device: str, quick: bool, precision: str = "bfloat16", seed: int = 0) -> Trainer:
    """A training on random images, which nothing judges."""
    spec, n, batch_size = (QUICK_SPEC, 64, 16) if quick else (SPEC, 32_768, 512)
    seed_everything(seed)
    images = torch.randint(256, (n, *spec.input_shape), dtype=torch.uint8)
    labels = torch.randint(spec.n_classes, (n,))
    recipe = Recipe(epochs=1 if quick else 2, batch_size=batch_size, learning_rate=1e-3)
    return Trainer(
        build(spec),
        TensorExamples(images, (labels,)),
        hard_label_loss(recipe),
        lambda network: (1.0, 0.0),
        recipe,
        seed=seed,
        hardware=Hardware(device, precision),
    )


def train_one(task: tuple[str, bool, int]) -> None:
    """One of several trainings, in a process of its own."""
    device, quick, seed = task
    make_trainer(device, quick, seed=seed).fit()


def training_rates(quick: bool, device: str) -> list[Line]:
    """A line a way of training."""
    ways: dict[str, tuple[str, AbstractContextManager[object]]] = {
        "float32": ("float32", nullcontext()),
        "bfloat16": ("bfloat16", nullcontext()),
        "bfloat16, batches not pinned": (
            "bfloat16",
            patch("specialists.training.loop.Loader", UnpinnedLoader),
        ),
    }
    n = 0
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(1 if quick else 3):
        for way, (precision, loading) in ways.items():
            trainer = make_trainer(device, quick, precision)
            n = trainer.n_examples
            with loading:
                seconds[way] = min(seconds[way], timed(trainer.fit, device))
    return [
        {
            "training": way,
            "images a second": f"{n / took:,.0f}",
            "over float32": f"{seconds['float32'] / took:.2f}",
        }
        for way, took in seconds.items()
    ]


def waiting_steps(quick: bool, device: str) -> list[Line]:
    """One line: of a whole training, its first batch and its end included."""
    trainer = make_trainer(device, quick)
    told = "-"
    if device != "cpu":
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            trainer.fit()
            torch.cuda.set_sync_debug_mode("default")
        told = str(sum("synchronizing CUDA operation" in str(each.message) for each in caught))
    else:
        trainer.fit()
    return [{"training": "bfloat16", "steps": str(trainer.state.step), "waits for the GPU": told}]


def side_by_side(quick: bool, device: str) -> list[Line]:
    """A line a number of processes."""
    tasks = [(device, quick, seed) for seed in range(N_TRAININGS)]
    seconds = {
        jobs: timed(partial(map_processes, train_one, tasks, jobs), device)
        for jobs in ((1, 2) if quick else (1, 2, 4))
    }
    return [
        {
            f"{N_TRAININGS} trainings, at a time": str(jobs),
            "s": f"{took:.1f}",
            "ratio": f"{seconds[1] / took:.2f}",
        }
        for jobs, took in seconds.items()
    ]


def prediction_times(quick: bool, device: str) -> list[Line]:
    """A line a number of rows."""
    models = image_models(quick)
    ensemble = models.ensemble
    for network in (ensemble.upper, *(each.network for each in ensemble.specialists)):
        network.to(device)
    alone = replace(ensemble, rule=CombinationRule("kl", 1, members=()))
    lines = []
    for n in ROWS[:2] if quick else ROWS:
        inputs = models.inputs[torch.arange(n)]
        jobs = {
            "generalist": partial(alone.predictions, inputs),
            "ensemble": partial(ensemble.predictions, inputs),
        }
        best = dict.fromkeys(jobs, float("inf"))
        for _ in range(2 if quick else 20):
            for name, job in jobs.items():
                best[name] = min(best[name], timed(job, device))
        lines.append(
            {
                "rows": f"{n:,}",
                **{f"{name}, ms": f"{1e3 * took:.2f}" for name, took in best.items()},
                "ratio": f"{best['ensemble'] / best['generalist']:.2f}",
                "FLOPs": f"{relative_flops(ensemble, inputs.to(device)):.2f}",
            }
        )
    return lines


def combination_rates(quick: bool, device: str) -> list[Line]:
    """A line a case of the combination's own benchmark."""
    return [_combination_rate(case, device, quick) for case in (QUICK_CASES if quick else CASES)]


def _combination_rate(case: Case, device: str, quick: bool) -> Line:
    inputs = draw_predictions(case).to(device)
    target = torch.empty_like(inputs.generalist)
    given = (inputs.generalist, inputs.specialists, inputs.subsets, inputs.active)
    jobs: Mapping[str, Callable[[], object]] = {
        "copy": lambda: target.copy_(inputs.generalist),
        "combine": lambda: combine(*given, out=target),
    }
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(2 if quick else 7):
        for name, job in jobs.items():
            best[name] = min(best[name], timed(job, device))
    return {
        "combine": case.name,
        "rows a second": f"{case.n_rows / best['combine']:,.0f}",
        "copies": f"{best['combine'] / best['copy']:.1f}",
    }


def timed(job: Callable[[], object], device: str) -> float:
    """The wall's seconds until the device has done the job."""
    synchronise = torch.cuda.synchronize if device != "cpu" else (lambda: None)
    synchronise()
    start = time.perf_counter()
    job()
    synchronise()
    return time.perf_counter() - start


SECTIONS: dict[str, Callable[[bool, str], list[Line]]] = {
    "training": training_rates,
    "waiting": waiting_steps,
    "side by side": side_by_side,
    "prediction": prediction_times,
    "combination": combination_rates,
}


def main() -> None:
    """Print a table a section."""
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    options = options_of(__doc__, "--device", default=usual)
    print(f"{machine(options.device)}\n", flush=True)
    for name, section in SECTIONS.items():
        print(
            f"## {name}\n\n{markdown_table(section(options.quick, options.device))}\n", flush=True
        )


if __name__ == "__main__":
    main()
