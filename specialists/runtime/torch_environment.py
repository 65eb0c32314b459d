"""What does PyTorch read from its environment, once, when it is loaded?

How OpenMP's threads wait for one another: by default they spin. Where another process needs the
core, that takes its time and makes a step of training slower. Threads that sleep leave it the core.

Whoever starts a process decides; a library that is imported cannot.
"""

from __future__ import annotations

import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def torch_environment() -> dict[str, str]:
    """Variables with which the threads of a new process sleep; none where the user has chosen.

    Examples
    --------
    >>> os.environ.update(torch_environment())  # before PyTorch is loaded  # doctest: +SKIP
    """
    chosen = any(name in os.environ for name in WAITING)
    return {} if chosen else {WAITING[0]: "PASSIVE"}
