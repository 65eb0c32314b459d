"""What are the classes, and which of them are right for the same input?

Every source brings labels as its user wrote them. Here they become classes, alike for all sources:
a name is Unicode in normal form C, without outer white space, and inner white space is one space.
Names are sorted, as numbers if all are whole numbers, so that class indices do not depend on the
order of rows. Labels are never put into an array of strings: its width would be the longest one's.
Where one input has several labels, each of its rows carries all of them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import torch

from specialists.datasets.base import Ragged
from specialists.datasets.naming import did_you_mean
from specialists.errors import DataError, listed

_NUMBER = re.compile(r"[-+]?[0-9]{1,40}(\.[0-9]{0,40})?")
_WHOLE = re.compile(r"-?[1-9][0-9]{0,17}|0")
_SHOWN = 3
_MISSING = {"nan", "null", "<na>", "n/a", "#n/a"}


@dataclass(frozen=True)
class Classes:
    """The classes of n rows."""

    labels: np.ndarray  # int64 (n,), index into ``names``
    names: tuple[str, ...]  # each once, and each of some row
    notes: tuple[str, ...] = ()  # on labels that were made one, and names that look alike


def classes_of(values: Sequence[Any] | np.ndarray, where: object = None) -> Classes:
    """The classes of labels: strings, bytes, booleans or whole numbers.

    Raises DataError: a label is empty, missing, a fraction, a list, or no Unicode.

    Examples
    --------
    >>> classes_of(["10", "9", " 10"]).names
    ('9', '10')
    >>> classes_of(["10", "9", " 10"]).labels.tolist()
    [1, 0, 1]
    """
    written, which, counts = _distinct(values, where)
    named = [class_name(value, where) for value in written]
    whole = all(_WHOLE.fullmatch(name) for name in named)
    names = tuple(sorted(set(named), key=int if whole else None))
    index = {name: i for i, name in enumerate(names)}
    labels = np.array([index[name] for name in named], dtype=np.int64)[which]
    rows = np.bincount(labels, minlength=len(names))
    notes = (*_made_alike(written, named, counts), *_look_alikes(names), *_no_answers(names, rows))
    return Classes(labels, names, notes)


def classes_of_codes(codes: np.ndarray, names: Sequence[Any], where: object = None) -> Classes:
    """The classes of indices into a list of names, in the list's order.

    Two codes of one name stay two classes, each with its code behind the name. ``codes`` are int
    (n,); ``names`` are str or bytes, and those of no row may be anything.

    Raises DataError: a code has no name.
    """
    distinct, labels = np.unique(codes, return_inverse=True)
    if len(distinct) and (distinct[0] < 0 or distinct[-1] >= len(names)):
        got = f"labels {distinct[0]} to {distinct[-1]}, {len(names)} names"
        raise DataError("a label has no name", where=where, got=got)
    codes_of: dict[str, list[int]] = {}
    for code in distinct.tolist():
        codes_of.setdefault(class_name(names[code], where), []).append(code)
    shared = {name: codes for name, codes in codes_of.items() if len(codes) > 1}
    named = {code: name for name, codes in codes_of.items() for code in codes}
    unique = tuple(f"{named[c]} [{c}]" if named[c] in shared else named[c] for c in sorted(named))
    alike = [f"{name!r} of the labels {', '.join(map(str, c))}" for name, c in shared.items()]
    note = f"labels with the same name are kept apart by their number: {listed(alike, _SHOWN)}"
    notes = (*([note] if shared else []), *_look_alikes(unique))
    return Classes(labels.astype(np.int64), unique, notes)


def class_name(value: Any, where: object = None) -> str:
    """The name of the class that a label stands for.

    Examples
    --------
    >>> class_name(b" two  words"), class_name(7), class_name(7.0), class_name("007")
    ('two words', '7', '7', '007')
    """
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError("a label is not UTF-8", where=where, got=value[:40]) from None
    elif isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    if not isinstance(value, str | int | np.integer | np.bool_):
        raise _no_label(value, where)
    name = normal_form(str(value))
    if not name:
        raise DataError("a label is empty", where=where, fix="fill it in or leave the row out")
    if not name.isprintable() and any(unicodedata.category(c) == "Cs" for c in name):
        raise DataError("a label is not valid Unicode", where=where, got=ascii(name))
    return name


def normal_form(text: str) -> str:
    """Unicode normal form C, and every run of white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def labels_left_out(
    classes: Classes, exclude: Sequence[str], where: object = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which rows ``data.exclude_labels`` leaves out, bool (n,), and a note that counts them.

    Raises DataError: it names a class that there is not.
    """
    wanted = {normal_form(name): name for name in exclude}
    for name, written in wanted.items():
        if name not in classes.names:
            what = f"data.exclude_labels names {written!r}, which is no label"
            raise DataError(what, where=where, fix=did_you_mean(name, classes.names))
    out = np.array([name in wanted for name in classes.names], dtype=bool)[classes.labels]
    note = f"{int(out.sum())} rows with the labels {listed(wanted)} left out (data.exclude_labels)"
    return out, (note,) if wanted else ()


def label_sets(groups: np.ndarray, labels: np.ndarray, n_groups: int) -> Ragged:
    """Every label of every group, sorted, one row a group.

    ``groups`` and ``labels`` are int (n,); rows with the same input share a group, from 0.

    Examples
    --------
    >>> sets = label_sets(np.array([0, 1, 0, 0]), np.array([2, 0, 1, 2]), 2)
    >>> sets.row(0).tolist(), sets.row(1).tolist()
    ([1, 2], [0])
    """
    pairs = np.unique(np.stack([groups, labels], axis=1).astype(np.int64), axis=0)
    return Ragged.from_lengths(pairs[:, 1].copy(), np.bincount(pairs[:, 0], minlength=n_groups))


def valid_of_rows(groups: np.ndarray, labels: np.ndarray) -> Ragged | None:
    """The label set of every row, or None where no input has two labels."""
    sets = label_sets(groups, labels, int(groups.max(initial=-1)) + 1)
    if not len(groups) or int(sets.lengths.max()) < 2:
        return None
    return sets[torch.from_numpy(groups.astype(np.int64))]


def _distinct(
    values: Sequence[Any] | np.ndarray, where: object
) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Distinct labels as written, which of them each row has, and how many rows each has."""
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise DataError("labels need one value a row", where=where, got=values.shape)
        if values.dtype.kind in "iufb":
            distinct, which, counts = np.unique(values, return_inverse=True, return_counts=True)
            return distinct.tolist(), which, counts
        values = values.tolist()
    seen: dict[Any, int] = {}
    which = np.empty(len(values), dtype=np.int64)
    for i, value in enumerate(values):
        try:  # a string is its own key, and a number is told from the boolean that equals it
            key = value if type(value) is str else (type(value), value)
            which[i] = seen.setdefault(key, len(seen))
        except TypeError:
            raise _no_label(value, f"{where}, row {i}" if where else f"row {i}") from None
    written = [key if type(key) is str else key[1] for key in seen]
    return written, which, np.bincount(which, minlength=len(seen))


def _no_label(value: object, where: object) -> DataError:
    got = f"{type(value).__name__} {str(value)[:40]!r}"
    return DataError("a label is neither a string nor a whole number", where=where, got=got)


def _made_alike(written: Sequence[Any], named: Sequence[str], counts: np.ndarray) -> list[str]:
    """A note of strings that are not written as their class's name."""
    changed = [i for i, value in enumerate(written) if isinstance(value, str) and value != named[i]]
    if not changed:
        return []
    merged = len(named) - len(set(named))
    odd = [normal_form(written[i]) != written[i].strip() for i in changed]
    pairs = zip(changed, odd, strict=True)
    shown = (f"{(ascii if form else repr)(written[i])} is {named[i]!r}" for i, form in pairs)
    note = f"white space and Unicode form of the labels of {counts[changed].sum()} rows made alike"
    more = f"; {merged} ways to write a label merged with another" if merged else ""
    return [f"{note}: {listed(shown, _SHOWN)}{more}"]


def _look_alikes(names: Sequence[str]) -> list[str]:
    """A note of names that differ in form alone: case, width, or another way to write a number."""
    alike: dict[str | Decimal, list[str]] = {}
    for name in names:
        alike.setdefault(_seen(name), []).append(name)
    pairs = [group for group in alike.values() if len(group) > 1]
    shown = listed((" and ".join(map(_shown, group)) for group in pairs), _SHOWN)
    form = "case, width, invisible characters, or the same number"
    note = f"{sum(map(len, pairs))} classes look alike ({form}), kept apart: {shown}"
    return [note] if pairs else []


def _no_answers(names: Sequence[str], rows: np.ndarray) -> list[str]:
    """A note of names that programs write where a label is missing."""
    found = [i for i, name in enumerate(names) if name.casefold() in _MISSING]
    shown = listed((f"{names[i]!r} ({rows[i]:,} of {rows.sum():,} rows)" for i in found), _SHOWN)
    excluded = ", ".join(json.dumps(names[i], ensure_ascii=False) for i in found)
    note = f"taken for a class: {shown}; where it means no label, set data.exclude_labels = "
    return [f"{note}[{excluded}]"] if found else []


def _seen(name: str) -> str | Decimal:
    """What people see of a name."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    if _NUMBER.fullmatch(visible):
        return Decimal(visible)
    return " ".join(visible.split())


def _shown(name: str) -> str:
    return ascii(name) if any(unicodedata.category(c) == "Cf" for c in name) else repr(name)
