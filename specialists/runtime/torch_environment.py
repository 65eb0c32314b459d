"""What does PyTorch read from its environment, once, when it is loaded?

How OpenMP's threads wait for one another: by default they spin. Where another process needs the
core, that takes its time and makes a step of training slower. Threads that sleep leave it the core.

How large the pages of its memory are: rows of a large n-gram table are read here and there, and
with pages of 4 KiB nearly each of them costs the processor a walk through the page table. With
pages of 2 MiB (Linux, where ``transparent_hugepage`` is at least ``madvise``) a step of training
takes four fifths of the time.

Whoever starts a process decides; a library that is imported cannot.
"""

from __future__ import annotations

import os

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def torch_environment() -> dict[str, str]:
    """Variables for a new process: threads that sleep, large pages; none that the user has set.

    Examples
    --------
    >>> os.environ.update(torch_environment())  # before PyTorch is loaded  # doctest: +SKIP
    """
    waiting = {} if any(name in os.environ for name in WAITING) else {WAITING[0]: "PASSIVE"}
    return waiting | ({} if LARGE_PAGES in os.environ else {LARGE_PAGES: "1"})
