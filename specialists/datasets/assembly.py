"""How do labelled rows become a data set? Every source of the user's own data ends here.

The source says what the rows are; here they are split, checked, standardised and encoded, and get
their sets of valid labels, alike for all sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from specialists.config import DataConfig
from specialists.datasets.base import Dataset, Inputs, Kind, Preprocessing, Ragged, Split
from specialists.datasets.class_names import valid_of_rows
from specialists.datasets.encoding import encode, standardisation, standardisation_of
from specialists.datasets.fetched_rows import only_rows
from specialists.datasets.observations import (
    same_digest,
    same_input,
    straddling,
    units_of_chance,
)
from specialists.datasets.raw_rows import RawRows, digests_of, fetched_rows
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, Plan, plan_splits
from specialists.datasets.text import clean


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows of one source; arrays have shape (n,).

    ``raw`` holds n inputs, as ``encode`` takes them, or is a :class:`RawRows`.

    Rows that the source says are one observation share a number in ``declared``.
    :func:`assemble` puts the rows of images in another order.
    """

    raw: Any
    labels: np.ndarray  # index into ``names``, of which some may not occur
    names: Sequence[str]
    given: np.ndarray  # TRAIN, VALIDATION, TEST or LEFT_OUT, as the source says
    notes: tuple[str, ...]
    texts: list[str] | None = None  # for people to read
    rows: np.ndarray | None = None  # line or row of each example in the user's file
    declared: np.ndarray | None = None
    declared_as: str = "group"  # what ``declared`` counts, for people
    weights: np.ndarray | None = None  # how many rows each one counts as
    predictions: torch.Tensor | None = None  # a generalist's log-probabilities of ``names``
    positions: np.ndarray | None = None  # among all rows of the source; None: all are here
    parts: Mapping[str, int] = field(default_factory=dict)  # as ``Dataset`` has them
    where: object = None  # what the labels come from, for messages


def assemble(
    rows: LabelledRows,
    config: DataConfig,
    seed: int,
    name: str,
    preprocessing: Preprocessing,
    source: Mapping[str, str],
    keep_all: bool = False,
) -> Dataset:
    """Split, check and encode the rows; ``seed`` is that of the splits that are cut here.

    ``config`` gives ``min_examples``, ``validation_fraction``, ``test_fraction`` and
    ``standardize``. ``mean`` and ``std`` of the preprocessing come from training rows alone. With
    ``keep_all`` no test is cut, and no class is too small: where a split has no row, the one before
    it stands in.
    """
    kind, raw = preprocessing["kind"], rows.raw
    groups = _equal_inputs(raw, preprocessing)
    units, notes = _units(rows, groups)
    limits = config.model_dump(include={"min_examples", "validation_fraction", "test_fraction"})
    given = (rows.labels, rows.names, units, rows.given)
    plan = plan_splits(*given, seed=seed, keep_all=keep_all, where=rows.where, **limits)
    notes = [*rows.notes, *notes, *plan.notes, *straddling(plan.parts, groups, "an input")]
    if rows.declared is not None:
        notes += straddling(plan.parts, rows.declared, rows.declared_as)
    if kind == "features" and config.standardize is not False:
        preprocessing = {**preprocessing, **_standardisation(raw, plan.rows(TRAIN))}
    if kind == "images" and not isinstance(raw, RawRows):
        _sort_by_part(raw, plan.parts)
    splits: list[Split] = []
    for part in (TRAIN, VALIDATION, TEST):
        index = plan.rows(part)
        if not len(index):
            splits.append(splits[-1])
            continue
        if isinstance(raw, RawRows):
            inputs: Inputs = fetched_rows(raw, preprocessing, index)
        else:
            inputs = encode(preprocessing, _picked(raw, plan, part, kind))
        about = {"valid": _valid(groups, plan, part), "groups": torch.from_numpy(units[index])}
        splits.append(replace(_split(rows, plan, index, inputs), **about))
    n = sum(int((split.valid.lengths > 1).sum()) for split in splits if split.valid is not None)
    if n:
        notes.append(f"{n} rows have an input with several labels, of which any counts as right")
    return Dataset(
        name,
        kind,
        plan.class_names,
        *splits,
        preprocessing=preprocessing,
        notes=tuple(notes),
        source=source,
        parts=rows.parts or {"": len(rows.labels)},
    )


