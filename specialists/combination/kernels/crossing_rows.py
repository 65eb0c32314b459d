"""How does compiled code combine rows whose active subsets overlap in any way?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from specialists.combination.kernels import overlapping_slots
from specialists.combination.kernels.overlapping_slots import (
    CODE,
    COUNT,
    GRAM,
    LOG_FACTOR,
    MASS,
    OUTSIDE,
    B,
    solve_patterns,
)
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

MOST_SLOTS = 14
_MOST_PATTERNS = 160

for _function in overlapping_slots.JITABLE:
    register_jitable(**STRICT)(_function)


@register_jitable(**STRICT)
def _add_entries_by_code(n_active, slots, v, classes, sizes, entries, c, codes):
    """Add the specialists to ``c``; bit t of a class's code says that slot t holds it."""
    start = 0
    for t in range(n_active):
        m = slots[t]
        weight, bit = c.dtype.type(v[m]), 1 << t
        for i in range(sizes[m]):
            j = classes[m, i]
            c[j] += weight * entries[start + i]
            codes[j] |= bit
        start += sizes[m]


@register_jitable(**STRICT)
def _collect_patterns(n_active, slots, classes, sizes, entries, c, codes, patterns, numbers, x):
    """``c`` at the entries, their patterns, and the patterns' masses and numbers of classes in x.

    Pattern 0 is the rest, whose classes are what is left in ``c``. A class's code is taken back
    where the class is met first; entries of the class met later have pattern -1. Returns the number
    of entries, of patterns (more than there is room for, if they do not fit) and the least ``c``.
    """
    n_entries, n_patterns, smallest = 0, 1, c.dtype.type(np.inf)
    for t in range(n_active):
        m = slots[t]
        for i in range(n_entries, n_entries + sizes[m]):
            j = classes[m, i - n_entries]
            code, value = codes[j], c[j]
            patterns[i], entries[i] = -1, 1
            if code == 0:
                continue
            p = numbers[code]
            if p == 0:
                p = min(n_patterns, _MOST_PATTERNS - 1)
                numbers[code] = p
                n_patterns += 1
                x[MASS, p], x[COUNT, p], x[CODE, p] = 0.0, 0.0, code
                for u in range(n_active):
                    x[OUTSIDE + u, p] = 1 - ((code >> u) & 1)
            codes[j], c[j], patterns[i], entries[i] = 0, 0, p, value
            x[MASS, p] += value
            x[COUNT, p] += 1
            smallest = value if value < smallest else smallest
        n_entries += sizes[m]
    if n_patterns > _MOST_PATTERNS:
        for code in range(len(numbers)):
            numbers[code] = 0
    for p in range(1, min(n_patterns, _MOST_PATTERNS)):
        numbers[int(x[CODE, p])] = 0
    return n_entries, n_patterns, smallest


@register_jitable(**STRICT)
def _add_rest(n_active, n_patterns, c, x, limits):
    """Add pattern 0, which may be without a class; whether every pattern's mass can be held."""
    n_rest, fits = len(c), True
    for p in range(1, n_patterns):
        n_rest -= x[COUNT, p]
        fits = fits and limits[1] <= x[MASS, p] <= limits[2]
    x[MASS, 0], x[COUNT, 0] = sum_of(c), n_rest
    for u in range(n_active):
        x[OUTSIDE + u, 0] = 1.0 if n_rest > 0 else 0.0
    return fits and (n_rest == 0 or limits[1] <= x[MASS, 0])


@register_jitable(**STRICT)
def _write_patterns(row, n_active, slots, classes, sizes, entries, patterns, x, log_q):
    start = 0
    for t in range(n_active):
        m = slots[t]
        for i in range(sizes[m]):
            p = patterns[start + i]
            if p >= 0:
                amount = log_q.dtype.type(x[LOG_FACTOR, p])
                log_q[row, classes[m, i]] = entries[start + i] + amount
        start += sizes[m]


def crossing_memory(n_classes: int, n_entries: int, n_subsets: int, dtype: Any) -> list[Any]:
    """Memory of one thread."""
    return [
        np.empty(n_classes, dtype),
        np.empty(n_entries, dtype),
        np.empty(n_subsets, np.int64),
        np.zeros(n_classes, np.int32),
        np.empty(n_entries, np.int16),
        np.zeros(2**MOST_SLOTS, np.int16),
        np.empty(n_subsets),
        np.empty((OUTSIDE + MOST_SLOTS, _MOST_PATTERNS)),
        np.empty((GRAM + MOST_SLOTS, MOST_SLOTS)),
    ]


def solve_crossing_rows(
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
    codes,
    patterns,
    numbers,
    b,
    x,
    y,
):
    """As ``solve_separate_rows``; rows with more active specialists than there is room for stay."""
    for row in range(first, last):
        if not left[row]:
            continue
        n_active, is_shared = find_slots(row, active, relations, slots)
        if not is_shared or n_active > MOST_SLOTS:
            continue
        if not abs(read_row(log_g, row, c) - 1) <= limits[0]:
            continue
        if not read_specialists(
            row, n_active, slots, addresses, strides, v, sizes, limits[0], len(c), entries, b
        ):
            continue
        _add_entries_by_code(n_active, slots, v, classes, sizes, entries, c, codes)
        n_entries, n_patterns, smallest = _collect_patterns(
            n_active, slots, classes, sizes, entries, c, codes, patterns, numbers, x
        )
        if n_patterns > _MOST_PATTERNS or not _add_rest(n_active, n_patterns, c, x, limits):
            continue
        for t in range(n_active):
            y[B, t] = b[t]
        worst, steps = solve_patterns(x, y, n_active, n_patterns)
        shift_row(log_g, row, x[LOG_FACTOR, 0], log_q)
        if smallest >= limits[3]:
            log_entries(entries, n_entries)
        else:
            log_entries_by_logs(
                log_g, row, n_active, slots, addresses, strides, v, classes, sizes, c, entries
            )
        _write_patterns(row, n_active, slots, classes, sizes, entries, patterns, x, log_q)
        residual[row], n_steps[row], left[row] = worst, steps, not worst <= limits[4]
