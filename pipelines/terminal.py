"""What does the command show while it works? The lines that the library logs, and a bar a stage.

Lines go to standard output. A bar goes to the terminal, to standard error if standard output is
none, or into the cell of a notebook.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console

from specialists.errors import StorageError
from specialists.escaping import printable
from specialists.files import storage_faults
from specialists.runtime import LineAMinute, display_on, in_notebook, report_progress

QUIET = "SPECIALISTS_QUIET"
LIBRARY = logging.getLogger("specialists")
log = logging.getLogger("specialists.pipelines")  # `__name__` is another in a clone


class _Lines(logging.Handler):
    """Each record as one plain line, above the bars if there are any.

    RichHandler folds lines at the terminal's width, also in files, and goes on if standard output
    cannot be written; here that ends the command.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with storage_faults("standard output"):
                self.console.out(printable(self.format(record)), highlight=False)
        except StorageError:
            # the old one would write this line with the next
            self.console = Console(force_jupyter=False)
            raise


class _Kept(logging.Handler):
    """Keeps each line."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO:
            self.lines.append(record.getMessage())


@contextmanager
def keeping_lines() -> Iterator[list[str]]:
    """The lines that are logged inside the block, as far as they are shown."""
    handler = _Kept()
    log.addHandler(handler)
    try:
        yield handler.lines
    finally:
        log.removeHandler(handler)


def say(text: str, end: str = "\n") -> None:
    """Print what a command was asked for, as plain text."""
    with storage_faults("standard output"):
        print(printable(text), end=end, flush=True)


def remark(text: str) -> None:
    """Print a line about what a command was asked for, to standard error."""
    with storage_faults("standard error"):
        print(printable(text), file=sys.stderr, flush=True)


def hush(wanted: bool) -> None:
    """Show nothing from here on but results, warnings and errors, if that is wanted."""
    if wanted:
        LIBRARY.setLevel(logging.WARNING)


@contextmanager
def lines_and_bars() -> Iterator[None]:
    """Show what the library logs, from INFO on unless its logger has a level, and its progress.

    Progress is a bar on a terminal or in a notebook, elsewhere a line a minute without control
    characters. Where the environment sets ``SPECIALISTS_QUIET=1``, it is not shown.
    """
    if any(isinstance(handler, _Lines) for handler in LIBRARY.handlers):
        yield
        return
    console = Console(force_jupyter=False)  # which would show every line as a paragraph
    handler = _Lines(console)
    level, propagate = LIBRARY.level, LIBRARY.propagate
    LIBRARY.addHandler(handler)
    LIBRARY.setLevel(level or logging.INFO)
    LIBRARY.propagate = False  # a user's function may configure logging: no line comes twice
    at = console if sys.stdout.isatty() else Console(stderr=True)
    is_shown = in_notebook() or sys.stderr.isatty()  # rich may take a file for a terminal
    display = display_on(at) if is_shown else LineAMinute()
    try:
        with report_progress(display) if os.environ.get(QUIET) != "1" else nullcontext():
            yield
    finally:
        LIBRARY.removeHandler(handler)
        LIBRARY.setLevel(level)
        LIBRARY.propagate = propagate
