"""How large are student and teachers, how long are they trained, and which trainings is that?

The budget is the number of steps: every method takes as many of the same student, with batches of
the same rows in the same order from the same first weights. On features students see all training
rows; on images 1% of them, since soft targets pay most where labels are few: on digits such a
student had 95.6% by labels and 98.0% by soft targets (one seed, two epochs of the teacher).
Teachers see all. Test rows are many, for narrow intervals.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from .distillation_trials import (
    USUAL,
    TrialSettings,
    TriedStudent,
    best_settings,
    trials_of,
)

HELD_OUT = {  # fractions of features, of all rows; digits have test rows of their own
    "features": ("data.validation_fraction=0.1", "data.test_fraction=0.3"),
    "images": ("data.validation_fraction=0.04",),
}


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
    tried_share : float
        Of the epochs that a trial of a method takes.
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
    tried_share: float = 0.25
    timed_steps: int = 40
    timed_rounds: int = 3


PLANS = {
    "features": DistillationPlan(128, 1024, 30, 30, 1.0, 512, 512, 4e-3, 2e-3, "features"),
    "images": DistillationPlan(16, 48, 160, 5, 0.01, 64, 128, 3e-3, 3e-3, "shifts"),
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
        As they are usual; hard labels first.
    settings : mapping of TrialSettings
        That trials chose, by method; {}: the usual ones.
    """

    work: Reproduction
    plan: DistillationPlan
    methods: dict[str, Method]
    settings: Mapping[str, TrialSettings] = field(default_factory=dict)

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
        """The student of a method, with its chosen settings."""
        settings = self.settings.get(name, USUAL)
        lesson = self._lesson(name, f"seed-{seed}/{folder_name(name)}", seed, settings.rate)
        method = settings.of(self.methods[name])
        return TaughtStudent(self.work.models, self.work.data, lesson, method=method)

    def tried(self, name: str) -> list[TriedStudent]:
        """The trials of a method, shorter trainings with the first seed."""
        seed, tried = self.work.seeds[0], []
        for i, settings in enumerate(trials_of(self.methods[name])):
            folder = f"trials/{folder_name(name)}-{i}"
            lesson = self._lesson(name, folder, seed, settings.rate, self.plan.tried_share)
            method = settings.of(self.methods[name])
            tried.append(TriedStudent(self.work.models, self.work.data, lesson, method=method))
        return tried

    def _lesson(
        self, name: str, folder: str, seed: int, rate: float, of_epochs: float = 1.0
    ) -> Lesson:
        plan, n_teachers = self.plan, self.methods[name].n_teachers
        epochs = math.ceil(of_epochs * plan.student_epochs)
        return Lesson(
            folder,
            self.spec(plan.student_width),
            _recipe(epochs, plan.batch_size, rate * plan.rate),
            seed,
            augment=plan.augment,
            share=plan.share,
            teachers=self.teachers(seed)[:n_teachers],
        )

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

    def trials(self) -> list[TriedStudent]:
        """Of all methods."""
        return [each for name in self.methods for each in self.tried(name)]

    def tuned(self) -> DistillationBench:
        """The same with the settings that its trials, which stand, choose."""
        methods = self.methods.items()
        chosen = {name: best_settings(method, self.tried(name)) for name, method in methods}
        return replace(self, settings=chosen)

    def make(self) -> DistillationBench:
        """Train what does not stand, and count the time of all; returns it with its settings."""
        self._train("teachers", self.teacher_models())
        self._train("trials", self.trials())
        tuned = self.tuned()
        tuned._train("students", [*tuned.students().values()])
        return tuned

    def _train(self, which: str, models: Sequence[KeptModel]) -> None:
        missing = [model for model in models if not model.stands()]
        described = f"{self.work.data.dataset.name}, {which}"
        self.work.make(missing, [model.folder for model in models], described)


def benches(
    folder: Path,
    files: Sequence[Path],
    n_seeds: Sequence[int],
    jobs: int,
    names: Sequence[str] = (),
    quick: bool = False,
) -> list[DistillationBench]:
    """The trainings on each data set; a plan for its kind of input.

    ``n_seeds`` holds one number for all files, or one for each.

    Raises
    ------
    InputError
        If a file is not there or holds text, there is no such method, or the numbers of seeds are
        neither one nor as many as the files.
    """
    known = distillation_methods(layers_of_kind("images"))
    if unknown := [name for name in names if name not in known]:
        raise InputError("no such method", got=unknown[0], expected=", ".join(known))
    if len(n_seeds) not in (1, len(files)):
        raise InputError(
            "seeds are counted for all files, or for each",
            got=f"{len(n_seeds)} numbers of seeds, {len(files)} files",
            expected=f"one number, or {len(files)}",
        )
    works = []
    for file, seeds in zip(files, itertools.cycle(n_seeds)):
        data = _read(file)
        kind = data.dataset.kind
        methods = distillation_methods(layers_of_kind(kind, data.spec_shape()[-1]))
        chosen = {name: m for name, m in methods.items() if not names or name in {HARD, *names}}
        work = Reproduction(folder, data, PaperPlan(), tuple(range(seeds)), jobs)
        works.append(DistillationBench(work, (QUICK if quick else PLANS)[kind], chosen))
    return works


def _read(file: Path) -> PaperData:
    """Features or images with labels; no rows are kept for an admission test."""
    sources = [f"data.arrays={file}", "data.admission_fraction=0"]
    kind = named_data(Config.from_toml(None, sources)).dataset.kind
    return named_data(Config.from_toml(None, [*sources, *HELD_OUT[kind]]))


def _recipe(epochs: int, batch_size: int, rate: float) -> Recipe:
    """AdamW with a cosine; validation top-1 chooses the epoch, and none ends early."""
    return Recipe(epochs=epochs, batch_size=batch_size, learning_rate=rate, select_by="top1")
