"""A finished run -> ``RUN/transfer.json`` and ``.svg``: what its students have of their teacher.

Nothing is trained but linear probes. Where there are many rows, some of them are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from specialists.datasets.augmentation import AUGMENTATIONS
from specialists.datasets.base import Dataset, Inputs
from specialists.distillation import labelled_rows
from specialists.errors import InputError
from specialists.evaluation import ProbedRows, Transfer, knowledge_transfer
from specialists.figures import to_svg_file, transfer_figure
from specialists.files import write_json, write_text
from specialists.predictions import Predictions
from specialists.predictor import Predictor
from specialists.training.examples import drawn

from .context import RunContext
from .distill import NAME
from .runs import Run
from .teacher_source import TeacherSource, as_given, made_from
from .trained_models import STUDENTS, load

FILES = ("transfer.json", "transfer.svg")
DESCRIPTION = "What of the teacher got across to its students."
GREY_LEVELS = 4.0  # of 255, by which an adversarial step changes a pixel
DEVIATIONS = 0.1  # or a number, in standard deviations of all numbers
PROBED_ROWS = 10  # of each class, on average
MOST_PROBED = 2000


@dataclass(frozen=True)
class Examined:
    """Which rows of a split are looked at, and of how many at most."""

    split: str = "test"
    n_rows: int = 4096


def examine_student(run: Run, teacher: TeacherSource, rows: Examined) -> Transfer:
    """Measure what a run's students have of a teacher; writes the files of ``FILES``.

    Raises
    ------
    InputError
        If a model is missing, or the teacher knows other classes or takes other inputs.
    """
    context = RunContext.open(run.folder, test_labels=rows.split == "test")
    students = {name: load(run.folder, name, teacher.trust_code) for name in STUDENTS}
    found = _measured(context, _teacher_of(run, teacher, context.dataset), students, rows)
    with run.lock():
        write_json(run.folder / FILES[0], found.to_dict())
        write_text(run.folder / FILES[1], to_svg_file(transfer_figure(found), DESCRIPTION))
    return found


def _teacher_of(run: Run, teacher: TeacherSource, dataset: Dataset) -> Predictor | None:
    """The model; None: the file of predictions that the run has beside its rows."""
    teacher.check_path()
    if teacher.is_file:
        if not made_from(run.folder, teacher.path):
            ours = run.config.generalist.predictions
            raise InputError(
                "this is not the file of predictions that the run was made from, or it has changed",
                where=teacher.path,
                expected=ours or "a run or the folder of a model",
                fix="if it has changed: the command that made the run, once more" if ours else None,
            )
        return None
    if teacher.path.resolve() == run.folder.resolve() and run.path(NAME).is_dir():
        raise InputError(
            "the teacher of these students does not lie in their folder",
            where=run.folder,
            fix="--teacher, as `specialists distill` was told",
        )
    predictor = teacher.predictor
    same = predictor.class_names == dataset.class_names
    if not same or dict(predictor.preprocessing) != dict(dataset.preprocessing):
        other = "takes inputs that are encoded otherwise" if same else "knows other classes"
        raise InputError(f"this teacher {other} than the students", where=teacher.path)
    return predictor


def _measured(
    context: RunContext, teacher: Predictor | None, students: dict[str, Predictor], rows: Examined
) -> Transfer:
    dataset, split = context.dataset, context.split(rows.split)
    index = _drawn_rows(len(split), rows.n_rows, context.seed("examined rows"))
    inputs = split.inputs[index]
    return knowledge_transfer(
        _answers(teacher, context.asked(rows.split)[index]),
        students,
        split.labels[index],
        inputs,
        class_names=dataset.class_names,
        augment=AUGMENTATIONS[dataset.kind],
        epsilon=_small_step(inputs),
        probe=_probed_rows(dataset, context.seed("probed rows")),
        seed=context.seed("transfer"),
    )


def _answers(teacher: Predictor | None, asked: Inputs) -> Predictor | Predictions | Tensor:
    """What is known of a teacher that cannot be asked about other inputs; else the teacher."""
    if teacher is None:
        return as_given(asked)
    return teacher.predictions(asked) if teacher.asks else teacher


def _drawn_rows(n: int, k: int, seed: int) -> Tensor:
    """At most ``k`` of ``n`` rows, ascending."""
    if n <= k:
        return torch.arange(n)
    return drawn(n, k, torch.Generator().manual_seed(seed)).sort().values


def _small_step(inputs: Inputs) -> float | None:
    """The largest change of a number that nobody should mind; None of a text, which has none."""
    if not isinstance(inputs, Tensor):
        return None
    return DEVIATIONS * float(inputs.std()) if inputs.is_floating_point() else GREY_LEVELS


def _probed_rows(dataset: Dataset, seed: int) -> ProbedRows:
    """A few training rows of each class, at least one."""
    train = dataset.train
    n_rows = min(PROBED_ROWS * dataset.n_classes, MOST_PROBED)
    rows = labelled_rows(train.labels, min(1.0, n_rows / len(train)), seed)
    return ProbedRows(train.inputs[rows], train.labels[rows])
