"""What of a teacher got across to its students: one row a model, the teacher's first.

A student may agree with its teacher for two reasons: both are right, or the one repeats the errors
of the other. Whether it repeats more of them than chance, or than a student that never saw the
teacher, tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from specialists.escaping import one_line, readable
from specialists.json_record import JsonRecord

if TYPE_CHECKING:
    import pandas as pd

SHOWN_CLASSES = 5
MEASURES = {
    "top1": "top-1",
    "agreement": "answers as the teacher",
    "repeated": "errors of the teacher repeated",
    "repeated_by_chance": "errors of the teacher repeated by chance",
    "mislabelled_agreement": "wrong labels: answers as the teacher",
    "mislabelled_taken": "wrong labels: answers the wrong label",
    "changed": "answers changed by an augmentation",
    "fgsm": "top-1 after an adversarial step (FGSM)",
    "pgd": "top-1 after ten such steps (PGD)",
    "probe": "top-1 of a linear probe",
    "ece": "calibration error",
    "nll": "NLL, nats",
    "kl": "KL(teacher || model), nats",
    "kl_views": "KL(answer || after augmentation), nats",
}  # those up to the calibration error are shares of rows


@dataclass(frozen=True, kw_only=True)
class ModelTransfer(JsonRecord):
    """What one model does, and what of it is its teacher's. None: not measured, or no such rows.

    Parameters
    ----------
    name : str
    top1, nll, ece : float
        Share of the rows answered rightly, mean -log p(label) in nats, calibration error.
    agreement, kl : float, optional
        Share of the rows answered as the teacher does, and mean KL(teacher || model) in nats; None
        of the teacher.
    repeated : float, optional
        Share of the teacher's errors that the model repeats: it answers the same wrong class.
    repeated_by_chance : float, optional
        The same share where, in place of its answer, stands its answer to another row of the same
        label; rows that are alone with their label are left out.
    mislabelled_agreement, mislabelled_taken : float, optional
        Of the rows that were given a wrong label, the shares answered as the teacher does, and
        with that wrong label.
    changed, kl_views : float, optional
        Share of the answers that an augmentation of the input changes, and mean KL in nats from
        the prediction for the input to that for its view.
    fgsm, pgd : float, optional
        Top-1 on inputs that one step, or ten, by the model's own gradient moved.
    probe : float, optional
        Top-1 of a linear model of the features below the head.
    """

    name: str
    top1: float
    nll: float
    ece: float
    agreement: float | None = None
    kl: float | None = None
    repeated: float | None = None
    repeated_by_chance: float | None = None
    mislabelled_agreement: float | None = None
    mislabelled_taken: float | None = None
    changed: float | None = None
    kl_views: float | None = None
    fgsm: float | None = None
    pgd: float | None = None
    probe: float | None = None


@dataclass(frozen=True)
class ClassTransfer(JsonRecord):
    """Of the ``n`` rows of a class, how many the teacher and each student answer rightly."""

    name: str
    n: int
    teacher: int
    students: Mapping[str, int]

    def gain(self, student: str) -> int:
        """Rows that a student answers rightly beyond those of its teacher; a loss is negative."""
        return self.students[student] - self.teacher


@dataclass(frozen=True, kw_only=True)
class Transfer(JsonRecord):
    """What :func:`specialists.evaluation.knowledge_transfer` found.

    Parameters
    ----------
    n_rows, n_errors, n_mislabelled : int
        Rows, those that the teacher answers wrongly, and those that were given a wrong label.
    models : tuple of ModelTransfer
        The teacher, then the students.
    classes : tuple of ClassTransfer
        The classes that have rows, in order.
    notes : tuple of str
        How views, steps and probes were made, and what was not measured.
    """

    n_rows: int
    n_errors: int
    models: tuple[ModelTransfer, ...]
    classes: tuple[ClassTransfer, ...]
    n_mislabelled: int = 0
    notes: tuple[str, ...] = ()

    @property
    def students(self) -> tuple[str, ...]:
        """Names of the students."""
        return tuple(model.name for model in self.models[1:])

    def changed_classes(self, student: str, k: int = SHOWN_CLASSES) -> list[ClassTransfer]:
        """At most ``k`` classes that gained most, then as many that lost most."""
        by_gain = sorted(self.classes, key=lambda c: (-c.gain(student), -c.n))
        gained = [c for c in by_gain if c.gain(student) > 0][:k]
        lost = [c for c in reversed(by_gain) if c.gain(student) < 0][:k]
        return gained + lost

    def to_frame(self) -> pd.DataFrame:
        """A row a model, a column a measure; columns that hold nothing are left out."""
        import pandas as pd

        rows = [{key: getattr(model, key) for key in MEASURES} for model in self.models]
        index = pd.Index([model.name for model in self.models], name="model")
        return pd.DataFrame(rows, index=index, dtype=float).dropna(axis=1, how="all")

    def class_frame(self) -> pd.DataFrame:
        """A row a class: its rows, and how many of them each model answers rightly."""
        import pandas as pd

        rows = [{"n": c.n, "teacher": c.teacher, **c.students} for c in self.classes]
        index = pd.Index([c.name for c in self.classes], name="class")
        return pd.DataFrame(rows, index=index)

    def to_text(self) -> str:
        """The table for a terminal, then the classes that changed most, then the notes."""
        errors = f"{self.n_rows:,} rows; the teacher errs in {self.n_errors:,} of them"
        if self.n_mislabelled:
            errors += f"; {self.n_mislabelled:,} were given a wrong label"
        changes = [line for student in self.students for line in self._class_lines(student)]
        return "\n".join([errors, "", *self._table(), "", *changes, *self.notes])

    def _table(self) -> list[str]:
        """A line a measure, since there are more of them than models."""
        frame = self.to_frame()
        names = [one_line(model.name) for model in self.models]
        widths = [max(9, len(name)) for name in names]
        title = max(len(MEASURES[key]) for key in frame)
        lines = [
            "  ".join([" " * title, *(n.rjust(w) for n, w in zip(names, widths, strict=True))])
        ]
        for key in frame:
            cells = [_shown(str(key), value) for value in frame[key]]
            cells = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            lines.append("  ".join([MEASURES[str(key)].ljust(title), *cells]))
        return lines

    def _class_lines(self, student: str) -> list[str]:
        gains = [c.gain(student) for c in self.classes]
        lines = [
            f"{one_line(student)}: more right answers than the teacher in "
            f"{sum(gain > 0 for gain in gains)} classes, fewer in {sum(gain < 0 for gain in gains)}"
        ]
        changed = self.changed_classes(student)
        for verb, sign in (("gained", 1), ("lost", -1)):
            some = [c for c in changed if sign * c.gain(student) > 0]
            told = ", ".join(
                f"{one_line(readable(c.name))} {c.gain(student):+d} of {c.n}" for c in some
            )
            lines += [f"  {verb} most: {told}"] if some else []
        return lines


def _shown(key: str, value: float) -> str:
    if value != value:
        return "\N{EN DASH}"
    return f"{value:.3f}" if key in ("nll", "kl", "kl_views") else f"{100 * value:.1f}%"
