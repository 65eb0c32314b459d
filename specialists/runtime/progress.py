"""How does a person see that work goes on, how fast, and how long it will take?

A library shows nothing unless it is asked to: :func:`show_progress` names the console for bars.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from specialists.escaping import printable

if TYPE_CHECKING:
    import rich.console
    import rich.progress


class Progress:
    """One bar: a row, ``task``, of a display. Without a display it counts in silence."""

    def __init__(self, display: rich.progress.Progress | None = None, task: Any = None) -> None:
        self._display = display
        self._task = task
        self.done = 0

    def advance(self, k: int = 1) -> None:
        """``k`` more units are done; the display shows their rate."""
        self.done += k
        if self._display is None:
            return
        self._display.advance(self._task, k)
        speed = next(task.speed for task in self._display.tasks if task.id == self._task)
        if speed:
            rate = f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s"
            self._display.update(self._task, rate=rate)


_consoles: list[rich.console.Console] = []
_active: list[rich.progress.Progress] = []


@contextmanager
def show_progress(console: rich.console.Console) -> Iterator[None]:
    """Show a bar on ``console`` for whatever takes long inside the block."""
    _consoles.append(console)
    try:
        yield
    finally:
        _consoles.remove(console)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Progress]:
    """Show a bar with rate and time left while the block runs.

    Bars may be nested; the inner one is another row of the same display. Nothing is shown outside
    of :func:`show_progress`. ``total`` is None where the number of units is not known.
    """
    if not _consoles:
        yield Progress()
    elif _active:
        with _row(_active[-1], description, total) as row:
            yield row
    else:
        with _display(_consoles[-1]) as display, _row(display, description, total) as row:
            yield row


@contextmanager
def _display(console: rich.console.Console) -> Iterator[rich.progress.Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    above = sys.stdout.isatty()  # what others print is moved there, but not out of a file
    display = RichProgress(*columns, console=console, transient=True, redirect_stdout=above)
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
        yield Progress(display, task)
    finally:
        display.remove_task(task)
