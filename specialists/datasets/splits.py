"""Which rows train, which validate and which test?

Splits that the data give are kept. What is missing is cut from the training part: stratified by
label, seeded, and rows with the same input always on the same side. A group of equal inputs is
dealt out with its rarest label; groups are drawn in random order while they fit into a class's
share. Every class has at least one training and one validation row, or the data are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from specialists.errors import DataError, DataWarning

TRAIN, VALIDATION, TEST, LEFT_OUT = 0, 1, 2, -1
_SHOWN = 8


@dataclass(frozen=True)
class Plan:
    """Which rows lie in which split, and what their classes are.

    Parameters
    ----------
    class_names : tuple of str
    labels : int64 array of shape (n,)
        Class of every row; -1 for rows that are left out.
    parts : int array of shape (n,)
        TRAIN, VALIDATION, TEST or LEFT_OUT.
    notes : tuple of str
        What was left out, with counts.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    parts: np.ndarray
    notes: tuple[str, ...]

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
) -> Plan:
    """Leave rare classes out, cut the splits that are missing, check that every class is covered.

    Parameters
    ----------
    labels : int array of shape (n,)
        Index into ``names``.
    groups : int array of shape (n,)
        Rows with the same input share a group.
    given : int array of shape (n,)
        TRAIN, VALIDATION, TEST or LEFT_OUT, as the data say; all TRAIN where they say nothing.
    min_examples : int
        Classes with fewer rows (of all splits together) are left out.
    validation_fraction, test_fraction : float
        Shares of the training rows that are cut where a split is missing.
    seed : int

    Raises
    ------
    DataError
        Fewer than two classes, classes with too few rows, or labels that training never saw.
    """
    parts = given.copy()
    notes = []
    _check_seen(labels, parts, names)
    counts = np.bincount(labels[parts != LEFT_OUT], minlength=len(names))
    rare = (counts > 0) & (counts < min_examples)
    if rare.any():
        parts[rare[labels]] = LEFT_OUT
        notes.append(
            f"{int(rare.sum())} classes with fewer than {min_examples} rows left out "
            f"({int(counts[rare].sum())} rows)"
        )
    _check_two_classes(int((counts >= max(min_examples, 1)).sum()), notes)
    notes += _straddling(parts, groups)
    generator = np.random.default_rng(seed)
    has_test, has_validation = (parts == TEST).any(), (parts == VALIDATION).any()
    if not has_test:
        _cut(parts, TEST, labels, groups, test_fraction, generator)
    if not has_validation:
        left = validation_fraction if has_test else validation_fraction / (1 - test_fraction)
        _cut(parts, VALIDATION, labels, groups, left, generator)
    return _numbered(labels, parts, names, tuple(notes))


def check_every_class(names: Sequence[str], train: np.ndarray, validation: np.ndarray) -> None:
    """Raise a DataError that names the classes without a training or a validation row."""
    for split, labels in (("training", train), ("validation", validation)):
        missing = np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0)
        if len(missing):
            raise DataError(
                f"{len(missing)} class{'es have' if len(missing) > 1 else ' has'} too few examples "
                "for the split",
                where=f"class{'es' * (len(missing) > 1)} "
                f"{listed([names[int(i)] for i in missing])}",
                got=f"no {split} row",
                expected="at least one training and one validation row of each class",
                fix="raise data.min_examples, name these classes in data.exclude_labels, "
                "or change the split",
            )


