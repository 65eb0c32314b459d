"""Which rows are one observation? Rows that share an input, a concept or a writer.

Such rows are right or wrong together, so chance deals out whole groups of them: splits, tests and
intervals draw groups, not rows. Rows with the same input always share one. Where the data declare
groups of another kind too, rows that hang together by either kind are one group (a connected
component), unless that would chain a large share of the data to one group.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain, pairwise
from typing import Any

import numpy as np

from specialists.datasets.base import Inputs, NamedTensors, Ragged
from specialists.datasets.fetched_rows import block_rows
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION
from specialists.errors import DataWarning

LARGEST_SHARE = 0.05  # of the rows, in one joined group
ROWS_AT_A_TIME = 1 << 16


def same_input(raw: Sequence[Any] | np.ndarray | NamedTensors) -> np.ndarray:
    """Group of every row, int64 (n,): the rows of equal inputs, and only those, share one.

    Inputs are a sequence of hashable things, an array whose first axis is the rows, or tensors.
    """
    if isinstance(raw, np.ndarray):
        return same_digest(digests(raw))
    if isinstance(raw, NamedTensors):
        raw = _tensor_keys(raw)
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in raw], dtype=np.int64)


def digests(rows: np.ndarray) -> np.ndarray:
    """128 bits of each row, uint64 (n, 2), equal where rows are."""
    each = (blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(rows))
    return np.frombuffer(b"".join(each), dtype=np.uint64).reshape(-1, 2)


def same_digest(digests: np.ndarray) -> np.ndarray:
    """Rows of equal digests share a number, int64 (n,), in the order in which they come first."""
    order = np.lexsort(digests.T)  # stable: the first row of each digest leads its run
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    run = np.empty(len(order), dtype=np.int64)
    run[order] = np.cumsum(begins) - 1
    number = np.empty(int(begins.sum()), dtype=np.int64)
    number[np.argsort(order[begins])] = np.arange(len(number))
    return number[run]


def input_groups(*inputs: Inputs) -> np.ndarray:
    """As :func:`same_input`, of encoded inputs, those of several splits one after another."""
    return same_input(list(chain.from_iterable(map(_encoded_keys, inputs))))


def units_of_chance(
    inputs: np.ndarray, declared: np.ndarray | None, name: str = "group"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The group of each row that chance deals out whole, and notes.

    Rows with the same input share a number in ``inputs``, int (n,), and rows that the data say
    belong together in ``declared``, which counts ``name``. The result, int64 (n,) from 0, joins
    groups of both kinds. It is ``declared`` alone where the largest joined group would hold more
    than 5% of the rows.
    """
    if declared is None:
        return _numbered(inputs), ()
    declared, units = _numbered(declared), joined(inputs, declared)
    n_units, largest = _n_groups(units), int(np.bincount(units, minlength=1).max())
    if n_units == _n_groups(declared) or largest <= LARGEST_SHARE * len(units):
        return units, (f"{n_units:,} groups: rows that share {name} or an input",)
    several = np.bincount(_distinct_pairs(inputs, declared)[0])[_numbered(inputs)] > 1
    return declared, (
        f"{_n_groups(declared):,} groups: rows that share {name}; joined by equal inputs "
        f"too, one would hold {largest / len(units):.0%} of the rows (rows with an input that "
        f"another group has: {several.sum()})",
    )


def joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Groups of the rows that hang together by either of two groupings, int64 (n,), from 0.

    Examples
    --------
    >>> joined(np.array([0, 0, 1, 2]), np.array([5, 6, 6, 7])).tolist()
    [0, 0, 0, 1]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    a, b = _distinct_pairs(first, second)
    n_first, n = _n_groups(a), _n_groups(a) + _n_groups(b)
    edges = coo_matrix((np.ones(len(a), dtype=np.int8), (a, n_first + b)), shape=(n, n))
    component = connected_components(edges, directed=False)[1]
    return component[_numbered(first)].astype(np.int64)


def declared_groups(
    columns: Sequence[Sequence[Any]], names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """The rows that agree in all columns share a number, int64 (n,); a note of rows without values.

    Blank strings and NaN are no values: a row with one stands alone. ``names`` are those of the
    columns or arrays, for people.
    """
    rows = list(zip(*columns, strict=True))
    groups = same_input(rows)
    blank = np.array([any(map(_is_blank, row)) for row in rows], dtype=bool)
    n = int(blank.sum())
    groups[blank] = len(groups) + np.arange(n)
    note = f"rows without a value of {' and '.join(map(repr, names))}, each a unit of its own: {n}"
    return groups, [note] if n else []


def shared_values(names: Sequence[str] | None) -> str:
    """What rows of one group share, for people."""
    if len(names := list(map(repr, names or ()))) == 1:
        return f"a value of {names[0]}"
    return f"the same {' and the same '.join(names)}"


def _is_blank(value: Any) -> bool:
    return value != value or not str(value).strip()


def straddling(parts: np.ndarray, groups: np.ndarray, shared: str) -> list[str]:
    """Warn of groups that lie in several splits, and count their validation and test rows.

    ``parts`` and ``groups`` are int (n,); ``shared`` is what the rows of a group share, for people.
    """
    numbered = _numbered(groups)
    n_parts = np.zeros(_n_groups(numbered), dtype=np.int64)
    for part in (TRAIN, VALIDATION, TEST):
        n_parts[np.unique(numbered[parts == part])] += 1
    n = int(((parts != LEFT_OUT) & (parts != TRAIN) & (n_parts[numbered] > 1)).sum())
    if not n:
        return []
    message = f"validation and test rows with {shared} that another split has too: {n}"
    warnings.warn(message, DataWarning, stacklevel=2)
    return [message]


def _encoded_keys(inputs: Inputs) -> Sequence[Any]:
    if isinstance(inputs, NamedTensors):
        return _tensor_keys(inputs)
    if not isinstance(inputs, Ragged):
        size = block_rows(inputs, ROWS_AT_A_TIME)
        starts = range(0, len(inputs), size)
        blocks = (digests(inputs[start : start + size].numpy()) for start in starts)
        return [row.tobytes() for block in blocks for row in block]
    values, offsets = inputs.values.numpy(), inputs.offsets.tolist()
    return [values[start:end].tobytes() for start, end in pairwise(offsets)]


def _tensor_keys(inputs: NamedTensors) -> Sequence[Any]:
    found = [digests(tensor.numpy()) for tensor in inputs.tensors.values()]
    return [row.tobytes() for row in np.concatenate(found, axis=1)]


def _distinct_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Each pair of numbers that some row has, once, of shape (2, n_pairs); both from 0."""
    return np.unique(np.stack([_numbered(first), _numbered(second)]), axis=1)


def _numbered(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _n_groups(numbered: np.ndarray) -> int:
    return int(numbered.max(initial=-1)) + 1
