"""Which of several initial generalists does each specialist start from?

Specialists of many common classes start from different ones, so that their errors on a class are
independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def assign_generalists(subsets: Sequence[Sequence[int]], n: int) -> list[int]:
    """Assign one of ``n`` generalists to each specialist, so that few classes clash.

    A greedy choice: one after the other, the largest first, takes the one whose specialists share
    the fewest classes with it; of several such, the one with the fewest specialists.

    Parameters
    ----------
    subsets : sequence of sequences of int
        The classes of each specialist.
    n : int

    Returns
    -------
    list of int
        A number from 0 to n - 1 for each specialist.
    """
    shared = np.zeros((n, 1 + max(max(subset) for subset in subsets)), dtype=np.int64)
    taken = np.zeros(n, dtype=np.int64)
    assigned = [0] * len(subsets)
    for index in sorted(range(len(subsets)), key=lambda i: -len(subsets[i])):
        members = list(subsets[index])
        chosen = int(np.lexsort((taken, shared[:, members].sum(1)))[0])
        shared[chosen, members] += 1
        taken[chosen] += 1
        assigned[index] = chosen
    return assigned