def listed(names: Iterable[object]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more


def _check_seen(labels: np.ndarray, parts: np.ndarray, names: Sequence[str]) -> None:
    seen = np.bincount(labels[parts == TRAIN], minlength=len(names)) > 0
    for part, told in ((TEST, "test"), (VALIDATION, "validation")):
        unseen = np.unique(labels[(parts == part) & ~seen[labels]])
        if len(unseen):
            raise DataError(
                f"{len(unseen)} labels in the {told} split that training never saw",
                where=listed([names[int(i)] for i in unseen]),
                fix="name them in data.exclude_labels, or add training rows of these classes",
            )


def _check_two_classes(n_classes: int, notes: Sequence[str]) -> None:
    if n_classes < 2:
        raise DataError(
            "fewer than two classes",
            got="; ".join([f"{n_classes} with enough rows", *notes]),
            expected="at least two, each with data.min_examples rows",
            fix="lower data.min_examples, or check the label column",
        )


def _straddling(parts: np.ndarray, groups: np.ndarray) -> list[str]:
    """Warn of inputs that the given splits hold on both sides; they are kept as given."""
    used = parts != LEFT_OUT
    shared = np.zeros(int(groups.max(initial=0)) + 1, dtype=np.int64)
    for part in (TRAIN, VALIDATION, TEST):
        shared[np.unique(groups[parts == part])] += 1
    held = used & (parts != TRAIN) & (shared[groups] > 1)
    if not held.any():
        return []
    message = (
        f"{int(held.sum())} rows of the given validation and test splits have an input that also "
        "lies in another split; the splits are kept as given"
    )
    warnings.warn(message, DataWarning, stacklevel=4)
    return [message]


def _cut(
    parts: np.ndarray,
    part: int,
    labels: np.ndarray,
    groups: np.ndarray,
    fraction: float,
    generator: np.random.Generator,
) -> None:
    """Move about ``fraction`` of every class's training rows to ``part``, in place."""
    needed, left = (1, 1) if part == VALIDATION else (0, 2)  # groups of each class, here and there
    pool = np.flatnonzero(parts == TRAIN)

    def targets(share: np.ndarray) -> np.ndarray:
        return np.round(fraction * share)

    held = drawn_rows(labels[pool], groups[pool], targets, needed, left, generator)
    parts[pool[held]] = part


def drawn_rows(
    rows: np.ndarray,
    groups: np.ndarray,
    targets: Callable[[np.ndarray], np.ndarray],
    needed: int,
    left: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw whole groups of rows, stratified by label.

    Parameters
    ----------
    rows : int array of shape (n,)
        Labels.
    groups : int array of shape (n,)
        Rows with the same input share a group.
    targets : callable
        Maps the rows that each label has to give, shape (n_labels,), to those that it gives.
    needed, left : int
        Groups of each class that are drawn, and that are not, at least (if it has as many).

    Returns
    -------
    bool array of shape (n,)
    """
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.bincount(rows)
    primary = _rarest_label(rows, which, counts)
    share = np.bincount(primary, weights=sizes, minlength=len(counts))
    target = np.clip(targets(share), needed, np.maximum(share - left, 0))
    order = np.lexsort((generator.random(len(sizes)), primary))
    before = np.cumsum(sizes[order]) - sizes[order]
    first = np.searchsorted(primary[order], np.arange(len(counts)))
    end = before - before[np.minimum(first, len(order) - 1)][primary[order]] + sizes[order]
    held = np.zeros(len(sizes), dtype=bool)
    held[order] = end <= target[primary[order]]
    _cover(held, rows, which, sizes, True, needed, left)
    _cover(held, rows, which, sizes, False, left, needed)
    return held[which]


def _rarest_label(labels: np.ndarray, which: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The label of each group that has fewest rows."""
    order = np.lexsort((labels, counts[labels], which))
    firsts = np.searchsorted(which[order], np.arange(which.max(initial=-1) + 1))
    return labels[order][firsts]


def _cover(
    held: np.ndarray,
    labels: np.ndarray,
    which: np.ndarray,
    sizes: np.ndarray,
    side: bool,
    wanted: int,
    kept: int,
) -> None:
    """Move groups to ``side`` for classes with fewer than ``wanted`` there, smallest first.

    Every class keeps ``kept`` groups (or as many as it has) on the other side. Only inputs with
    several labels or many copies need this.
    """
    pairs = np.unique(np.stack([which, labels], axis=1), axis=0)
    group_of, label_of = pairs[:, 0], pairs[:, 1]
    n_labels = int(labels.max(initial=-1)) + 1
    here = np.bincount(label_of[held[group_of] == side], minlength=n_labels)
    there = np.bincount(label_of, minlength=n_labels) - here
    for label in np.unique(label_of[here[label_of] < wanted]):
        candidates = group_of[(label_of == label) & (held[group_of] != side)]
        for group in candidates[np.argsort(sizes[candidates], kind="stable")]:
            touched = label_of[group_of == group]
            if here[label] < wanted and (there[touched] > kept).all():
                held[group] = side
                here[touched] += 1
                there[touched] -= 1


def _numbered(
    labels: np.ndarray, parts: np.ndarray, names: Sequence[str], notes: tuple[str, ...]
) -> Plan:
    classes = np.unique(labels[parts == TRAIN])
    number = np.full(len(names), -1, dtype=np.int64)
    number[classes] = np.arange(len(classes))
    kept = np.where(parts == LEFT_OUT, -1, number[labels])
    class_names = tuple(str(names[i]) for i in classes)
    _check_seen(labels, parts, names)
    check_every_class(class_names, kept[parts == TRAIN], kept[parts == VALIDATION])
    if not (parts == TEST).any():
        raise DataError("the test split is empty", fix="raise data.test_fraction")
    return Plan(class_names, kept, parts, notes)
