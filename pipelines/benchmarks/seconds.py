"""How many seconds of the processor do jobs take that have turns?"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping


def best_of(jobs: Mapping[str, Callable[[], object]], n_rounds: int) -> dict[str, float]:
    """The seconds of each job, of this process and its children, in its best round."""
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(n_rounds):
        for name, job in jobs.items():
            start = seconds_used()
            job()
            best[name] = min(best[name], seconds_used() - start)
    return best


def seconds_used() -> float:
    """Of the processor, by this process and its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
