"""Which pieces of work does a stage have, and how do they share its time?

The bar of a stage moves by them. Trainings count by the examples that they see, predictions by a
third of that; what both take for an example is not asked, so a bar may be off where networks of
different sizes follow one another.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

from specialists.config import distinct_networks, student_candidates
from specialists.datasets.base import Dataset, row_shape
from specialists.distillation import Rung, rungs_of
from specialists.errors import InputError
from specialists.evaluation.inference_times import TIMING
from specialists.feasibility import DataShape, trainings
from specialists.feasibility.estimate import BACKWARD
from specialists.feasibility.trainings import planned_trainings
from specialists.runtime import expect

from .context import RunContext

MEASUREMENT = "measurement"
TOGETHER, ALONE = "students", "students with hard labels"
MEASURED = 1 / 6  # of the baselines' time: what the measurement takes, and what timing does


def expect_pieces(context: RunContext, stage: str) -> None:
    """Say what a stage whose earlier stages are done will work on, unless that cannot be known."""
    with suppress(InputError):  # the folder that generalist.pretrained names may be gone by now
        expect(_PIECES[stage](context))


def shape_of(dataset: Dataset) -> DataShape:
    """What plans need to know of the data."""
    sizes = len(dataset.train), len(dataset.test)
    return DataShape(dataset.kind, dataset.n_classes, *sizes, row_shape(dataset.train.inputs))


def _examples(context: RunContext) -> Mapping[str, float]:
    """That all trainings of a kind see together."""
    examples = defaultdict[str, float](float)
    for plan in planned_trainings(context.config, shape_of(context.dataset)):
        examples[plan.kind] += plan.n * plan.examples
    return examples


def _predicted(context: RunContext) -> float:
    """What a prediction of every training row counts for."""
    return len(context.dataset.train) / BACKWARD


def _clustering(context: RunContext) -> Mapping[str, float]:
    return {"cross-fitted generalists": _examples(context)[trainings.CROSS_FITTED]}


def _specialists(context: RunContext) -> Mapping[str, float]:
    of, settings = _examples(context), context.config.specialists
    folds = settings.kind != "clusters" and settings.shortlist_by == "cross-fitted"
    return {
        "generalist on training data": _predicted(context),
        "independent generalists": of[trainings.INDEPENDENT],
        "specialists": of[trainings.CLUSTERED],
        "cross-fitted generalists": folds * of[trainings.GENERALIST],
        "shared specialists": of[trainings.SHARED],
    }


def _combination(context: RunContext) -> Mapping[str, float]:
    clusters = context.config.specialists.kind != "shared"
    return {
        "combination rules": clusters,
        "learned combinations": clusters and "learned" in context.config.combination.rules,
        "shared specialists": context.config.specialists.kind != "clusters",
    }


def _students(context: RunContext) -> Mapping[str, float]:
    settings = context.config.specialists
    asked = 1 + (settings.kind != "shared") + settings.n_shared * (settings.kind != "clusters")
    student, taught = context.config.student, _examples(context)[trainings.STUDENTS]
    candidates = student_candidates(student, context.config.seed)
    names, rungs = [TOGETHER], rungs_of(student, len(candidates))
    if len(distinct_networks(candidates)) > 1:
        names.append(ALONE)
    pieces = {"soft targets": asked * _predicted(context)}
    for name, rung in itertools.product(names, rungs):
        piece = rung_piece(name, rung, len(rungs))
        pieces[piece] = taught / len(names) * rung.n * rung.share
    return pieces


def rung_piece(name: str, rung: Rung, n_rungs: int) -> str:
    """What the trainings of a rung are called in the bar."""
    return name if n_rungs == 1 else f"{name}, rung {rung.number}"


def _evaluation(context: RunContext) -> Mapping[str, float]:
    trained = bool(context.config.evaluation.trained_baselines) and not context.is_given
    timed = MEASURED * (not context.is_given)
    return {"baselines": float(trained), MEASUREMENT: MEASURED, TIMING: timed}


_PIECES = {
    "train-generalist": lambda _: {"generalist": 1.0},
    "cluster-classes": _clustering,
    "train-specialists": _specialists,
    "combine-predictions": _combination,
    "distill-student": _students,
    "evaluate-models": _evaluation,
}
