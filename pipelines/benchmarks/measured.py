"""What did a model do on the rows of a split over several seeds, and what did it cost?

FLOPs of training are those that the run counted (:mod:`specialists.training.training_cost`):
forward, backward, and the optimisers' updates, repetitions included. Inference is counted on inputs
of the split. Differences are paired, and their intervals draw seeds and groups of examples anew, as
those of ``specialists compare`` do (:mod:`specialists.uncertainty`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specialists.baselines import Budget, averaged, everywhere, judge_averages
from specialists.ensemble import choose
from specialists.files import read_array
from specialists.networks import inference_flops, n_parameters, read_spec
from specialists.predictions import ModelOutputs
from specialists.probability import MAX_NLL
from specialists.training import TrainingCost, logged_seconds
from specialists.uncertainty import (
    ANY_REAL,
    DIFFERENCE_OF_SHARES,
    SHARE,
    Interval,
    drawn_over_seeds,
    means_over_seeds,
    percentile_interval,
    seed_and_group_test,
)

from ..baselines import baseline_tasks, best_schedule, trainings_of
from ..classifiers import ClassifierTask, Member
from ..combine_predictions import ensemble_outputs
from ..context import RunContext
from ..finished_run import examples_of, groups_of
from ..rivals import RivalTask
from ..runs import Run
from .markdown_tables import mean_and_spread, with_interval

Metric = Literal["right", "nll"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class Measured:
    """One seed's model on the n rows of a split."""

    right: NDArray[np.float64]  # (n,), whether the label is the most probable class
    nll: NDArray[np.float64]  # (n,), -log p(label) in nats
    examples: str  # the same for two seeds if and only if their rows are
    training: TrainingCost  # of all trainings that made it
    inference_flops: float  # the mean of one prediction
    parameters: int = 0
    about: str = ""  # a word on what it is: its width, its weight, its rule
    groups: NDArray[np.int64] | None = None  # (n,), equal for examples that are one observation
    training_seconds: float = 0.0  # of the wall, of all trainings that made it
    milliseconds: float | None = None  # of a prediction of 1,000 rows

    @property
    def training_flops(self) -> float:
        return self.training.flops


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    ``drawn`` is the mean where seeds and groups of examples are drawn anew, of shape
    (n_resamples,). That of two estimates of the same seeds is paired.
    """

    values: tuple[float, ...]  # of each seed
    drawn: NDArray[np.float64]
    limits: Interval  # between which the mean lies

    @property
    def value(self) -> float:
        return float(np.mean(self.values))

    @property
    def interval(self) -> Interval:
        """At 95%."""
        return percentile_interval(self.drawn, limits=self.limits)

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"value": self.value, "values": self.values, "interval": self.interval}


@dataclass(frozen=True)
class SeedResults:
    """What the models of one point did with each seed, ``seeds`` by the models' names."""

    seeds: Sequence[Mapping[str, Measured]]

    def __getitem__(self, name: str) -> list[Measured]:
        """One model with each seed."""
        return [models[name] for models in self.seeds]

    @property
    def names(self) -> list[str]:
        return list(self.seeds[0])

    def estimate(self, metric: Metric, a: str, b: str | None = None) -> Estimate:
        """Of model a, or of a - b."""
        values = [float(getattr(model, metric).mean()) for model in self[a]]
        means = self._means[metric, a]
        limits = {"right": SHARE, "nll": ANY_REAL}[metric]
        if b is not None:
            values = [
                value - float(getattr(model, metric).mean())
                for value, model in zip(values, self[b], strict=True)
            ]
            means = means - self._means[metric, b]
            limits = {"right": DIFFERENCE_OF_SHARES, "nll": ANY_REAL}[metric]
        return Estimate(tuple(values), drawn_over_seeds(values, means), limits)

    @cached_property
    def _means(self) -> dict[tuple[Metric, str], NDArray[np.float64]]:
        """Means over seeds in each resample of the examples, the same resamples of all models.

        A mean of differences is the difference of the means, so that one draw serves every pair.
        """
        columns: list[tuple[Metric, str]] = [(m, name) for m in METRICS for name in self.names]
        tables = [
            np.stack([getattr(models[name], metric) for metric, name in columns], axis=1)
            for models in self.seeds
        ]
        means = means_over_seeds(tables, self._shared, groups=self._groups)
        return dict(zip(columns, means.T, strict=True))

    def p_value(self, metric: Metric, a: str, b: str) -> float:
        """Uncorrected, that models a and b are equally good, over seeds and groups of examples."""
        pairs = zip(self[a], self[b], strict=True)
        gaps = [getattr(one, metric) - getattr(other, metric) for one, other in pairs]
        return seed_and_group_test(gaps, self._shared, self._groups)

    @property
    def _shared(self) -> bool:
        """Whether all seeds have the same examples."""
        return len({model.examples for model in self[self.names[0]]}) == 1

    @property
    def _groups(self) -> list[NDArray[np.int64] | None]:
        return [model.groups for model in self[self.names[0]]]

    def mean(self, cost: str, name: str) -> float:
        """Over seeds of a cost: "training_flops", "training_seconds", "inference_flops" ..."""
        return math.fsum(getattr(model, cost) for model in self[name]) / len(self.seeds)

    def relative_inference(self, name: str, base: str = "generalist") -> str:
        """For instance "1.25x": the mean over seeds."""
        pairs = zip(self[name], self[base], strict=True)
        return f"{np.mean([a.inference_flops / b.inference_flops for a, b in pairs]):.2f}x"

    def about(self, name: str, separator: str = ", ") -> str:
        """Each word once."""
        words = separator.join(model.about for model in self[name]).split(separator)
        return separator.join(dict.fromkeys(words))

    def top1(self, name: str) -> str:
        """In per cent, with its spread over seeds."""
        return mean_and_spread([model.right.mean() for model in self[name]], 100)

    def points(self, a: str, b: str) -> str:
        """The difference a - b in top-1, with its interval."""
        estimate = self.estimate("right", a, b)
        return with_interval(estimate.value, estimate.interval)

    def nats(self, a: str, b: str) -> str:
        """The difference a - b in NLL, with its interval."""
        estimate = self.estimate("nll", a, b)
        return with_interval(estimate.value, estimate.interval, 1, 4)

    def gains(self, a: str, b: str) -> dict[str, dict[str, object]]:
        """The differences a - b in both metrics, for JSON."""
        return {metric: self.estimate(metric, a, b).to_dict() for metric in METRICS}

    def to_dict(self) -> dict[str, dict[str, object]]:
        """Every seed's figures of every model, for JSON."""
        return {
            name: {
                "about": [model.about for model in self[name]],
                "top1": [float(model.right.mean()) for model in self[name]],
                "nll": [float(model.nll.mean()) for model in self[name]],
                "training_flops": [model.training_flops for model in self[name]],
                "training_seconds": [model.training_seconds for model in self[name]],
                "milliseconds": [model.milliseconds for model in self[name]],
                "inference_flops": [model.inference_flops for model in self[name]],
            }
            for name in self.names
        }


