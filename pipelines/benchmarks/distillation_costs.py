"""What does a step of each method cost, beside one with hard labels, and the whole comparison?

Trainings of two lengths are timed, and what the longer one takes more is divided by its further
steps: neither preparations nor validation count. All methods have turns in one process with one
thread, and the best round of each counts. Networks are as they are drawn, which costs the same.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from specialists.datasets.assembly import take
from specialists.distillation import SchemeData
from specialists.files import read_json, write_json
from specialists.networks import build
from specialists.predictions import predict_outputs
from specialists.runtime import one_torch_thread, processor_name

from ..reproduce.kept_training import KeptModel, conditions, hardware_of
from ..runs import ensure_result, stands
from .distillation_methods import HARD
from .distillation_plan import DistillationBench
from .distillation_students import Prepared, TaughtStudent, prepare
from .seconds import best_of

TEACHER, JUDGED = "the teacher's own step", "validation"
FIRST_STEPS, FEW_ROWS = 2, 64
TIMES = "steps.json"
Times = dict[str, float]  # seconds of the processor, by method and for the two above


@dataclass(frozen=True)
class StepTimes:
    """Measured seconds of a data set's steps, in a folder of its own."""

    bench: DistillationBench

    @property
    def folder(self) -> Path:
        return self.bench.work.models / "steps"

    def ensure(self) -> None:
        """Measure them, unless they stand."""
        ensure_result(self.folder, self.key(), self._write)

    def kept(self) -> Times | None:
        """Those that stand."""
        return self.read() if stands(self.folder, self.key()) else None

    def key(self) -> dict[str, object]:
        """All that they depend on."""
        bench = self.bench
        methods = {name: method.to_dict() for name, method in bench.methods.items()}
        config = {"plan": dataclasses.asdict(bench.plan), **conditions(bench.work.data)}
        return {"config": config, "methods": methods, "inputs": {}}

    def _write(self, folder: Path) -> None:
        plan, device = self.bench.plan, hardware_of(self.bench.work.data).torch_device
        times = step_seconds(self.bench, plan.timed_steps, plan.timed_rounds)
        write_json(folder / TIMES, {"processor": processor_name(device), "seconds": times})

    def read(self) -> Times:
        """From their file."""
        return read_json(self.folder / TIMES)["seconds"]


def step_seconds(bench: DistillationBench, n_steps: int, n_rounds: int) -> Times:
    """Seconds of a step of each method, of a teacher's own, and of a look at validation rows."""
    seed = bench.work.seeds[0]
    n_read = _rows_an_epoch(bench, bench.student(HARD, seed))
    n_steps = max(1, min(n_steps, n_read // bench.plan.batch_size - FIRST_STEPS))  # of one epoch
    with one_torch_thread(), ExitStack() as places:
        jobs: dict[str, Callable[[], object]] = {}
        for name in bench.methods:
            student = bench.student(name, seed)
            prepared = _prepared(bench, student, n_steps, places)
            jobs |= _of_two_lengths(name, prepared, student, n_steps)
        untaught = dataclasses.replace(bench.student(HARD, seed), lesson=bench.teachers(seed)[0])
        alone = _prepared(bench, untaught, n_steps, places)
        jobs |= _of_two_lengths(TEACHER, alone, untaught, n_steps)
        network = build(bench.student(HARD, seed).lesson.spec)
        jobs[JUDGED] = partial(predict_outputs, network, bench.work.data.dataset.validation.inputs)
        next(iter(jobs.values()))()  # the first training imports modules, which is not timed
        best = best_of(jobs, n_rounds)
    times = {
        name: max(0.0, best[f"{name}, longer"] - best[f"{name}, shorter"]) / n_steps
        for name in (*bench.methods, TEACHER)
    }
    return {**times, JUDGED: best[JUDGED]}


def _prepared(
    bench: DistillationBench, student: TaughtStudent, n_steps: int, places: ExitStack
) -> Prepared:
    """A method on as many rows as its steps need, few to validate on, and untrained teachers."""
    train, batch_size = student.training_rows(), student.lesson.recipe.batch_size or 1
    n_rows = (FIRST_STEPS + n_steps) * batch_size  # more than there are where an epoch repeats them
    data = student.scheme_data(take(train, np.arange(n_rows) % len(train)))
    few = take(data.validation, np.arange(min(FEW_ROWS, len(data.validation))))
    networks = [build(teacher.spec).eval() for teacher in student.lesson.teachers]
    store = Path(places.enter_context(tempfile.TemporaryDirectory()), "store")
    names = bench.work.data.dataset.class_names
    data = dataclasses.replace(data, validation=few)
    return prepare(student.method, networks, data, names, store)


def _of_two_lengths(
    name: str, prepared: Prepared, student: TaughtStudent, n_steps: int
) -> dict[str, Callable[[], object]]:
    batch_size = prepared.data.recipe.batch_size or 1

    def run(steps: int) -> None:
        data: SchemeData = dataclasses.replace(prepared.data, n_examples=steps * batch_size)
        prepared.train(student.building(build(student.lesson.spec)), data)

    lengths = {"shorter": FIRST_STEPS, "longer": FIRST_STEPS + n_steps}
    return {f"{name}, {length}": partial(run, steps) for length, steps in lengths.items()}


def planned_seconds(bench: DistillationBench, times: Times) -> Iterator[float]:
    """Seconds of the processor that each training will take that does not stand."""
    larger = times[TEACHER] / times[HARD] if times[HARD] else 1.0
    for teacher in bench.teacher_models():
        if not teacher.stands():
            yield _seconds(bench, teacher, times[TEACHER], larger * times[JUDGED])
    trials = [(name, student) for name in bench.methods for student in bench.tried(name)]
    stand = all(student.stands() for _, student in trials)
    students = (bench.tuned() if stand else bench).students().items()
    for name, student in (*trials, *((name, student) for (name, _), student in students)):
        if not student.stands():
            yield _seconds(bench, student, times[name], times[JUDGED])


def _seconds(bench: DistillationBench, model: KeptModel, step: float, judged: float) -> float:
    recipe = model.lesson.recipe
    n_steps = math.ceil(_rows_an_epoch(bench, model) / (recipe.batch_size or 1))
    return (recipe.epochs or 1) * (n_steps * step + judged)


def _rows_an_epoch(bench: DistillationBench, model: KeptModel) -> int:
    """How many rows an epoch reads, a row of a share several times."""
    lesson = model.lesson
    return round(lesson.share * lesson.passes * len(bench.work.data.dataset.train))
