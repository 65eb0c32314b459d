"""Which students does the benchmark train: of what size, taught by what, from how many labels?

A row of the table is one such student; of as many tuning trials as every other row has, the one
that validation likes best stands for it. Soft targets are tuned by their temperature T and weight
alpha, hard labels by learning rates, smoothed labels by both rate and smoothing. Where labels are
few, rates are given by the row; hard labels are tuned close to it, and by smoothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.distillation import HARD_RATES, changed_recipe
from specialists.errors import InputError

from ..context import RunContext
from ..soft_targets import OnlineName, write_soft_targets
from ..student_networks import spec_of_size
from ..student_task import StudentTask
from ..terminal import log
from ..trunk_files import generalist_targets

FOLDER = "students"
HARD, SMOOTHED = "hard", "smoothed"
TEACHERS = {
    HARD: "hard labels",
    SMOOTHED: "hard labels, smoothed",
    GENERALIST: "the generalist",
    ENSEMBLE: "the ensemble",
}
SMOOTHINGS = (0.1, 0.2)
NEAR_RATES = (1.0, 0.7, 1.4, 0.5, 2.0)
SMALLEST = 0.001
LABELLED = 0.1  # share of the training rows whose labels are known, where they are few
LONG_PASSES = 3.0  # times as long
PARTS = ("all-labels", "live", "longer", "few-labels")


@dataclass(frozen=True)
class StudentRow:
    """One student of the table."""

    size: float  # its parameters over the generalist's
    teacher: str  # a key of TEACHERS
    labelled: float = 1.0  # share of the training rows whose labels are known
    rate: float = 1.0  # times the recipe's learning rates
    passes: float = 1.0  # times the recipe's epochs
    transfer: bool = False  # whether it learns from the rows without labels as well
    online: bool = False  # whether the teacher sees every batch, augmented as the student's

    @property
    def without_teacher(self) -> StudentRow:
        """The student that learns from the same labels, as long."""
        passes = 1 / self.labelled if self.transfer else self.passes
        return replace(self, teacher=HARD, passes=passes, transfer=False, online=False)

    @property
    def slug(self) -> str:
        """A folder's name."""
        numbers = f"{self.size:g}-{self.teacher}-{self.labelled:g}-{self.rate:g}-{self.passes:g}"
        return numbers + "-transfer" * self.transfer + "-live" * self.online

    @property
    def online_teacher(self) -> OnlineName | None:
        if not self.online:
            return None
        return "generalist" if self.teacher == GENERALIST else "ensemble"

    def in_words(self) -> str:
        """For instance "the ensemble, 10% of the labels, 5x rate"."""
        words = {
            TEACHERS[self.teacher] + " about every batch" * self.online: True,
            f"{self.labelled:.0%} of the labels": self.labelled < 1,
            "the other inputs without labels": self.transfer,
            f"{self.rate:g}x rate": self.rate != 1,
            f"{self.passes:g}x epochs": self.passes != 1,
        }
        return ", ".join(word for word, is_said in words.items() if is_said)


@dataclass(frozen=True)
class StudentPlan:
    """What the table holds: every row has a trial for each pair of a temperature and an alpha."""

    sizes: Sequence[float] = (1.0, 1 / 4, 1 / 16)
    temperatures: Sequence[float] = (1.0, 2.0, 4.0)
    alphas: Sequence[float] = (0.7, 1.0)
    rates: Sequence[float] = (1.0, 5.0)  # times the recipe's, where labels are few
    long_sizes: Sequence[float] = (1.0, 1 / 4)  # of the students that are trained longer too
    parts: Sequence[str] = PARTS

    def __post_init__(self) -> None:
        size = f"a size is a share of the generalist's parameters, at least {SMALLEST:g}"
        temperature = "a temperature is a finite number above 0"
        alpha = "a weight of soft targets is a share, from 0 to 1"
        for option, what, fits in (
            ("sizes", size, lambda x: SMALLEST <= x < math.inf),
            ("temperatures", temperature, lambda t: 0 < t < math.inf),
            ("alphas", alpha, lambda x: 0 <= x <= 1),
        ):
            for value in getattr(self, option):
                if not fits(value):
                    raise InputError(what, where=f"--{option}", got=value)

    def rows(self) -> list[StudentRow]:
        """Every student, the largest first."""
        return [row for size in self.sizes for row in self._of_size(size)]

    def _of_size(self, size: float) -> list[StudentRow]:
        rows = []
        if "all-labels" in self.parts:
            rows += [StudentRow(size, teacher) for teacher in TEACHERS]
        teachers = (GENERALIST, ENSEMBLE) if "live" in self.parts else ()
        online = [StudentRow(size, teacher, online=True) for teacher in teachers]
        rows += online
        if "longer" in self.parts and size in self.long_sizes:
            longer = [StudentRow(size, HARD), StudentRow(size, ENSEMBLE), *online]
            rows += [replace(row, passes=LONG_PASSES) for row in longer]
        if "few-labels" in self.parts:
            few, both = StudentRow(size, HARD, LABELLED), (HARD, ENSEMBLE)
            rows += [replace(few, teacher=t, rate=rate) for rate in self.rates for t in both]
            rows += [replace(few, teacher=t, passes=1 / LABELLED) for t in both]
            rows.append(replace(few, teacher=ENSEMBLE, transfer=True))
        return rows


