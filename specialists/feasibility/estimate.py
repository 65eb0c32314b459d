"""What will a run take: how many seconds, how much memory, how much of the disk?

Trainings are most of the time, and are counted: their examples times the measured seconds of a
training step. What else takes time is guessed from a few constants. So the whole is right to about
a factor of two. It is a range, since trainings end once they no longer improve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from specialists.baselines import SCHEDULES
from specialists.catalogue import AVERAGED, CONTINUED, WIDE
from specialists.clustering.co_predictions import MAX_WHOLE_MATRIX
from specialists.config import Config
from specialists.datasets.base import Dataset
from specialists.distillation import bytes_of_sparse, store_temperatures
from specialists.feasibility.plan import training_bytes
from specialists.feasibility.rates import StepRate, rows_read
from specialists.feasibility.trainings import (
    CLUSTERED,
    GENERALIST,
    RIVALS,
    SHARED,
    STUDENTS,
    PlannedTrainings,
)
from specialists.networks import outline

DATA, CLUSTERS, COMBINATION, EVALUATION = "data", "clusters", "combination", "evaluation"
BACKWARD = 3  # a training step takes so many times as long as a prediction
PROCESS_BYTES = 350e6  # PyTorch and all that is imported with it
PROCESS_SECONDS = 4.0  # until a worker has imported it
TOGETHER = 1.2  # how much slower trainings are side by side
STAGE_SECONDS = 2.0
EVALUATION_SECONDS = 8.0  # most of them to time predictions
CELL_SECONDS = 2e-7  # for each predicted probability that a rule is chosen or judged by
REPORT_BYTES = 1e6
SINGLE, HALF = 4, 2  # bytes of a number
KEPT = {"clusters": 4, "shared": 2, "both": 4}  # predictions of so many models are stored


Rated = Sequence[tuple[PlannedTrainings, StepRate]]
Groups = Mapping[str, Rated]


@dataclass(frozen=True)
class Part:
    """What one kind of work takes.

    Parameters
    ----------
    kind : str
        Of trainings, or DATA, CLUSTERS, COMBINATION, EVALUATION.
    n : int
        Trainings.
    least, most : float
        Seconds.
    memory, disk : float
        Bytes.
    """

    kind: str
    n: int
    least: float
    most: float
    memory: float
    disk: float


@dataclass(frozen=True)
class RunEstimate:
    """What several parts take: seconds from ``least`` to ``most``, and bytes."""

    least: float
    most: float
    memory: float
    disk: float

    @classmethod
    def of(cls, parts: Iterable[Part]) -> RunEstimate:
        """One part after the other."""
        parts = list(parts)
        return cls(
            sum(part.least for part in parts),
            sum(part.most for part in parts),
            max((part.memory for part in parts), default=0.0),
            sum(part.disk for part in parts),
        )


@dataclass(frozen=True)
class Planner:
    """Turns planned trainings and their measured rates into parts.

    Parameters
    ----------
    config : Config
        Resolved.
    dataset : Dataset
    jobs : int
        Trainings at a time.
    """

    config: Config
    dataset: Dataset
    jobs: int

    def parts(self, rated: Rated, rival: StepRate, standing: Mapping[str, int]) -> list[Part]:
        """Every part of a run.

        ``rival`` is the generalist's rate beside others of its kind; ``standing`` counts trainings
        of a kind that are done already.
        """
        kinds = dict.fromkeys(plan.kind for plan, _ in rated)
        groups = {kind: [pair for pair in rated if pair[0].kind == kind] for kind in kinds}
        trained = [self._trainings(pairs, standing.get(kind, 0)) for kind, pairs in groups.items()]
        rivals = self._rivals(groups, rival, standing.get(RIVALS, 0))
        return [self._data(), *trained, rivals, *self._predictions(groups)]

    def _trainings(self, pairs: Rated, done: int) -> Part:
        """All trainings of one kind."""
        n = sum(plan.n for plan, _ in pairs)
        left = max(n - done, 0)
        most, least = (self._together(pairs, left, fewest) for fewest in (False, True))
        at_a_time = max(1, min(self.jobs, left))
        largest = max(
            training_bytes(outline(plan.spec), plan.spec, plan.recipe, plan.n_epoch)
            for plan, _ in pairs
        )
        one = PROCESS_BYTES + self._data_bytes + largest
        memory = one if at_a_time == 1 else PROCESS_BYTES + at_a_time * one
        disk = left / max(n, 1) * sum(plan.n * self._stored(plan, rate) for plan, rate in pairs)
        return Part(pairs[0][0].kind, left, least, most, memory, disk)

    def _together(self, pairs: Rated, left: int, fewest: bool) -> float:
        n = sum(plan.n for plan, _ in pairs)
        if not left:
            return 0.0
        each = sum(plan.n * self._seconds(plan, rate, fewest) for plan, rate in pairs) / n
        return self._side_by_side(left, each)

    def _side_by_side(self, n: int, each: float) -> float:
        at_a_time = min(self.jobs, n)
        if at_a_time <= 1:
            return n * each
        return PROCESS_SECONDS + math.ceil(n / at_a_time) * each * TOGETHER

    def _seconds(self, plan: PlannedTrainings, rate: StepRate, fewest: bool) -> float:
        """Of one training, with the validation after each epoch."""
        n = plan.fewest if fewest else plan.examples
        judged = n / plan.n_epoch * len(self.dataset.validation) / BACKWARD
        return rate.seconds * (n + judged)

    def _rivals(self, groups: Groups, rate: StepRate, done: int) -> Part:
        """Baselines, matched to the ensemble by floating-point operations."""
        plan = groups[GENERALIST][0][0]
        ensemble = [kind for kind in groups if kind not in (GENERALIST, STUDENTS)]
        own = plan.examples * rate.flops
        further = len(self.dataset.train) * rate.flops / BACKWARD
        further += sum(p.n * p.examples * r.flops for k in ensemble for p, r in groups[k])
        flops: list[float] = []
        for name in self.config.evaluation.trained_baselines:
            flops += {
                CONTINUED: [further],
                WIDE: [part * (own + further) for part in SCHEDULES],
                AVERAGED: [own] * (math.ceil((own + further) / own) - 1),
            }[name]
        left = max(len(flops) - done, 0)
        each = sum(flops) / max(len(flops), 1) * rate.seconds / rate.flops
        most = self._side_by_side(left, each) if left else 0.0
        ended = plan.fewest / plan.examples if self._all_averaged else 1.0
        predicted = SINGLE * self._rows("validation", "test") * self.dataset.n_classes
        stored = min(self._stored(plan, rate), predicted)
        if self.config.evaluation.keep_rivals:
            stored += self._stored(plan, rate)
        memory = self._trainings([(replace(plan, n=left), rate)], 0).memory
        return Part(RIVALS, left, ended * most, most, memory, left * stored)

    @property
    def _all_averaged(self) -> bool:
        """Averaged generalists may end early; other baselines go on to the end."""
        return set(self.config.evaluation.trained_baselines) <= {AVERAGED}

    def _data(self) -> Part:
        return Part(DATA, 0, 0.0, 0.0, PROCESS_BYTES + self._data_bytes, self._data_bytes)

    def _predictions(self, groups: Groups) -> list[Part]:
        """What is predicted, chosen and measured beside the trainings."""
        n_classes, n_train = self.dataset.n_classes, len(self.dataset.train)
        rate = groups[GENERALIST][0][1]
        predict = n_train * rate.seconds / BACKWARD
        asked = 1 + sum(plan.n for plan, _ in groups.get(SHARED, ())) + bool(groups.get(CLUSTERED))
        cells = n_classes * self._rows("validation", "admission", "test")
        judged = CELL_SECONDS * cells
        stored = SINGLE * n_classes * self._rows("validation", "test")
        targets = self._targets_per_row * n_train
        trunk = HALF * n_classes * n_train
        memory = PROCESS_BYTES + self._data_bytes + 3 * SINGLE * cells
        matrix = SINGLE * n_classes**2 * (n_classes <= MAX_WHOLE_MATRIX)
        kept = KEPT[self.config.specialists.kind]
        taught = predict + STAGE_SECONDS if CLUSTERED in groups else 0.0
        on_disk = trunk * (CLUSTERED in groups)
        if SHARED in groups:
            on_disk += SINGLE * n_train * self.config.specialists.shortlist
        work = (
            (GENERALIST, STAGE_SECONDS, SINGLE * n_classes * self._rows("validation")),
            (CLUSTERS, STAGE_SECONDS + judged / 2, matrix),
            (CLUSTERED if CLUSTERED in groups else SHARED, taught, on_disk),
            (COMBINATION, STAGE_SECONDS + judged, kept * stored),
            (STUDENTS, STAGE_SECONDS + asked * predict, targets),
            (EVALUATION, EVALUATION_SECONDS + judged, REPORT_BYTES),
        )
        return [Part(kind, 0, seconds, seconds, memory, disk) for kind, seconds, disk in work]

    @property
    def _targets_per_row(self) -> int:
        """Bytes of a row's stored soft targets."""
        student = self.config.student
        n_views = max(1, student.views)
        if student.targets == "dense":
            return HALF * self.dataset.n_classes * n_views
        n_temperatures = len(store_temperatures(student, self.config.seed))
        n_classes = self.dataset.n_classes
        each = bytes_of_sparse(student.targets, min(student.n_stored, n_classes), n_classes)
        return each * n_temperatures * n_views

    def _rows(self, *names: str) -> int:
        return sum(len(split) for name, split in self.dataset.splits.items() if name in names)

    def _stored(self, plan: PlannedTrainings, rate: StepRate) -> float:
        """Bytes of a trained network on the disk: only rows of its table that were read."""
        n_buckets = plan.spec.n_buckets
        share = rows_read(self.dataset.train.inputs, n_buckets) / n_buckets if rate.table else 0.0
        return SINGLE * rate.dense + HALF * share * rate.table

    @property
    def _data_bytes(self) -> int:
        return sum(split.inputs.nbytes for split in self.dataset.splits.values())
