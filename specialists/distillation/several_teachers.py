"""Several teachers as one: the distribution q that is closest to what all of them say.

    arithmetic    minimise the sum of w_m KL(p_m || q) over teachers m
    geometric     minimise the sum of w_m KL(q || p_m)

Of teachers that know all classes these are the weighted means, METHOD.md (18) and (19). A teacher
that knows some of them is a specialist, and joins by METHOD.md (1) or (13): its classes alone, all
others in its dustbin. The dustbin holds what it gives to classes that the student does not have. A
teacher without such classes says how to share its own, and nothing of how probable they are
together: that the teachers of all classes say.

Classes are matched by their names. :attr:`JoinedTeachers.notes` lists those that do not match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from specialists.combination import arithmetic_mean, combine, geometric_mean
from specialists.datasets.base import Inputs
from specialists.distillation.teachers import Teacher, online
from specialists.errors import InputError, calling, listed
from specialists.predictions import (
    ROWS_AT_A_TIME,
    DensePredictions,
    Predictions,
    as_predictions,
    concatenated,
)
from specialists.probability import aggregate, check_log_probs, log_sum_exp

LOWEST = -1e4  # log-probability below which a class has none
Mean = Literal["arithmetic", "geometric"]


@dataclass(frozen=True)
class NamedTeacher:
    """A teacher, whose classes have names.

    Parameters
    ----------
    teacher : Predictions, Tensor, callable or nn.Module
        Predictions (or log-probabilities) of the inputs that it will be asked about, or who can be
        asked about any: see ``distil``.
    class_names : sequence of str, optional
        Of its columns; None: the student's classes, in their order.
    weight : float
        w > 0.
    name : str
        Of the teacher, in notes and errors.
    """

    teacher: Teacher
    class_names: Sequence[str] | None = None
    weight: float = 1.0
    name: str = "teacher"

    def ask(self, inputs: Inputs) -> Predictions:
        """What it predicts for any inputs; an InputError if it is nothing but predictions."""
        if isinstance(self.teacher, Predictions | Tensor):
            raise InputError(
                "a teacher of stored predictions cannot be asked about a batch",
                where=self.name,
                fix="joined.predictions(train.inputs) joins them once, for distil",
            )
        return online(self.teacher)(inputs)

    def rows(self, n_inputs: int) -> Predictions | None:
        """Its stored predictions of so many inputs; None for a teacher that can be asked."""
        if not isinstance(self.teacher, Predictions | Tensor):
            return None
        if len(self.teacher) != n_inputs:
            raise InputError(
                "a teacher's predictions are not of these inputs",
                where=self.name,
                got=f"{len(self.teacher):,} predictions for {n_inputs:,} inputs",
            )
        with self.named():
            return as_predictions(self.teacher)

    def named(self) -> AbstractContextManager[None]:
        """Errors inside say of whose rows they are."""
        return calling({"where: row": f"where: {self.name}, row"})

    def columns(self, class_names: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Classes of the student that it knows, its columns of them, and its other columns.

        Raises
        ------
        InputError
            If it knows none of them, or a name stands twice.
        """
        theirs = list(class_names if self.class_names is None else self.class_names)
        if twice := [name for name, count in Counter(theirs).items() if count > 1]:
            raise InputError("a teacher has two classes of one name", where=self.name, got=twice[0])
        place = {name: column for column, name in enumerate(theirs)}
        known = [j for j, name in enumerate(class_names) if name in place]
        if not known:
            raise InputError(
                "a teacher knows none of the student's classes",
                where=self.name,
                got=listed(theirs),
                expected=f"some of {listed(class_names)}",
            )
        columns = [place[class_names[j]] for j in known]
        others = sorted(set(range(len(theirs))) - set(columns))
        return torch.tensor(known), torch.tensor(columns), torch.tensor(others, dtype=torch.int64)


