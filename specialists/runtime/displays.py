"""Where does a person see how far the work is? On a terminal, in a notebook, in a log file.

A terminal and a notebook show one bar, with the time that it has taken and that is left; where no
bar can be shown there is a line a minute.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from specialists.runtime.progress import Display, Progress, report_progress
from specialists.runtime.spoken_time import clock_time, spoken_time

if TYPE_CHECKING:
    import rich.console
    import rich.progress

LINE_SECONDS = 60.0  # between two lines of a log
PICTURE_SECONDS = 0.5  # between two pictures of a notebook's bar
BAR_WIDTH = 12  # characters: the rest of a line of 80 is words
LOG = logging.getLogger("specialists.progress")
BAR = """<div style="display: flex; gap: 0.8em; align-items: center">
<span>{name}</span><progress style="width: 14em" {value}></progress>
<span style="opacity: 0.75">{detail}</span></div>"""


@contextmanager
def show_progress(console: rich.console.Console | None = None) -> Iterator[None]:
    """Show how far whatever takes long inside the block is, and how long the rest will take.

    In a notebook, and on a ``console`` that is a terminal, by a bar; elsewhere by a line a minute,
    which the logger ``specialists.progress`` gets. None: wherever this process prints. Nothing is
    shown while the library's logger does not take INFO.
    """
    if console is None:
        from rich.console import Console

        console = Console(force_jupyter=False)
    with report_progress(display_on(console)):
        yield


def display_on(console: rich.console.Console) -> Display:
    """What suits the place that a console prints to."""
    if in_notebook():
        return NotebookBar()
    return TerminalBar(console) if console.is_terminal else LineAMinute()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose outputs may be HTML."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def in_words(work: Progress) -> str:
    """How far it is and how long the rest takes, for instance "42% in 1:10, 2 minutes left"."""
    if not work.total:
        return clock_time(work.seconds)
    left = work.seconds_left
    rest = f", {spoken_time(left)} left" if left else ""
    return f"{work.fraction:.0%} in {clock_time(work.seconds)}{rest}"


class LineAMinute(Display):
    """Logs how far the work is, and how long the rest will take, once a minute."""

    def __init__(self) -> None:
        self._said = -math.inf

    def changed(self, work: Progress) -> None:
        now = time.monotonic()
        if now - max(self._said, work.began) < LINE_SECONDS:
            return
        self._said, left = now, work.seconds_left
        detail = f" ({work.detail})" if work.detail else ""
        if work.total:
            rest = f", about {spoken_time(left)} left" if left else ""
            LOG.info(f"{work.description}: {work.fraction:.0%} done{detail}{rest}")
        else:
            LOG.info(f"{work.description}: at work for {spoken_time(work.seconds)}{detail}")


class TerminalBar(Display):
    """A bar at the bottom of a terminal, which goes once the work is over."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._shown: rich.progress.Progress | None = None

    def begin(self, work: Progress) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR_WIDTH, table_column=Column(min_width=BAR_WIDTH)),
            TextColumn("{task.fields[words]}", markup=False),
            TextColumn("{task.fields[work].detail}", style="dim", markup=False),
        )
        above = sys.stdout.isatty()  # what others print is moved there, but not out of a file
        self._shown = RichProgress(
            *columns,
            console=self._console,
            transient=True,
            redirect_stdout=above,
            get_time=time.monotonic,
            refresh_per_second=4,
        )
        self._shown.add_task(work.description, total=work.total, work=work, words=_Now(work))
        self._shown.start()

    def changed(self, work: Progress) -> None:
        if self._shown is not None:
            task = self._shown.task_ids[0]
            self._shown.update(task, total=work.total, completed=work.units)

    def end(self, work: Progress) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


class _Now:
    """:func:`in_words` of the moment in which it is drawn."""

    def __init__(self, work: Progress) -> None:
        self._work = work

    def __str__(self) -> str:
        return in_words(self._work)


class NotebookBar(Display):
    """A bar in a cell's output, which is drawn anew and is nothing at the end."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._drawn = -math.inf

    def begin(self, work: Progress) -> None:
        self._draw(work)

    def changed(self, work: Progress) -> None:
        if time.monotonic() - self._drawn >= PICTURE_SECONDS:
            self._draw(work)

    def end(self, work: Progress) -> None:
        self._put("<span></span>", "")

    def _draw(self, work: Progress) -> None:
        self._drawn = time.monotonic()
        value = f'max="1" value="{work.fraction:.3f}"' if work.total else ""
        detail = " · ".join(filter(None, (in_words(work), work.detail)))
        html = BAR.format(name=escape(work.description), value=value, detail=escape(detail))
        self._put(html, f"{work.description}: {detail}")

    def _put(self, html: str, text: str) -> None:
        from IPython.display import display

        drawn = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(drawn, raw=True, display_id=True)
        else:
            self._handle.update(drawn, raw=True)
