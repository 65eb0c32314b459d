"""What did a model do on the test set over several seeds, and what did it cost to train and to run?

FLOPs of training are those that the run counted (:mod:`specialists.training.cost`): forward,
backward, and the optimisers' updates, repetitions included.

Inference is counted on test inputs. Differences are paired, and their intervals draw seeds and
groups of examples anew, as those of ``specialists compare`` do (:mod:`specialists.uncertainty`).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from specialists.baselines import (
    Budget,
    averaged,
    everywhere,
    judge_averages,
)
from specialists.config import Config
from specialists.ensemble import choose, cost_sample
from specialists.evaluation.scores import MAX_NLL
from specialists.networks import inference_flops, load_network
from specialists.runs import claim, read_array, read_json, recording
from specialists.runs.records import MANIFEST, STARTED
from specialists.runs.removal import result_files
from specialists.uncertainty import (
    ANY_REAL,
    DIFFERENCE_OF_SHARES,
    Interval,
    drawn_over_seeds,
    means_over_seeds,
    percentile_interval,
)

from ..baselines import baseline_tasks, best_schedule, budget_of
from ..classifiers import ClassifierTask, Member
from ..context import RunContext
from ..finished_run import examples_of, groups_of
from ..run_settings import write_config
from ..runs import Run
from ..stages import run_stages

LAST_STAGE = "combine-predictions"
GENERALIST = "train-generalist"
LIMITS = {"right": DIFFERENCE_OF_SHARES, "nll": ANY_REAL}  # of a difference


@dataclass(frozen=True)
class Measured:
    """One seed's model on its test set.

    Parameters
    ----------
    right, nll : float64 arrays of shape (n,)
        Whether the label is the most probable class; -log p(label) in nats.
    examples : str
        The same for two seeds if and only if their test sets are.
    training_flops, inference_flops : float
        Of the whole training, and the mean of one prediction.
    about : str
        A word on what it is: its width, its weight, its rule.
    groups : int64 array of shape (n,), optional
        Examples that are one observation share a number; None: each is one.
    """

    right: NDArray[np.float64]
    nll: NDArray[np.float64]
    examples: str
    training_flops: float
    inference_flops: float
    about: str = ""
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a paired difference, with each seed's and a 95% interval."""

    value: float
    values: tuple[float, ...]
    interval: tuple[float, float]


