"""How far has a run come? As a table for people, and as JSON for programs."""

from __future__ import annotations

from specialists.escaping import printable
from specialists.files import disk_use, storage_faults

from . import stages
from .runs import Run

STYLES = {"done": "green", "stale": "yellow", "missing": "red"}


def show_status(run: Run) -> None:
    """Print a table with one row a stage."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("stage", "state", "why", box=box.SIMPLE_HEAD)
    for row in stages.status(run):
        reason = Text(printable(row.reason), overflow="fold")
        table.add_row(row.name, Text(row.state, STYLES[row.state]), reason)
    with storage_faults("standard output"):
        Console(soft_wrap=True).print(table)


def status_values(run: Run) -> dict[str, object]:
    """The same, JSON-able, with the bytes that the run takes."""
    rows = [
        {"stage": row.name, "state": row.state, "why": row.reason} for row in stages.status(run)
    ]
    return {"run": str(run.folder), "stages": rows, "disk_bytes": disk_use(run.folder)}
