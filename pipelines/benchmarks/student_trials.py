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
from fractions import Fraction
from pathlib import Path

from specialists.distillation import HARD_RATES, changed_recipe
from specialists.errors import InputError

from ..context import RunContext
from ..distill_student import StudentTask, spec_of_size
from ..soft_targets import OnlineName, write_soft_targets
from ..terminal import log
from ..trunk_files import generalist_targets

FOLDER = "students"
HARD, SMOOTHED, GENERALIST, ENSEMBLE = "hard", "smoothed", "generalist", "ensemble"
TEACHERS = {
    HARD: "hard labels",
    SMOOTHED: "hard labels, smoothed",
    GENERALIST: "the generalist",
    ENSEMBLE: "the ensemble",
}
SMOOTHINGS = (0.1, 0.2)
NEAR_RATES = (1.0, 0.7, 1.4, 0.5, 2.0)
SMALLEST = 0.001
PARTS = ("all-labels", "live", "longer", "few-labels")


@dataclass(frozen=True)
class Row:
    """One student of the table.

    Parameters
    ----------
    size : float
        Parameters over the generalist's.
    teacher : {"hard", "smoothed", "generalist", "ensemble"}
    labelled : float
        Share of the training rows whose labels are known.
    rate : float
        Times the recipe's learning rates.
    passes : float
        Times the recipe's epochs.
    transfer : bool
        Whether the rows without labels are learned from as well.
    live : bool
        Whether the teacher is asked about every batch, augmented as the student sees it.
    """

    size: float
    teacher: str
    labelled: float = 1.0
    rate: float = 1.0
    passes: float = 1.0
    transfer: bool = False
    live: bool = False

    @property
    def rival(self) -> Row:
        """The student that learns from the same labels, as long, without a teacher."""
        passes = 1 / self.labelled if self.transfer else self.passes
        return replace(self, teacher=HARD, passes=passes, transfer=False, live=False)

    @property
    def slug(self) -> str:
        """A folder's name."""
        numbers = f"{self.size:g}-{self.teacher}-{self.labelled:g}-{self.rate:g}-{self.passes:g}"
        return numbers + "-transfer" * self.transfer + "-live" * self.live

    def in_words(self) -> str:
        """For instance "the ensemble, 10% of the labels, 5x rate"."""
        words = [TEACHERS[self.teacher] + " about every batch" * self.live]
        if self.labelled < 1:
            words.append(f"{self.labelled:.0%} of the labels")
        if self.transfer:
            words.append("the other inputs without labels")
        if self.rate != 1:
            words.append(f"{self.rate:g}x rate")
        if self.passes != 1:
            words.append(f"{self.passes:g}x epochs")
        return ", ".join(words)

    def size_in_words(self) -> str:
        """For instance "1/16"."""
        return str(Fraction(self.size).limit_denominator(1000))


@dataclass(frozen=True)
class Plan:
    """What the table holds.

    Parameters
    ----------
    sizes : sequence of float
    temperatures, alphas : sequences of float
        Every row has as many trials as these have pairs.
    labelled : float
        Share of labels where they are few.
    rates : sequence of float
        Times the recipe's, where labels are few.
    long_sizes, long_passes : sequence of float, float
        Which students are trained longer too, and how many times as long.
    parts : subset of {"all-labels", "live", "longer", "few-labels"}
    """

    sizes: Sequence[float] = (1.0, 1 / 4, 1 / 16)
    temperatures: Sequence[float] = (1.0, 2.0, 4.0)
    alphas: Sequence[float] = (0.7, 1.0)
    labelled: float = 0.1
    rates: Sequence[float] = (1.0, 5.0)
    long_sizes: Sequence[float] = (1.0, 1 / 4)
    long_passes: float = 3.0
    parts: Sequence[str] = PARTS

    def __post_init__(self) -> None:
        for size in self.sizes:
            if not SMALLEST <= size < math.inf:
                what = f"a size is a share of the generalist's parameters, at least {SMALLEST:g}"
                raise InputError(what, where="--sizes", got=size, expected="1 0.25")
        for temperature in self.temperatures:
            if not 0 < temperature < math.inf:
                what = "a temperature is a finite number above 0"
                raise InputError(what, where="--temperatures", got=temperature)
        for alpha in self.alphas:
            if not 0 <= alpha <= 1:
                what = "a weight of soft targets is a share, from 0 to 1"
                raise InputError(what, where="--alphas", got=alpha)

    def rows(self) -> list[Row]:
        """Every student, the largest first."""
        return [row for size in self.sizes for row in self._of_size(size)]

    def _of_size(self, size: float) -> list[Row]:
        rows = []
        if "all-labels" in self.parts:
            rows += [Row(size, teacher) for teacher in TEACHERS]
        live = [Row(size, t, live=True) for t in (GENERALIST, ENSEMBLE) if "live" in self.parts]
        rows += live
        if "longer" in self.parts and size in self.long_sizes:
            longer = [Row(size, HARD), Row(size, ENSEMBLE), *live]
            rows += [replace(row, passes=self.long_passes) for row in longer]
        if "few-labels" in self.parts:
            few, both = Row(size, HARD, self.labelled), (HARD, ENSEMBLE)
            rows += [replace(few, teacher=t, rate=rate) for rate in self.rates for t in both]
            rows += [replace(few, teacher=t, passes=1 / self.labelled) for t in both]
            rows.append(replace(few, teacher=ENSEMBLE, transfer=True))
        return rows


