"""How do labelled rows become a data set? Every source of the user's own data ends here.

The source says what the rows are and which share an input; the splits, the classes, the sets of
valid labels, the standardisation and the encoding are made here, alike for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from specialists.datasets.base import Dataset, Kind, Ragged, Split
from specialists.datasets.encoding import encode, standardisation
from specialists.datasets.groups import straddling, units_of_chance
from specialists.datasets.labels import valid_of_rows
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, Plan, plan_splits


@dataclass(frozen=True)
class Rows:
    """Labelled rows of one source.

    Parameters
    ----------
    raw : array or list of n raw inputs, as ``encode`` takes them
        :func:`assemble` puts the rows of images in another order.
    labels : int array of shape (n,)
        Index into ``names``.
    names : sequence of str
        Names of the labels, of which some may not occur.
    groups : int array of shape (n,)
        Rows with the same input share a group.
    given : int array of shape (n,)
        TRAIN, VALIDATION, TEST or LEFT_OUT, as the source says.
    texts : sequence of str, optional
        For people to read.
    notes : tuple of str
    rows : int64 array of shape (n,), optional
        Line or row of each example in the user's file.
    declared : int64 array of shape (n,), optional
        Rows that the source says are one observation share a number.
    declared_as : str
        What ``declared`` counts, for people.
    """

    raw: Any
    labels: np.ndarray
    names: Sequence[str]
    groups: np.ndarray
    given: np.ndarray
    texts: Sequence[str] | None = None
    notes: tuple[str, ...] = field(default=())
    rows: np.ndarray | None = None
    declared: np.ndarray | None = None
    declared_as: str = "group"


def assemble(
    rows: Rows,
    config: Any,
    seed: int,
    *,
    name: str,
    kind: Kind,
    preprocessing: Mapping[str, Any],
    source: Mapping[str, Any],
) -> Dataset:
    """Split, check and encode the rows.

    Parameters
    ----------
    rows : Rows
    config : DataConfig
        Its ``min_examples``, ``validation_fraction``, ``test_fraction`` and ``standardize``.
    seed : int
        Of the splits that are cut here.
    preprocessing : mapping
        ``mean`` and ``std`` are filled in here, from training rows alone.
    """
    units, told = _units(rows)
    plan = plan_splits(
        rows.labels,
        rows.names,
        units,
        rows.given,
        min_examples=config.min_examples,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        seed=seed,
    )
    notes = (*rows.notes, *told, *plan.notes, *_straddling(rows, plan))
    if kind == "features" and config.standardize is not False:
        preprocessing = {**preprocessing, **standardisation(rows.raw[plan.rows(TRAIN)])}
    if kind == "images":
        _sort_by_part(rows.raw, plan.parts)
    train, validation, test = (
        _split(rows, units, plan, part, preprocessing) for part in (TRAIN, VALIDATION, TEST)
    )
    return Dataset(
        name=name,
        kind=kind,
        class_names=plan.class_names,
        train=train,
        validation=validation,
        test=test,
        preprocessing=preprocessing,
        notes=(*notes, *_several_labels(train, validation, test)),
        source=source,
    )


def limit(dataset: Dataset, max_examples: int, seed: int) -> Dataset:
    """At most about ``max_examples`` rows, drawn from every split alike, for trying things out.

    Every class keeps a training and a validation row. The test split is drawn without a look at
    its labels.
    """
    splits = dataset.splits
    total = sum(map(len, splits.values()))
    if total <= max_examples:
        return dataset
    generator = np.random.default_rng(seed)
    kept = {
        name: take(split, _drawn(split, max_examples / total, name == "test", generator))
        for name, split in splits.items()
    }
    note = f"{sum(map(len, kept.values()))} of {total} rows drawn (data.max_examples)"
    return replace(dataset, **kept, notes=(*dataset.notes, note))


def take(split: Split, index: np.ndarray) -> Split:
    """The rows of ``split`` named by ``index``, in its order."""
    rows = torch.from_numpy(np.asarray(index, dtype=np.int64))
    texts = split.texts
    return Split(
        inputs=split.inputs[rows],
        labels=split.labels[rows],
        valid=None if split.valid is None else split.valid[rows],
        texts=None if texts is None else tuple(texts[i] for i in rows.tolist()),
        rows=None if split.rows is None else split.rows[rows],
        groups=None if split.groups is None else split.groups[rows],
    )


def _units(rows: Rows) -> tuple[np.ndarray, tuple[str, ...]]:
    """Units of chance of the rows in use; each of the others stands alone and joins no two."""
    used = rows.given != LEFT_OUT
    units = np.arange(len(used), 2 * len(used))
    declared = None if rows.declared is None else rows.declared[used]
    units[used], notes = units_of_chance(rows.groups[used], declared, rows.declared_as)
    return units, notes


def _straddling(rows: Rows, plan: Plan) -> list[str]:
    """What the splits share, which is kept as the source gives it."""
    notes = straddling(plan.parts, rows.groups, "an input")
    if rows.declared is not None:
        notes += straddling(plan.parts, rows.declared, rows.declared_as)
    return notes


def _split(
    rows: Rows, units: np.ndarray, plan: Plan, part: int, preprocessing: Mapping[str, Any]
) -> Split:
    index, texts = plan.rows(part), rows.texts
    return Split(
        inputs=encode(preprocessing, _picked(rows.raw, plan, part, preprocessing["kind"])),
        labels=torch.from_numpy(plan.labels[index]),
        valid=_valid(rows, plan, part, index),
        texts=None if texts is None else tuple(texts[int(i)] for i in index),
        rows=None if rows.rows is None else torch.from_numpy(rows.rows[index].astype(np.int64)),
        groups=torch.from_numpy(units[index]),
    )


def _several_labels(*splits: Split) -> list[str]:
    """A note of the rows for which more than one answer counts as right."""
    valid = [split.valid.lengths for split in splits if split.valid is not None]
    n = sum(int((lengths > 1).sum()) for lengths in valid)
    return (
        [f"{n} rows have an input with several labels, of which any counts as right"] if n else []
    )


def _picked(raw: Any, plan: Plan, part: int, kind: Kind) -> Any:
    index = plan.rows(part)
    if kind == "images":
        start = int((plan.parts < part).sum())
        return raw[start : start + len(index)]
    return raw[index] if isinstance(raw, np.ndarray) else [raw[i] for i in index.tolist()]


def _sort_by_part(raw: np.ndarray, parts: np.ndarray) -> None:
    """Put the rows of each part side by side, in their order; there is no room for a second copy.

    Every cycle of the permutation is followed once.
    """
    order = np.argsort(parts, kind="stable").tolist()
    placed = np.zeros(len(order), dtype=bool)
    for start in range(len(order)):
        if not placed[start]:
            first, i = raw[start].copy(), start
            while order[i] != start:
                raw[i] = raw[order[i]]
                placed[i] = True
                i = order[i]
            raw[i] = first
            placed[i] = True


def _valid(rows: Rows, plan: Plan, part: int, index: np.ndarray) -> Ragged | None:
    """Label sets; those of training and validation rows come from training and validation alone."""
    known = plan.parts != LEFT_OUT if part == TEST else np.isin(plan.parts, (TRAIN, VALIDATION))
    everywhere = valid_of_rows(rows.groups[known], plan.labels[known])
    if everywhere is None:
        return None
    position = np.cumsum(known) - 1
    return everywhere[torch.from_numpy(position[index])]


def _drawn(split: Split, share: float, blind: bool, generator: np.random.Generator) -> np.ndarray:
    """Indices of a share of the rows: of every class, or (``blind``) of all together."""
    labels = np.zeros(len(split), dtype=np.int64) if blind else split.labels.numpy()
    order = np.lexsort((generator.random(len(labels)), labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(labels)) - starts[labels[order]]
    wanted = np.maximum(np.round(share * counts), 1)
    return np.sort(order[rank < wanted[labels[order]]])
