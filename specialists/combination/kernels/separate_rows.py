"""How does compiled code combine rows whose active subsets do not overlap?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from specialists.combination.kernels import disjoint_slots
from specialists.combination.kernels.disjoint_slots import solve_slots
from specialists.combination.kernels.row_parts import (
    STRICT,
    find_slots,
    log_entries,
    log_entries_by_logs,
    read_row,
    read_specialists,
    shift_row,
    sum_of,
)

for _function in disjoint_slots.JITABLE:
    register_jitable(**STRICT)(_function)


@register_jitable(**STRICT)
def _add_entries(n_active, slots, v, classes, sizes, entries, c, a):
    """``c`` at the entries and its sums over the slots; the number of entries and the least ``c``.

    What is left in ``c`` are the classes outside, so that the rest is a sum, never a difference.
    """
    n_entries, smallest = 0, c.dtype.type(np.inf)
    for t in range(n_active):
        m = slots[t]
        weight, mass = c.dtype.type(v[m]), 0.0
        for i in range(sizes[m]):
            j = classes[m, i]
            value = c[j] + weight * entries[n_entries + i]
            entries[n_entries + i] = value
            c[j] = 0
            mass += value
            smallest = value if value < smallest else smallest
        a[t] = mass
        n_entries += sizes[m]
    return n_entries, smallest


@register_jitable(**STRICT)
def _masses_fit(n_active, a, rest, n_rest, limits):
    """Whether every mass is a number that this precision can hold."""
    fit = n_rest == 0 or rest >= limits[1]
    for t in range(n_active):
        fit = fit and limits[1] <= a[t] <= limits[2]
    return fit


@register_jitable(**STRICT)
def _write_slots(row, n_active, slots, classes, sizes, entries, factor, log_q):
    start = 0
    for t in range(n_active):
        m = slots[t]
        amount = log_q.dtype.type(factor[t])
        for i in range(sizes[m]):
            log_q[row, classes[m, i]] = entries[start + i] + amount
        start += sizes[m]


def separate_memory(n_classes: int, n_entries: int, n_subsets: int, dtype: Any) -> list[Any]:
    """Memory of one thread."""
    of_slots = (np.int64, np.float64, np.float64, np.float64)
    return [
        np.empty(n_classes, dtype),
        np.empty(n_entries, dtype),
        *(np.empty(n_subsets, kind) for kind in of_slots),
    ]


def solve_separate_rows(
    first,
    last,
    log_g,
    log_q,
    active,
    addresses,
    strides,
    v,
    classes,
    sizes,
    relations,
    limits,
    residual,
    n_steps,
    left,
    c,
    entries,
    slots,
    a,
    b,
    factor,
):
    """Combine those of the rows ``first ... last - 1`` that are ``left``; they no longer are then.

    A row that is left needs the torch solvers, which know every special case and raise what is to
    be raised. ``limits`` are of a row's sum from 1, the least and the most mass of a pattern, the
    least ``c`` of an entry, and the largest residual. ``c`` and what follows are memory, allocated
    by the caller, since code that allocates takes long to compile.
    """
    for row in range(first, last):
        if not left[row]:
            continue
        n_active, is_shared = find_slots(row, active, relations, slots)
        if is_shared or not abs(read_row(log_g, row, c) - 1) <= limits[0]:
            continue
        left[row] = n_active > 0
        if not left[row]:
            shift_row(log_g, row, 0.0, log_q)
            continue
        if not read_specialists(
            row, n_active, slots, addresses, strides, v, sizes, limits[0], len(c), entries, b
        ):
            continue
        n_entries, smallest = _add_entries(n_active, slots, v, classes, sizes, entries, c, a)
        rest, n_rest = sum_of(c), len(c) - n_entries
        if not _masses_fit(n_active, a, rest, n_rest, limits):
            continue
        log_rest, worst, steps = solve_slots(a, b, factor, n_active, rest, float(n_rest))
        shift_row(log_g, row, log_rest, log_q)
        if smallest >= limits[3]:
            log_entries(entries, n_entries)
        else:
            log_entries_by_logs(
                log_g, row, n_active, slots, addresses, strides, v, classes, sizes, c, entries
            )
        _write_slots(row, n_active, slots, classes, sizes, entries, factor, log_q)
        residual[row], n_steps[row], left[row] = worst, steps, not worst <= limits[4]
