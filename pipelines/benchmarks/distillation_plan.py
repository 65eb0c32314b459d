"""How large are student and teachers, how long are they trained, and which trainings is that?

The budget is the number of steps: every method takes as many of the same student, with batches of
the same rows in the same order from the same first weights. On features students see all training
rows; on images 3% of them, since soft targets pay most where labels are few. Teachers see all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from specialists.config import Config, Recipe
from specialists.errors import InputError
from specialists.networks import NetworkSpec

from ..reproduce.cpu_plan import PaperPlan
from ..reproduce.kept_training import KeptModel
from ..reproduce.lessons import Lesson
from ..reproduce.paper_data import PaperData, named_data
from ..reproduce.reproduction import Reproduction
from .distillation_methods import (
    HARD,
    N_TEACHERS,
    Method,
    distillation_methods,
    layers_of_kind,
)
from .distillation_students import TaughtStudent, folder_name

VALIDATION = {"features": 0.1, "images": 0.02}


@dataclass(frozen=True)
class DistillationPlan:
    """Sizes and lengths for a kind of input.

    Parameters
    ----------
    student_width, teacher_width : int
    student_epochs, teacher_epochs : int
    share : float
        Of the training rows of each class that students see.
    batch_size, teacher_batch : int
    rate, teacher_rate : float
        Peak learning rates.
    augment : str
        See :data:`pipelines.reproduce.lessons.CHANGES`.
    timed_steps, timed_rounds : int
        By which the cost of a step is measured.
    """

    student_width: int
    teacher_width: int
    student_epochs: int
    teacher_epochs: int
    share: float
    batch_size: int
    teacher_batch: int
    rate: float
    teacher_rate: float
    augment: str
    timed_steps: int = 40
    timed_rounds: int = 3


PLANS = {
    "features": DistillationPlan(128, 1024, 30, 30, 1.0, 512, 512, 4e-3, 2e-3, "features"),
    "images": DistillationPlan(16, 48, 80, 5, 0.03, 64, 128, 3e-3, 3e-3, "shifts"),
}
SMALL = {"student_width": 12, "teacher_width": 16, "student_epochs": 1, "teacher_epochs": 1}
FEW = {"share": 0.3, "batch_size": 32, "teacher_batch": 64, "timed_steps": 2, "timed_rounds": 1}
QUICK = {kind: replace(plan, **SMALL, **FEW) for kind, plan in PLANS.items()}


@dataclass(frozen=True)
class DistillationBench:
    """The trainings on one data set.

    Parameters
    ----------
    work : Reproduction
        Data, seeds, and the folder of models.
    plan : DistillationPlan
    methods : dict of Method
        Hard labels first.
    """

    work: Reproduction
    plan: DistillationPlan
    methods: dict[str, Method]

    @property
    def kind(self) -> str:
        return self.work.data.dataset.kind

    def teachers(self, seed: int) -> tuple[Lesson, ...]:
        """The teachers of a seed; the first is the one, where there is one."""
        recipe = _recipe(self.plan.teacher_epochs, self.plan.teacher_batch, self.plan.teacher_rate)
        return tuple(
            Lesson(
                f"seed-{seed}/teacher-{i}",
                self.spec(self.plan.teacher_width, is_teacher=True),
                recipe,
                seed,
                augment=self.plan.augment,
                keep_weights=True,
            )
            for i in range(N_TEACHERS)
        )

    def student(self, name: str, seed: int) -> TaughtStudent:
        """The student of a method."""
        plan, method = self.plan, self.methods[name]
        lesson = Lesson(
            f"seed-{seed}/{folder_name(name)}",
            self.spec(plan.student_width),
            _recipe(plan.student_epochs, plan.batch_size, plan.rate),
            seed,
            augment=plan.augment,
            share=plan.share,
            teachers=self.teachers(seed)[: method.n_teachers],
        )
        return TaughtStudent(self.work.models, self.work.data, lesson, method=method)

    def spec(self, width: int, is_teacher: bool = False) -> NetworkSpec:
        """The networks that ship; the student for features has a second layer, for the exits."""
        data = self.work.data
        options = data.dataset.n_classes, data.spec_shape(), width
        if self.kind == "images":
            return NetworkSpec("resnet", *options, depth=1, dropout=0.1 * is_teacher)
        if is_teacher:
            return NetworkSpec("mlp", *options, depth=1, dropout=0.5)
        return NetworkSpec("mlp", *options, depth=2, dropout=0.1)

    def teacher_models(self) -> list[KeptModel]:
        """Of all seeds, as far as a method asks them."""
        n_asked = max(method.n_teachers for method in self.methods.values())
        lessons = [each for seed in self.work.seeds for each in self.teachers(seed)[:n_asked]]
        return [KeptModel(self.work.models, self.work.data, lesson) for lesson in lessons]

    def students(self) -> dict[tuple[str, int], TaughtStudent]:
        """By method and seed, seed after seed."""
        pairs = itertools.product(self.work.seeds, self.methods)
        return {(name, seed): self.student(name, seed) for seed, name in pairs}

    def make(self) -> None:
        """Train what does not stand, and count the time of all."""
        for models in (self.teacher_models(), [*self.students().values()]):
            missing = [model for model in models if not model.stands()]
            self.work.make(missing, [model.folder for model in models])


def benches(
    folder: Path,
    files: Sequence[Path],
    n_seeds: int,
    jobs: int,
    names: Sequence[str] = (),
    quick: bool = False,
) -> list[DistillationBench]:
    """The trainings on each data set; a plan for its kind of input.

    Raises
    ------
    InputError
        If a file is not there, holds text, or there is no such method.
    """
    known = distillation_methods(layers_of_kind("images"))
    if unknown := [name for name in names if name not in known]:
        raise InputError("no such method", got=unknown[0], expected=", ".join(known))
    works = []
    for file in files:
        data = _read(file)
        kind = data.dataset.kind
        methods = distillation_methods(layers_of_kind(kind, data.spec_shape()[-1]))
        chosen = {name: m for name, m in methods.items() if not names or name in {HARD, *names}}
        work = Reproduction(folder, data, PaperPlan(), tuple(range(n_seeds)), jobs)
        works.append(DistillationBench(work, (QUICK if quick else PLANS)[kind], chosen))
    return works


def _read(file: Path) -> PaperData:
    """Features or images with labels; no rows are kept for an admission test."""
    sources = [f"data.arrays={file}", "data.admission_fraction=0"]
    kind = named_data(Config.from_toml(None, sources)).dataset.kind
    return named_data(
        Config.from_toml(None, [*sources, f"data.validation_fraction={VALIDATION[kind]}"])
    )


def _recipe(epochs: int, batch_size: int, rate: float) -> Recipe:
    """AdamW with a cosine; validation top-1 chooses the epoch, and none ends early."""
    return Recipe(epochs=epochs, batch_size=batch_size, learning_rate=rate, select_by="top1")
