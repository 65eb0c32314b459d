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
from specialists.runtime.displays import (
    LineAMinute,
    NotebookBar,
    TerminalBar,
    display_on,
    in_notebook,
    show_progress,
)
from specialists.runtime.freed_memory import keep_freed_memory
from specialists.runtime.processes import check_guarded, map_processes, one_torch_thread
from specialists.runtime.progress import (
    Display,
    Progress,
    expect,
    progress,
    report_progress,
    working_on,
)
from specialists.runtime.spoken_time import clock_time, spoken_time
from specialists.runtime.torch_environment import torch_environment

__all__ = [
    "Display",
    "Hardware",
    "LineAMinute",
    "NotebookBar",
    "Progress",
    "TerminalBar",
    "autocast",
    "check_guarded",
    "clock_time",
    "derive_seed",
    "display_on",
    "expect",
    "in_notebook",
    "keep_freed_memory",
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
