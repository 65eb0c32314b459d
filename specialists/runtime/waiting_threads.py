"""What do OpenMP's threads do while they wait for one another?

By default they spin. Where another process needs the core, that takes its time and makes a step of
training slower. Threads that sleep leave it the core. OpenMP reads its environment once, when
PyTorch is loaded: whoever starts a process decides, and a library that is imported cannot.
"""

from __future__ import annotations

import os

CHOSEN_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def sleeping_threads() -> dict[str, str]:
    """Variables with which the threads of a new process sleep; none where the user has chosen.

    Examples
    --------
    >>> os.environ.update(sleeping_threads())  # before PyTorch is loaded  # doctest: +SKIP
    """
    chosen = any(name in os.environ for name in CHOSEN_BY)
    return {} if chosen else {"OMP_WAIT_POLICY": "PASSIVE"}
