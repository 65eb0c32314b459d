"""How far has a run come? As a table for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from specialists.escaping import printable
from specialists.files import disk_use, storage_faults
from specialists.files.ownership import MANIFEST, json_object

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
    for row in _rows(run):
        reason = Text(printable(row.reason), overflow="fold")
        table.add_row(row.name, Text(row.state, STYLES[row.state]), reason)
    with storage_faults("standard output"):
        Console(soft_wrap=True).print(table)


def status_values(run: Run) -> dict[str, object]:
    """The same, JSON-able, with the bytes that the run takes."""
    rows = [{"stage": row.name, "state": row.state, "why": row.reason} for row in _rows(run)]
    return {"run": str(run.folder), "stages": rows, "disk_bytes": disk_use(run.folder)}


def _rows(run: Run) -> Iterator[stages.StageStatus]:
    """Of every stage; in a folder of ``specialists distill``, of those that were begun there.

    Its students wait for the data, and for a file of predictions that teaches them, alone: other
    stages may be left from other teachers. Whether those that lie elsewhere have changed is told by
    that command.
    """
    folder = run.path(stages.TAUGHT.name)
    if not folder.is_dir():
        return stages.status(run)
    begun = [stage for stage in stages.STAGES if run.path(stage.name).is_dir()]
    recorded = json_object(folder / MANIFEST).get("inputs")
    inputs = recorded if isinstance(recorded, dict) else {}
    teachers = {name: inputs[name] for name in inputs if "teacher/" in name or name == "mean"}
    by_a_file = any(name.endswith("teacher/file") for name in teachers)
    needed = ("prepare-data", *(["train-generalist"] if by_a_file else []))
    taught = replace(stages.TAUGHT, elsewhere=teachers)
    *_, students = stages.status(run, [*map(stages.find_stage, needed), taught])
    return chain(stages.status(run, begun), [students])