def student_trials(context: RunContext, plan: StudentPlan) -> dict[StudentRow, list[StudentTask]]:
    """The tuning trials of every row, equally many; writes the ensemble's soft targets."""
    targets = {GENERALIST: generalist_targets(context), ENSEMBLE: write_soft_targets(context)}
    if "live" in plan.parts and context.augment is None:
        log.info("students: an online teacher would say what is stored, as data.augment is off")
        plan = replace(plan, parts=[part for part in plan.parts if part != "live"])
    specs = {size: spec_of_size(context, size) for size in plan.sizes}

    def task(row: StudentRow, trial: _Trial) -> StudentTask:
        recipe, changes = context.config.student, {"rate": trial.rate, "passes": row.passes}
        return StudentTask(
            context.folder,
            context.path(FOLDER, row.slug, trial.slug),
            row.teacher,
            specs[row.size],
            changed_recipe(recipe, smoothing=trial.smoothing, **changes),
            trial.temperature,
            trial.alpha,
            targets.get(row.teacher),
            labelled_share=row.labelled,
            transfer=row.transfer,
            online=row.online_teacher,
        )

    return {row: [task(row, trial) for trial in _tuning(row, plan)] for row in plan.rows()}


@dataclass(frozen=True)
class _Trial:
    rate: float
    smoothing: float | None = None
    temperature: float | None = None
    alpha: float | None = None

    @property
    def slug(self) -> str:
        """A folder's name."""
        settings = ("T", self.temperature), ("alpha", self.alpha), ("smoothing", self.smoothing)
        words = [f"{name}-{value:g}" for name, value in settings if value is not None]
        return "-".join([*words, f"rate-{self.rate:g}"])


def _tuning(row: StudentRow, plan: StudentPlan) -> list[_Trial]:
    grid = list(itertools.product(plan.temperatures, plan.alphas))
    if row.teacher in (GENERALIST, ENSEMBLE):
        return [_Trial(row.rate, None, temperature, alpha) for temperature, alpha in grid]
    rates, smoothings = HARD_RATES, SMOOTHINGS if row.teacher == SMOOTHED else (0.0,)
    if row.teacher == HARD and row.labelled < 1:
        rates, smoothings = NEAR_RATES, (0.0, SMOOTHINGS[0])
    pairs = itertools.product(rates, smoothings)
    trials = [_Trial(row.rate * rate, smoothing) for rate, smoothing in pairs][: len(grid)]
    if len(trials) < len(grid):
        raise InputError(
            "hard labels cannot be tuned by as many trials as soft targets",
            got=f"{len(grid)} pairs of temperature and alpha",
            expected=f"at most {len(trials)}",
        )
    return trials


def check_is_combined(run: Path) -> None:
    """Refuse a run whose combined predictions are not there."""
    file = run / "combine-predictions" / "test.ensemble.npy"
    if not file.is_file():
        raise InputError(
            "this run has no ensemble to learn from",
            where=run,
            got=f"no {file.name}",
            fix=f"`specialists run --out {run} --until combine-predictions`",
        )
