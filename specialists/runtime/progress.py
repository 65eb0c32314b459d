"""How does a person see that work goes on, how fast, and how long it will take?

A library shows nothing unless it is asked to: :func:`show_progress` asks for bars on a terminal or
in a notebook, and elsewhere, for instance in a log file, for a line a minute.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from specialists.escaping import printable
from specialists.runtime.spoken_time import spoken_time

if TYPE_CHECKING:
    import rich.console
    import rich.progress

MINUTE = 60.0  # between two lines, in seconds
LIBRARY = logging.getLogger("specialists")
LOG = logging.getLogger("specialists.progress")
Watch = Callable[["Progress"], None]


class Progress:
    """How far some work is, in units. Work inside of it moves it on within its present unit.

    Parameters
    ----------
    description : str
    total : float, optional
        Units of the whole; None where it is not known.
    outer : Progress, optional
        The work that this is a unit of.
    """

    def __init__(
        self, description: str = "", total: float | None = None, outer: Progress | None = None
    ) -> None:
        self.description, self.total, self.outer = description, total, outer
        self.watch: Watch | None = None
        self.began = time.monotonic()
        self.done: float = 0
        self._begun = 0.0

    @property
    def units(self) -> float:
        """Units that are done, and the part of the next one that is."""
        return self.done + self._begun

    @property
    def fraction(self) -> float:
        """Of the whole that is done; 0 where its size is not known."""
        return min(1.0, self.units / self.total) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """If the rest goes on as what is done; None while nothing is known."""
        done = self.fraction
        return (time.monotonic() - self.began) * (1 - done) / done if done else None

    def advance(self, k: float = 1) -> None:
        """``k`` more units are done."""
        self.done += k
        self._begun = 0.0
        self._changed()

    def begin_unit(self, fraction: float) -> None:
        """So much of the next unit, or of those that are worked on together, is done."""
        self._begun = fraction
        self._changed()

    def _changed(self) -> None:
        if self.watch is not None:
            self.watch(self)
        if self.outer is not None and self.total:
            self.outer.begin_unit(self.fraction)


_sinks: list[rich.console.Console | Watch] = []
_displays: list[rich.progress.Progress] = []
_running: list[Progress] = []
_stages: list[str] = []


@contextmanager
def show_progress(console: rich.console.Console | None = None) -> Iterator[None]:
    """Show how far whatever takes long inside the block is.

    On a ``console`` that is a terminal or a notebook as bars with the time left, elsewhere as a
    line a minute, which the logger ``specialists.progress`` gets. None: wherever this process
    prints. Nothing is shown while the library's logger does not take INFO.
    """
    if console is None:
        from rich.console import Console

        console = Console()
    in_notebook = console.is_jupyter and find_spec("ipywidgets") is not None
    with report_progress(console if console.is_terminal or in_notebook else line_a_minute()):
        yield


@contextmanager
def report_progress(sink: rich.console.Console | Watch) -> Iterator[None]:
    """Show bars on a console, or tell a function of every change of the outermost work."""
    _sinks.append(sink)
    try:
        yield
    finally:
        _sinks.remove(sink)


@contextmanager
def working_on(stage: str) -> Iterator[None]:
    """Name what all work inside the block is a part of."""
    _stages.append(stage)
    try:
        yield
    finally:
        _stages.pop()


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Progress]:
    """Show a bar with rate and time left while the block runs.

    Bars may be nested; the inner one is another row of the same display. Nothing is shown outside
    of :func:`show_progress`. ``total`` is None where the number of units is not known.
    """
    outer = _running[-1] if _running else None
    if outer is None and _stages:
        description = f"{_stages[-1]}: {description}"
    work = Progress(printable(description), total, outer)
    _running.append(work)
    try:
        with _shown(work):
            yield work
    finally:
        _running.remove(work)


def line_a_minute() -> Watch:
    """Log how far the work is, and how long the rest will take, once a minute."""
    said = -math.inf

    def watch(work: Progress) -> None:
        nonlocal said
        now = time.monotonic()
        if now - max(said, work.began) < MINUTE:
            return
        said, left = now, work.seconds_left
        rest = "" if left is None else f", about {spoken_time(left)} left"
        done = f"{work.fraction:.0%}" if work.total else f"{work.units:,.0f}"
        LOG.info(f"{work.description}: {done} done{rest}")

    return watch


@contextmanager
def _shown(work: Progress) -> Iterator[None]:
    """Show this work where it is asked for."""
    sink = _sinks[-1] if _sinks and LIBRARY.isEnabledFor(logging.INFO) else None
    if sink is None:
        yield
    elif callable(sink):
        work.watch = sink if work.outer is None else None
        yield
    elif _displays:
        with _row(_displays[-1], work):
            yield
    else:
        with _display(sink) as display, _row(display, work):
            yield


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
        TextColumn("left"),
    )
    above = sys.stdout.isatty()  # what others print is moved there, but not out of a file
    display = RichProgress(*columns, console=console, transient=True, redirect_stdout=above)
    _displays.append(display)
    try:
        with display:
            yield display
    finally:
        _displays.remove(display)


@contextmanager
def _row(display: rich.progress.Progress, work: Progress) -> Iterator[None]:
    task = display.add_task(work.description, total=work.total, rate="")

    def watch(work: Progress) -> None:
        display.update(task, completed=work.units)
        speed = next(row.speed for row in display.tasks if row.id == task)
        if speed:
            rate = f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s"
            display.update(task, rate=rate)

    work.watch = watch
    try:
        yield
    finally:
        display.remove_task(task)