@dataclass(frozen=True)
class JoinedTeachers:
    """Teachers that answer as one.

    Parameters
    ----------
    teachers : sequence of NamedTeacher
        At least one knows all classes.
    class_names : sequence of str
        The student's.
    mean : {"arithmetic", "geometric"}

    Raises
    ------
    InputError
        If none knows all classes, one knows none, or a weight or name makes no sense.

    Examples
    --------
    >>> both = torch.tensor([[0.4, 0.4, 0.2]]).log()
    >>> some = torch.tensor([[0.1, 0.7, 0.2]]).log()
    >>> teachers = NamedTeacher(both), NamedTeacher(some, ["b", "a", "something else"])
    >>> joined = JoinedTeachers(teachers, ["a", "b", "c"])
    >>> joined.predictions(torch.zeros(1, 5)).dense().exp()
    tensor([[0.5500, 0.2500, 0.2000]])
    >>> joined.notes
    ('teacher lacks 1 of 3 classes: c', 'teacher: its dustbin is something else')
    """

    teachers: Sequence[NamedTeacher]
    class_names: Sequence[str]
    mean: Mean = "arithmetic"

    def __post_init__(self) -> None:
        if self.mean not in ("arithmetic", "geometric"):
            expected = "arithmetic or geometric"
            raise InputError("no such mean of teachers", got=self.mean, expected=expected)
        for teacher in self.teachers:
            if not 0 < teacher.weight < float("inf"):
                where = teacher.name
                raise InputError("the weight of a teacher is > 0", where=where, got=teacher.weight)
        n_classes = len(self.class_names)
        if not any(len(known) == n_classes for known, *_ in self._columns):
            raise InputError(
                "no teacher knows all classes",
                got="; ".join(self.notes) or "no teacher",
                expected="one that does, beside those that know some",
            )

    @cached_property
    def _columns(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        return [teacher.columns(self.class_names) for teacher in self.teachers]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Classes that do not match: a line for each teacher that lacks some, or has others."""
        notes = []
        for teacher, (known, _, others) in zip(self.teachers, self._columns, strict=True):
            lacking = sorted(set(range(len(self.class_names))) - set(known.tolist()))
            if lacking:
                names = listed([self.class_names[j] for j in lacking])
                n_classes = len(self.class_names)
                notes.append(f"{teacher.name} lacks {len(lacking)} of {n_classes} classes: {names}")
            if len(others) and teacher.class_names is not None:
                names = listed([teacher.class_names[j] for j in others.tolist()])
                what = "its dustbin is" if lacking else "left out, as the student lacks them:"
                notes.append(f"{teacher.name}: {what} {names}")
        return tuple(notes)

    def __call__(self, inputs: Inputs) -> Predictions:
        """What they predict for any inputs; an InputError if one is nothing but predictions."""
        return self._joined([teacher.ask(inputs) for teacher in self.teachers])

    def predictions(self, inputs: Inputs) -> Predictions:
        """What they predict for the inputs that stored predictions are of, all in their order."""
        stored = [teacher.rows(len(inputs)) for teacher in self.teachers]
        blocks = []
        for index in torch.arange(len(inputs)).split(ROWS_AT_A_TIME):
            answers = [
                teacher.ask(inputs[index]) if rows is None else rows[index]
                for teacher, rows in zip(self.teachers, stored, strict=True)
            ]
            blocks.append(self._joined(answers))
        return concatenated(blocks)

    def _joined(self, answers: Sequence[Predictions]) -> Predictions:
        n_classes = len(self.class_names)
        whole, parts, subsets = [], [], []
        weights: tuple[list[float], list[float]] = [], []
        for teacher, answer, columns in zip(self.teachers, answers, self._columns, strict=True):
            known, own, others = columns
            log_probs = self._checked(teacher, answer, len(own) + len(others))
            if len(known) == n_classes:
                inside = log_probs[:, own]
                whole.append(inside.clamp_min(LOWEST).log_softmax(1) if len(others) else inside)
                weights[0].append(teacher.weight)
            else:
                parts.append((log_probs[:, own], log_probs[:, others]))
                subsets.append(known)
                weights[1].append(teacher.weight)
        mean = arithmetic_mean if self.mean == "arithmetic" else geometric_mean
        of_all = mean(whole, weights[0])
        if not parts:
            return DensePredictions(of_all)
        specialists = [
            _with_dustbin(inside, others, of_all, subset)
            for (inside, others), subset in zip(parts, subsets, strict=True)
        ]
        direction = "forward" if self.mean == "arithmetic" else "reverse"
        shares = torch.tensor(weights[1], dtype=torch.float64) / sum(weights[0])
        found = combine(of_all, specialists, subsets, weights=shares, direction=direction)
        return DensePredictions(found.log_probs)

    def _checked(self, teacher: NamedTeacher, answer: Predictions, n_columns: int) -> Tensor:
        if answer.n_classes != n_columns:
            raise InputError(
                "a teacher's predictions have not a column for each of its classes",
                where=teacher.name,
                got=answer.n_classes,
                expected=n_columns,
            )
        log_probs = answer.dense().float()
        with teacher.named():
            check_log_probs(log_probs)
        return log_probs.log_softmax(1)  # half precision sums to 1 roughly


def _with_dustbin(inside: Tensor, others: Tensor, of_all: Tensor, subset: Tensor) -> Tensor:
    """Log-probabilities of the classes that a teacher knows, and of all others together."""
    if others.shape[1]:
        return torch.cat([inside, log_sum_exp(others)[:, None]], 1)
    outside = aggregate(of_all, subset)[:, -1:]
    within = log_sum_exp(of_all[:, subset])[:, None]
    return torch.cat([inside.log_softmax(1) + within, outside], 1)
