"""Which rows train, which validate and which test?

Splits that the data give are kept. What is missing is cut from the training part: stratified by
label, seeded, every group of rows whole and with the same chance. Rare classes, and classes with
too few different inputs for a cut, are left out and counted. Every other class has at least one
training and one validation row, or the data are refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from specialists.datasets.stratified import draw_groups
from specialists.errors import DataError, listed

TRAIN, VALIDATION, TEST, LEFT_OUT = 0, 1, 2, -1
PARTS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
# What a cell or a folder may call a part, in lower case.
SPLIT_NAMES = PARTS | {"training": TRAIN, "testing": TEST}
SPLIT_NAMES |= dict.fromkeys(("val", "valid", "dev"), VALIDATION)
_NAMED = 8


@dataclass(frozen=True)
class Plan:
    """Which rows lie in which split, and what their classes are."""

    class_names: tuple[str, ...]
    labels: np.ndarray  # int64 (n,), class of every row; -1 for rows that are left out
    parts: np.ndarray  # int (n,), TRAIN, VALIDATION, TEST or LEFT_OUT
    notes: tuple[str, ...]  # on what was left out, with counts

    def rows(self, part: int) -> np.ndarray:
        """Indices of the rows of a part, ascending."""
        return np.flatnonzero(self.parts == part)


def plan_splits(
    labels: np.ndarray,
    names: Sequence[str],
    groups: np.ndarray,
    given: np.ndarray,
    *,
    min_examples: int,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    keep_all: bool = False,
    where: object = None,
) -> Plan:
    """Leave rare classes out, cut the splits that are missing, check that every class is covered.

    Raises DataError: fewer than two classes, too few rows of one, or labels never trained on.

    Parameters
    ----------
    labels, groups, given : int arrays of shape (n,)
        Index into ``names``; the unit of chance; TRAIN, VALIDATION, TEST or LEFT_OUT, as the data
        say (all TRAIN where they say nothing).
    min_examples : int
        Classes with fewer rows (of all splits together) are left out.
    validation_fraction, test_fraction : float
        Shares of the training rows that are cut where a split is missing.
    keep_all : bool
        Cut no test, and keep classes that have no validation row.
    where : str or Path, optional
        What the labels come from, for messages.
    """
    parts, generator = given.copy(), np.random.default_rng(seed)

    def cut(part: int, fraction: float, needed: int, left: int) -> list[str]:
        """Move training rows to ``part``; classes need some groups there and have some left."""
        pool = np.flatnonzero(parts == TRAIN)
        drawn = draw_groups(labels[pool], groups[pool], fraction, needed, left, generator)
        parts[pool[drawn.held]] = part
        return drawn.notes("the validation split" if part == VALIDATION else "the test split")

    counts = _counts(labels[parts != LEFT_OUT], names)
    rare = (counts > 0) & (counts < min_examples)
    notes = _leave_out(rare, labels, parts, names, f"with fewer than {min_examples} rows")
    _check_two_classes(labels, parts, notes, where, bool(rare.any()))
    _check_seen(labels, parts, names)
    has_test, has_validation = (parts == TEST).any(), (parts == VALIDATION).any()
    if not has_test and not keep_all:
        notes += cut(TEST, test_fraction, 0, 2)
    if not has_validation:
        whole = has_test or keep_all
        share = validation_fraction if whole else validation_fraction / (1 - test_fraction)
        notes += cut(VALIDATION, share, 1, 1)
    if not has_validation and not keep_all:
        uncut = _counts(labels[parts == VALIDATION], names) == 0
        uncut &= _counts(labels[parts == TRAIN], names) > 0
        why = "with too few different inputs for a training and a validation row"
        notes += _leave_out(uncut, labels, parts, names, why)
        _check_two_classes(labels, parts, notes, where, bool(rare.any()))
    plan = _numbered(labels, parts, names, tuple(notes))
    if not keep_all:
        train, validation = (plan.labels[plan.rows(part)] for part in (TRAIN, VALIDATION))
        check_every_class(plan.class_names, train, validation)
        if not (parts == TEST).any():
            raise DataError("the test split is empty", fix="raise data.test_fraction")
    return plan


def check_every_class(names: Sequence[str], train: np.ndarray, validation: np.ndarray) -> None:
    """Raise a DataError that names the classes without a training or a validation row."""
    counts = np.bincount(np.concatenate([train, validation]), minlength=len(names))
    for split, labels in (("training", train), ("validation", validation)):
        missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
        if len(missing):
            has, many = ("es have", "es") if len(missing) > 1 else (" has", "")
            what = f"{len(missing)} class{has} too few examples for the split"
            where = f"class{many} {listed(names[int(i)] for i in missing)}"
            expected = "at least one training and one validation row of each class"
            got, fix = f"no {split} row", _cure(missing, names, counts)
            raise DataError(what, where=where, got=got, expected=expected, fix=fix)


def _cure(missing: np.ndarray, names: Sequence[str], counts: np.ndarray) -> str:
    """How to do without the classes ``missing``: by name if they are few, else by size."""
    if len(missing) <= _NAMED:
        named = ", ".join(json.dumps(names[int(i)], ensure_ascii=False) for i in missing)
        return f"data.exclude_labels = [{named}], or change the split"
    enough = int(counts[missing].max()) + 1
    kept = int((counts >= enough).sum())
    if kept < 2:
        return "change the split: every class is needed in training and in validation"
    return f"data.min_examples = {enough}, which keeps {kept} classes, or change the split"


def _leave_out(
    classes: np.ndarray, labels: np.ndarray, parts: np.ndarray, names: Sequence[str], why: str
) -> list[str]:
    """Leave the rows of ``classes``, bool of shape (n_classes,), out in place; a note of it."""
    rows, n = classes[labels] & (parts != LEFT_OUT), int(classes.sum())
    parts[rows] = LEFT_OUT
    k, which = int(rows.sum()), listed((names[i] for i in np.flatnonzero(classes).tolist()), 3)
    note = f"{n} class{'es' * (n != 1)} {why} left out ({k} row{'s' * (k != 1)}): {which}"
    return [note] if n else []


def _check_seen(labels: np.ndarray, parts: np.ndarray, names: Sequence[str]) -> None:
    """Refuse given splits that test or validate a label which they never train."""
    train, validation = (_counts(labels[parts == part], names) for part in (TRAIN, VALIDATION))
    counts = _counts(labels[parts != LEFT_OUT], names)
    unseen = (counts > 0) & (train == 0)
    if not unseen.any():
        return
    # The cure also covers what would be refused next: classes that a given validation split lacks.
    bad = unseen | ((counts > 0) & (validation == 0) & bool(validation.any()))
    split = "validation" if validation[unseen].all() else "test"
    known = {names[int(i)].casefold(): names[int(i)] for i in np.flatnonzero(train)}
    missing = [names[int(i)] for i in np.flatnonzero(unseen)]
    twins = [f"{known[n.casefold()]!r} for {n!r}" for n in missing if n.casefold() in known]
    what = f"{len(missing)} labels in the {split} split that training never saw"
    where = listed(missing)
    got = f"in training there are {listed(twins)}" if twins else None
    raise DataError(what, where=where, got=got, fix=_cure(np.flatnonzero(bad), names, counts))


def _counts(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    return np.bincount(labels, minlength=len(names))


def _check_two_classes(
    labels: np.ndarray, parts: np.ndarray, notes: Sequence[str], where: object, rare: bool
) -> None:
    n_classes = len(np.unique(labels[parts != LEFT_OUT]))
    if n_classes < 2:
        got = "; ".join([f"{n_classes} with enough rows", *notes])
        expected = "at least two, each with data.min_examples rows and different inputs"
        fix = "lower data.min_examples, or " * rare + "check the label column"
        what = "fewer than two classes"
        raise DataError(what, where=where, got=got, expected=expected, fix=fix)


def _numbered(
    labels: np.ndarray, parts: np.ndarray, names: Sequence[str], notes: tuple[str, ...]
) -> Plan:
    classes = np.unique(labels[parts == TRAIN])
    number = np.full(len(names), -1, dtype=np.int64)
    number[classes] = np.arange(len(classes))
    kept = np.where(parts == LEFT_OUT, -1, number[labels])
    class_names = tuple(str(names[i]) for i in classes)
    return Plan(class_names, kept, parts, notes)