class Seed:
    """A finished run, whose models are measured on its test set.

    Parameters
    ----------
    run : Run
        Up to the combined predictions.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.workspace = RunContext.open(run.folder)
        self.labels = np.array(read_array(run.path("prepare-data", "test.labels.npy")))
        self.examples = examples_of(run, "test")
        self.groups = groups_of(run, "test")
        self.costs: dict[str, Any] = read_json(run.path(LAST_STAGE, "costs.json"))

    @property
    def width(self) -> int:
        """Of the generalist."""
        return load_network(self.workspace.path(GENERALIST))[1].width

    def budget(self) -> Budget:
        """What the ensemble cost, which the controls may cost too."""
        return budget_of(self.workspace)

    def controls(self, budget: Budget, names: Sequence[str]) -> dict[str, list[ClassifierTask]]:
        """The trainings of some controls; a model without widths has no wide one."""
        config = self.workspace.config
        settings = config.evaluation.model_copy(update={"controls": tuple(names)})
        config = config.model_copy(update={"evaluation": settings})
        return baseline_tasks(dataclasses.replace(self.workspace, config=config), budget)

    def measured(
        self, log_probs: Tensor | NDArray, training: float, inference: float, about: str = ""
    ) -> Measured:
        """The scores of log-probabilities of the test rows, shape (n, C)."""
        rows = np.asarray(log_probs)
        own = rows[np.arange(len(rows)), self.labels].astype(np.float64)
        return Measured(
            (rows.argmax(1) == self.labels).astype(np.float64),
            np.minimum(-own, MAX_NLL),
            self.examples,
            training,
            inference,
            about,
            self.groups,
        )

    def stored(self, name: str, about: str = "") -> Measured:
        """A model whose test predictions the run holds."""
        log_probs = read_array(self.run.path(LAST_STAGE, f"test.{name}.npy"))
        costs = self.costs[name]
        return self.measured(log_probs, costs["training_flops"], costs["inference_flops"], about)

    def wide(self, tasks: Sequence[ClassifierTask]) -> Measured:
        """The wide generalist of the schedule that validation prefers."""
        members = [Member(self.workspace, task.folder) for task in tasks]
        best, _ = best_schedule(members)
        return self.averaged([tasks[best].folder], f"width {tasks[best].spec.width}")[0]

    def averaged(self, folders: Sequence[Path], about: str = "") -> list[Measured]:
        """The mean of the first, the first two ... of some trained classifiers.

        Validation chooses between means of probabilities and of log-probabilities; each has its
        temperature.
        """
        members = [Member(self.workspace, folder) for folder in folders]
        known, said = ([m.log_probs(split) for m in members] for split in ("validation", "test"))
        labels, settings = self.workspace.dataset.validation.labels, self.workspace.config
        inputs = cost_sample(self.workspace.dataset.test.inputs).to(self.workspace.device)
        training, inference, found = 0.0, 0.0, []
        for k, member in enumerate(members, start=1):
            judged = judge_averages(everywhere(k), known, labels, 0.0)
            mean = averaged(said, choose(judged, settings.combination).rule)
            training += member.cost.flops
            inference += inference_flops(member.network(), inputs)
            found.append(self.measured(mean.numpy(), training, inference, about))
        return found


@contextmanager
def finished(folder: Path, config: Config) -> Iterator[Run]:
    """The locked run of a configuration, made as far as its combined predictions do not hold."""
    run = Run(folder)
    with run.lock():
        write_config(run, config)
        run_stages(run, until=LAST_STAGE)
        yield run


def share_stage(source: Path, folder: Path, stage: str) -> None:
    """Hard links to a finished stage of another run, unless the run has one of its own."""
    own = folder / stage
    if any((own / name).is_file() for name in (MANIFEST, STARTED)):
        return
    with Run(folder).lock(), recording(own):
        for name in result_files(source / stage):
            claim(own / name)
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # of a process that was killed here
                os.link(source / stage / name, own / name)


def difference(a: Sequence[Measured], b: Sequence[Measured], metric: str) -> Difference:
    """Mean over seeds of a - b in "right" or "nll"."""
    gaps = [getattr(x, metric) - getattr(y, metric) for x, y in zip(a, b, strict=True)]
    shared = len({x.examples for x in a}) == 1
    return mean_over_seeds(gaps, shared, LIMITS[metric], [x.groups for x in a])


def mean_over_seeds(
    gaps: Sequence[NDArray[np.float64]],
    shared: bool,
    limits: Interval,
    groups: Sequence[NDArray[np.int64] | None],
) -> Difference:
    """Of each seed's differences.

    Parameters
    ----------
    gaps : sequence of float arrays of shape (n,)
    shared : bool
        Whether all are of the same examples.
    limits : pair of floats
        Between which a difference lies.
    groups : sequence of int arrays of shape (n,), or None
        Each seed's units of chance.
    """
    values = tuple(float(gap.mean()) for gap in gaps)
    drawn = drawn_over_seeds(values, means_over_seeds(gaps, shared, groups=groups)[:, 0])
    return Difference(float(np.mean(values)), values, percentile_interval(drawn, limits=limits))


def mean_and_spread(values: Sequence[float], scale: float = 1.0, digits: int = 2) -> str:
    """For instance "41.20 ± 0.31", the spread the standard deviation over seeds."""
    text = f"{scale * np.mean(values):.{digits}f}"
    if len(values) < 2:
        return text
    return f"{text} ± {scale * np.std(values, ddof=1):.{digits}f}"


def with_interval(found: Difference, scale: float, digits: int) -> str:
    """For instance "+0.41 [+0.07, +0.76]"."""
    low, high = (scale * end for end in found.interval)
    return f"{scale * found.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def units(n_seeds: int) -> str:
    """What the figures of a table over so many seeds are."""
    spread = "mean, spread (standard deviation over seeds), " if n_seeds > 1 else ""
    drawn = "seeds and groups of test examples" if n_seeds > 1 else "groups of test examples"
    return (
        "Top-1 in per cent, differences in points, NLL in nats; "
        f"{spread}95% bootstrap interval over {drawn}."
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row the header."""
    header, *cells = rows
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *cells]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def command_line(name: str) -> argparse.ArgumentParser:
    """What benchmarks of a configuration over several seeds are called with."""
    parser = argparse.ArgumentParser(prog=f"python -m pipelines.benchmarks.{name}")
    parser.add_argument("folder", type=Path)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--seeds", type=positive, default=3)
    return parser


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return int(text)