def limit(dataset: Dataset, max_examples: int, seed: int) -> Dataset:
    """At most about ``max_examples`` rows, drawn from every split alike, for trying things out.

    Every class keeps a training and a validation row. The test split is drawn without a look at
    its labels.
    """
    total = sum(map(len, dataset.splits.values()))
    if total <= max_examples:
        return dataset
    generator = np.random.default_rng(seed)
    kept = {
        name: take(split, draw_share(labels, max_examples / total, generator))
        for name, split in dataset.splits.items()
        for labels in [np.zeros(len(split), int) if name == "test" else split.labels.numpy()]
    }
    note = f"{sum(map(len, kept.values()))} of {total} rows drawn (data.max_examples)"
    return replace(dataset, **kept, notes=(*dataset.notes, note))


def take(split: Split, index: np.ndarray) -> Split:
    """The rows of ``split`` named by ``index``, in its order."""
    rows, texts = torch.from_numpy(np.asarray(index, dtype=np.int64)), split.texts
    return Split(
        inputs=only_rows(split.inputs, rows),
        labels=split.labels[rows],
        valid=None if split.valid is None else split.valid[rows],
        texts=None if texts is None else tuple(texts[i] for i in rows.tolist()),
        rows=None if split.rows is None else split.rows[rows],
        groups=None if split.groups is None else split.groups[rows],
        weights=None if split.weights is None else split.weights[rows],
        predictions=None if split.predictions is None else split.predictions[rows],
        positions=None if split.positions is None else split.positions[rows],
    )


def _equal_inputs(raw: Any, preprocessing: Preprocessing) -> np.ndarray:
    if isinstance(raw, RawRows):
        return same_digest(digests_of(raw) if raw.digests is None else raw.digests)
    is_text = preprocessing["kind"] == "text"
    return same_input(clean(raw, preprocessing.get("lowercase", False)) if is_text else raw)


def _units(rows: LabelledRows, groups: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Units of chance of the rows in use; each of the others stands alone and joins no two."""
    used = rows.given != LEFT_OUT
    units = np.arange(len(used), 2 * len(used))
    declared = None if rows.declared is None else rows.declared[used]
    units[used], notes = units_of_chance(groups[used], declared, rows.declared_as)
    return units, notes


def _split(rows: LabelledRows, plan: Plan, index: np.ndarray, inputs: Inputs) -> Split:
    """Encoded inputs, and what the source says of these rows."""
    numbers = None if rows.rows is None else rows.rows[index].astype(np.int64)
    weights = None if rows.weights is None else rows.weights[index].astype(np.float32)
    positions = index if rows.positions is None else rows.positions[index]
    return Split(
        inputs=inputs,
        labels=torch.from_numpy(plan.labels[index]),
        texts=None if rows.texts is None else tuple(rows.texts[i] for i in index.tolist()),
        rows=None if numbers is None else torch.from_numpy(numbers),
        weights=None if weights is None else torch.from_numpy(weights),
        predictions=None if rows.predictions is None else rows.predictions[index],
        positions=torch.from_numpy(positions.astype(np.int64)),
    )


def _standardisation(raw: Any, index: np.ndarray) -> Preprocessing:
    if isinstance(raw, RawRows):
        blocks = (rows.astype(np.float32, copy=False) for _, rows in raw.blocks(index))
        return standardisation_of(blocks)
    return standardisation(raw[index])


def _picked(raw: Any, plan: Plan, part: int, kind: Kind) -> Any:
    index = plan.rows(part)
    if kind == "images":  # a view: they were sorted
        start = int((plan.parts < part).sum())
        return raw[start : start + len(index)]
    return [raw[i] for i in index.tolist()] if kind == "text" else raw[index]


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


def _valid(groups: np.ndarray, plan: Plan, part: int) -> Ragged | None:
    """Label sets; those of training and validation rows come from training and validation alone."""
    known = plan.parts != LEFT_OUT if part == TEST else np.isin(plan.parts, (TRAIN, VALIDATION))
    everywhere = valid_of_rows(groups[known], plan.labels[known])
    if everywhere is None:
        return None
    return everywhere[torch.from_numpy(np.flatnonzero(plan.parts[known] == part))]


def draw_share(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Increasing indices of a share of the rows of each class, at least one of each."""
    order = np.lexsort((generator.random(len(labels)), labels))
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[labels[order]]
    wanted = np.maximum(np.round(share * counts), 1)
    return np.sort(order[rank < wanted[labels[order]]])
