"""Seeds, device, precision, threads; processes that die with their parent; progress."""

from specialists.runtime.conditions import (
    Hardware,
    autocast,
    derive_seed,
    memory,
    most_at_once,
    n_cores,
    pick_device,
    processor_name,
    resolve_precision,
    seed_everything,
    share_of_cores,
    threads,
)
from specialists.runtime.processes import map_processes, one_torch_thread
from specialists.runtime.progress import (
    Progress,
    line_a_minute,
    progress,
    report_progress,
    show_progress,
    working_on,
)
from specialists.runtime.spoken_time import spoken_time
from specialists.runtime.torch_environment import torch_environment

__all__ = [
    "Hardware",
    "Progress",
    "autocast",
    "derive_seed",
    "line_a_minute",
    "map_processes",
    "memory",
    "most_at_once",
    "n_cores",
    "one_torch_thread",
    "pick_device",
    "processor_name",
    "progress",
    "report_progress",
    "resolve_precision",
    "seed_everything",
    "share_of_cores",
    "show_progress",
    "spoken_time",
    "threads",
    "torch_environment",
    "working_on",
]
