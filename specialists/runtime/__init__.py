"""Seeds, device, precision, threads; processes that die with their parent; the console."""

from specialists.runtime.console import Progress, progress, say
from specialists.runtime.processes import die_with_parent, map_processes
from specialists.runtime.settings import (
    Hardware,
    autocast,
    derive_seed,
    memory,
    most_at_once,
    n_cores,
    pick_device,
    resolve_precision,
    seed_everything,
    threads,
)

__all__ = [
    "Hardware",
    "Progress",
    "autocast",
    "derive_seed",
    "die_with_parent",
    "map_processes",
    "memory",
    "most_at_once",
    "n_cores",
    "pick_device",
    "progress",
    "resolve_precision",
    "say",
    "seed_everything",
    "threads",
]
