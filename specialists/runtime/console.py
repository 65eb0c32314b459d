"""How does a person see that it goes on, how fast, and how long it will take?

Bars go to standard error and only to a terminal; `say` prints one plain line to standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from specialists.escaping import printable
from specialists.runs import storage_faults

if TYPE_CHECKING:
    import rich.progress

QUIET = "SPECIALISTS_QUIET"


class Progress:
    """One bar; without a display it counts in silence.

    Parameters
    ----------
    display : rich.progress.Progress, optional
    task : int, optional
        Its row in the display.
    """

    def __init__(self, display: rich.progress.Progress | None = None, task: Any = None) -> None:
        self._display = display
        self._task = task
        self.done = 0

    def advance(self, k: int = 1) -> None:
        """``k`` more units are done."""
        self.done += k
        if self._display is not None:
            self._display.advance(self._task, k)


_active: list[rich.progress.Progress] = []


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Progress]:
    """Show a bar with rate and time left while the block runs.

    Bars may be nested; the inner one is another row of the same display. Nothing is shown where
    standard error is no terminal or the environment sets ``SPECIALISTS_QUIET=1``.

    Parameters
    ----------
    description : str
    total : int, optional
        Number of units; None where it is not known.
    """
    if os.environ.get(QUIET) == "1" or not sys.stderr.isatty():
        yield Progress()
    elif _active:
        with _row(_active[-1], description, total) as row:
            yield row
    else:
        with _display() as display, _row(display, description, total) as row:
            yield row


def say(text: str, end: str = "\n") -> None:
    """Print plain text, above the bars if there are any."""
    with storage_faults("standard output"):
        print(printable(text), end=end, flush=True)


@contextmanager
def _display() -> Iterator[rich.progress.Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    display = RichProgress(*columns, console=Console(stderr=True), transient=True)
    _active.append(display)
    try:
        with display:
            yield display
    finally:
        _active.remove(display)


@contextmanager
def _row(
    display: rich.progress.Progress, description: str, total: int | None
) -> Iterator[Progress]:
    task = display.add_task(printable(description), total=total, rate="")
    try:
        yield _Timed(display, task)
    finally:
        display.remove_task(task)


class _Timed(Progress):
    """A bar that shows its rate."""

    def advance(self, k: int = 1) -> None:
        super().advance(k)
        if self._display is None:
            return
        speed = next(task.speed for task in self._display.tasks if task.id == self._task)
        if speed:
            self._display.update(
                self._task, rate=f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s"
            )