class MeasuredRun:
    """A run up to its combined predictions, whose models are measured on a split.

    ``rows`` says which rows of the split the predictions are for, in which order; None: all.
    """

    def __init__(self, run: Run, split: str = "test", rows: Tensor | None = None) -> None:
        self.run, self.split = run, split
        self.context = RunContext.open(run.folder)
        self.examples, groups = examples_of(run, split), groups_of(run, split)
        labels = read_array(run.path("prepare-data", f"{split}.labels.npy"))
        order = slice(None) if rows is None else rows.numpy()
        self.labels = np.array(labels[order])
        self.groups = None if groups is None else groups[order]

    @property
    def width(self) -> int:
        """Of the generalist."""
        return read_spec(self.context.path("train-generalist")).width

    def baselines(self, budget: Budget, names: Sequence[str]) -> dict[str, list[RivalTask]]:
        """The trainings of some baselines; a model without widths has no wide one."""
        config = self.context.config
        settings = config.evaluation.model_copy(update={"baselines": tuple(names)})
        config = config.model_copy(update={"evaluation": settings})
        return baseline_tasks(dataclasses.replace(self.context, config=config), budget)

    def measured(
        self, outputs: ModelOutputs, about: str = "", rows: NDArray[np.int64] | None = None
    ) -> Measured:
        """The scores of a model's predictions, of all rows or of some."""
        asked = slice(None) if rows is None else rows
        labels = torch.from_numpy(self.labels[asked])
        return Measured(
            (outputs.predictions.predicted() == labels).double().numpy(),
            (-outputs.predictions.of_labels(labels).double()).clamp_max(MAX_NLL).numpy(),
            self.examples,
            TrainingCost(outputs.training_examples, outputs.training_flops),
            outputs.inference_flops,
            outputs.parameters,
            about,
            None if self.groups is None else self.groups[asked],
            sum(logged_seconds(self.run.folder / folder) for folder in outputs.trainings),
        )

    def stored(self, name: str, about: str = "") -> Measured:
        """A model whose predictions the run holds."""
        return self.measured(ensemble_outputs(self.run, self.split)[name], about)

    def wide(self, tasks: Sequence[ClassifierTask]) -> Measured:
        """The wide generalist of the schedule that validation prefers."""
        best, _ = best_schedule([Member(self.context, task.folder) for task in tasks])
        return self.averaged([tasks[best].folder], f"width {tasks[best].spec.width}")[0]

    def averaged(self, folders: Sequence[Path], about: str = "") -> list[Measured]:
        """The mean of the first, the first two ... of some trained classifiers.

        Validation chooses between means of probabilities and of log-probabilities; each has its
        temperature.
        """
        members = [Member(self.context, folder) for folder in folders]
        validation, predictions = (
            [member.predictions(split) for member in members]
            for split in ("validation", self.split)
        )
        labels, settings = self.context.dataset.validation.labels, self.context.config.combination
        cost, inference, parameters, means = TrainingCost(), 0.0, 0, []
        trainings = trainings_of(members)
        for k, member in enumerate(members, start=1):
            candidates = judge_averages(everywhere(k), validation, labels, 0.0)
            mean = averaged(predictions, choose(candidates, settings).rule)
            cost += member.cost
            inference += inference_flops(member.network(), member.sample(self.split))
            parameters += n_parameters(member.network())
            outputs = ModelOutputs(
                "mean",
                mean,
                parameters,
                inference,
                cost.examples,
                cost.flops,
                trainings=trainings[:k],
            )
            means.append(self.measured(outputs, about))
        return means