def student_trials(workspace: RunContext, plan: Plan) -> dict[Row, list[StudentTask]]:
    """The tuning trials of every row, equally many; writes the ensemble's soft targets.

    Raises
    ------
    InputError
        If there are more soft trials than there are learning rates to try against them.
    """
    targets = {
        HARD: None,
        SMOOTHED: None,
        GENERALIST: generalist_targets(workspace),
        ENSEMBLE: write_soft_targets(workspace),
    }
    if "live" in plan.parts and workspace.augment is None:
        log.info("students: a live teacher would say what is stored, since data.augment is off")
        plan = replace(plan, parts=[part for part in plan.parts if part != "live"])
    specs = {size: spec_of_size(workspace, size) for size in plan.sizes}
    recipe = workspace.config.student
    found = {}
    for row in plan.rows():
        folder = workspace.path(FOLDER, row.slug)
        found[row] = [
            StudentTask(
                workspace.folder,
                folder / trial.slug,
                row.teacher,
                specs[row.size],
                changed_recipe(
                    recipe, rate=trial.rate, smoothing=trial.smoothing, passes=row.passes
                ),
                trial.temperature,
                trial.alpha,
                targets[row.teacher],
                labelled_share=row.labelled,
                transfer=row.transfer,
                online=_online_teacher(row),
            )
            for trial in _tuning(row, plan)
        ]
    return found


def _online_teacher(row: Row) -> OnlineName | None:
    if not row.live:
        return None
    return "generalist" if row.teacher == GENERALIST else "ensemble"


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


def _tuning(row: Row, plan: Plan) -> list[_Trial]:
    grid = list(itertools.product(plan.temperatures, plan.alphas))
    if row.teacher in (GENERALIST, ENSEMBLE):
        return [_Trial(row.rate, None, temperature, alpha) for temperature, alpha in grid]
    if row.teacher == SMOOTHED:
        pairs = itertools.product(HARD_RATES, SMOOTHINGS)
    elif row.labelled < 1:
        pairs = itertools.product(NEAR_RATES, (0.0, *SMOOTHINGS[:1]))
    else:
        pairs = itertools.product(HARD_RATES, (0.0,))
    trials = [_Trial(row.rate * rate, smoothing) for rate, smoothing in pairs][: len(grid)]
    if len(trials) < len(grid):
        raise InputError(
            "hard labels cannot be tuned by as many trials as soft targets",
            got=f"{len(grid)} pairs of temperature and alpha",
            expected=f"at most {len(trials)}",
        )
    return trials


def needed(run: Path) -> Path:
    """``run``, if its combined predictions are there.

    Raises
    ------
    InputError
        If they are not.
    """
    file = run / "combine-predictions" / "test.ensemble.npy"
    if not file.is_file():
        raise InputError(
            "this run has no ensemble to learn from",
            where=run,
            got=f"no {file.name}",
            fix=f"`specialists run --out {run} --until combine-predictions`",
        )
    return run
