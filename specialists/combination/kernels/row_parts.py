"""What does compiled code do with one row, whatever its subsets? It reads, adds up and writes.

``log_g``, ``log_q`` and the specialists' matrices have one dtype; ``c`` (n_classes) and ``entries``
(all classes of all subsets) are memory of that dtype. The active specialists stand in ``slots``.
"""

# pyright: reportCallIssue=false, reportPrivateImportUsage=false

from __future__ import annotations

import math

import numpy as np
from numba import carray, njit, types
from numba.core.typing import signature
from numba.extending import intrinsic, register_jitable

from specialists.combination.kernels.elementary import exp_of, log_of

STRICT = {"error_model": "numpy", "fastmath": False}
_SUMS = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
_BLOCK = 4096


@intrinsic
def _at_address(typing_context, address):
    def generate(context, builder, sig, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return signature(types.voidptr, address), generate


@register_jitable(**_SUMS)
def sum_of(x):
    """Sum in double precision of sums of 4,096 numbers.

    An index that starts from 0 is never negative, as the compiler sees: only then does it
    vectorise. So parts of an array are handed over as arrays.
    """
    total = 0.0
    for begin in range(0, len(x), _BLOCK):
        total += _sum_of_block(x[begin : begin + _BLOCK])
    return total


@njit(**_SUMS)
def _sum_of_block(x):
    total = x.dtype.type(0)
    for j in range(len(x)):
        total += x[j]
    return total


@register_jitable(**STRICT)
def find_slots(row, active, relations, slots):
    """How many specialists are active, into ``slots``, and whether two of them share a class."""
    n_active, is_shared = 0, False
    for m in range(active.shape[1]):
        if active[row, m]:
            for t in range(n_active):
                is_shared = is_shared or relations[slots[t], m] > 0
            slots[n_active] = m
            n_active += 1
    return n_active, is_shared


@register_jitable(**STRICT)
def read_row(log_g, row, c):
    """``g``, into ``c``, and its sum."""
    for j in range(len(c)):
        c[j] = exp_of(log_g[row, j])
    return sum_of(c)


@register_jitable(**STRICT)
def read_specialists(
    row, n_active, slots, addresses, strides, v, sizes, tolerance, n_classes, entries, b
):
    """Probabilities at the entries, weighted dustbins, and whether the row can be solved.

    They sum to 1, and there is a minimiser. A matrix stands where ``addresses`` say, ``strides``
    bytes between its rows.
    """
    start, fits = 0, True
    for t in range(n_active):
        m = slots[t]
        size, address = sizes[m], _at_address(addresses[m] + row * strides[m])
        log_p = carray(address, (size + 1,), entries.dtype)
        p = entries[start : start + size]
        for i in range(len(p)):
            p[i] = exp_of(log_p[i])
        dustbin = math.exp(log_p[size])
        fits = fits and abs(sum_of(p) + dustbin - 1) <= tolerance
        fits = fits and (size < n_classes or dustbin == 0)
        b[t] = dustbin * v[m]
        start += size
    return fits


@register_jitable(**STRICT)
def shift_row(log_g, row, factor, log_q):
    """``log q`` of the classes outside of the active subsets."""
    amount = log_q.dtype.type(factor)
    for j in range(log_q.shape[1]):
        log_q[row, j] = log_g[row, j] + amount


@register_jitable(**STRICT)
def log_entries(entries, n_entries):
    """``log c`` of ``c`` at the entries, none of which is close to zero."""
    for i in range(n_entries):
        entries[i] = log_of(entries[i])


@register_jitable(**STRICT)
def log_entries_by_logs(
    log_g, row, n_active, slots, addresses, strides, v, classes, sizes, log_c, entries
):
    """The same, by logs throughout, where some ``c`` is close to the smallest number."""
    for turn in range(3):
        start = 0
        for t in range(n_active):
            m = slots[t]
            address = _at_address(addresses[m] + row * strides[m])
            log_p, log_v = carray(address, (sizes[m] + 1,), entries.dtype), math.log(v[m])
            for i in range(sizes[m]):
                j = classes[m, i]
                if turn == 0:
                    log_c[j] = log_g[row, j]
                elif turn == 1:
                    high, low = log_p[i] + log_v, np.float64(log_c[j])
                    if low > high:
                        high, low = low, high
                    if low > -np.inf:
                        high += math.log1p(math.exp(low - high))
                    log_c[j] = high
                else:
                    entries[start + i] = log_c[j]
            start += sizes[m]
