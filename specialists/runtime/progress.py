"""How far is the work, and how long will the rest of it take?

Work is nested: a stage has pieces, a piece has tasks, a task has epochs. Only the outermost work is
shown, as one bar, and what is inside moves it on. A library shows nothing unless it is asked to
(:mod:`specialists.runtime.displays`).
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

from specialists.escaping import printable

LIBRARY = logging.getLogger("specialists")
MARK_SECONDS = 0.5  # at least, between two moments whose progress is kept
TELLING = 0.05  # of the whole: what tells of the rest, however soon it is done
LONG_SECONDS = 120.0  # in which the first steps no longer count
LARGEST_STEP = 0.51  # of the time or the work that a rate is taken from: two equal steps pass
MARKS = 50  # at most, for each time that the work has gone on e times longer
Watch = Callable[["Progress"], None]


class Display:
    """Where the outermost work is shown; this one shows nothing."""

    def begin(self, work: Progress) -> None:
        """The work begins."""

    def changed(self, work: Progress) -> None:
        """It is further than it was."""

    def end(self, work: Progress) -> None:
        """It is over, well or not."""


class Told(Display):
    """Tells a function of every change."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def changed(self, work: Progress) -> None:
        self._watch(work)


class Progress:
    """How far some work is, in units. Work inside of it moves it on within its present unit.

    Parameters
    ----------
    description : str
    total : float, optional
        Units of the whole; None where it is not known.
    outer : Progress, optional
        The work that this is a unit of.
    counted : bool
        Whether its units are few and worth counting, as tasks are and rows are not.
    """

    def __init__(
        self,
        description: str = "",
        total: float | None = None,
        outer: Progress | None = None,
        counted: bool = False,
    ) -> None:
        self.description, self.total, self.outer, self.counted = description, total, outer, counted
        self.note = ""
        self.display: Display | None = None
        self.began = time.monotonic()
        self.done: float = 0
        self._begun = 0.0
        self._inner: Progress | None = None
        self._share = 1.0  # units of the outer work that this is
        self._marks = [(0.0, 0.0)]

    @property
    def units(self) -> float:
        """Units that are done, and the part of the next one that is."""
        return self.done + self._begun

    @property
    def fraction(self) -> float:
        """Of the whole that is done; 0 where its size is not known."""
        return min(1.0, self.units / self.total) if self.total else 0.0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def seconds_left(self) -> float | None:
        """If the rest goes on as in the last half of the time; None while nothing is known.

        A single step that holds most of that half says nothing of the rest. One that holds most of
        its time is a pause of the process, or work that has come to a stop; one that holds most of
        its work is what an interrupted attempt had done. Nor do the first steps say anything, for
        which code is compiled and files are read: for a few minutes a twentieth of the whole has to
        be done in that half.
        """
        now, done = self.seconds, self.fraction
        half = bisect_right(self._marks, (now / 2, 1.0)) - 1
        marks = [*self._marks[half:], (now, done)]
        steps = [(end - start, new - old) for (start, old), (end, new) in pairwise(marks)]
        seconds, gained = now - marks[0][0], done - marks[0][1]
        if gained <= 0 or (gained < TELLING and seconds < LONG_SECONDS):
            return None
        is_even = all(
            took <= LARGEST_STEP * seconds and gain <= LARGEST_STEP * gained for took, gain in steps
        )
        return seconds * (1 - done) / gained if is_even else None

    @property
    def detail(self) -> str:
        """What is done just now, in words; often none."""
        if self.counted and self.total and self.total > 1:
            return f"{self.done:.0f}/{self.total:.0f}"
        return self.note or (self._inner.detail if self._inner else "")

    def advance(self, k: float = 1, begun: float = 0.0) -> None:
        """``k`` more units are done, and a part ``begun`` of those that are worked on."""
        self.done += k
        self._begun = begun
        self._changed()

    def begin_unit(self, fraction: float) -> None:
        """So much of the next unit, or of those that are worked on together, is done."""
        self._begun = fraction
        self._changed()

    def begin_inner(self, inner: Progress) -> None:
        """Work on a part of this begins."""
        self._inner = inner

    def end_inner(self, inner: Progress) -> None:
        """It is over."""
        self._inner = None

    def _changed(self) -> None:
        now, last = self.seconds, self._marks[-1][0]
        if now - last >= max(MARK_SECONDS, now / MARKS):
            self._marks.append((now, self.fraction))
        if self.display is not None:
            self.display.changed(self)
        if self.outer is not None and self.total:
            self.outer.begin_unit(self._share * self.fraction)


class StageProgress(Progress):
    """Work on a stage: pieces, each with its share of the time, in the order that is expected."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self._pieces: dict[str, float] = {}
        self._over: set[str] = set()

    @property
    def detail(self) -> str:
        if self._inner is None:
            return ""
        name, detail = self._inner.description, self._inner.detail
        return detail if detail and len(self._pieces) == 1 else f"{name} {detail}".rstrip()

    def expect(self, pieces: Mapping[str, float]) -> None:
        """The pieces that are to come, by description, with shares of the time in any unit."""
        self._pieces = {name: share for name, share in pieces.items() if share > 0}
        self.total = sum(self._pieces.values()) or None
        self._changed()

    def begin_inner(self, inner: Progress) -> None:
        """A piece begins: those that were expected before it are over.

        What was not expected, or comes again, does not move the stage on.
        """
        super().begin_inner(inner)
        is_new = inner.description not in self._over
        inner._share = self._pieces.get(inner.description, 0.0) if is_new else 0.0
        if inner._share:
            earlier = list(self._pieces)[: list(self._pieces).index(inner.description)]
            self.done, self._begun = sum(self._pieces[name] for name in earlier), 0.0
        self._changed()

    def end_inner(self, inner: Progress) -> None:
        super().end_inner(inner)
        self._over.add(inner.description)
        self.advance(inner._share)


_displays: list[Display] = []
_running: list[Progress] = []


@contextmanager
def report_progress(display: Display | Watch) -> Iterator[None]:
    """Show the outermost work on a display, or tell a function of every change of it."""
    shown = display if isinstance(display, Display) else Told(display)
    _displays.append(shown)
    try:
        yield
    finally:
        _displays.remove(shown)


@contextmanager
def working_on(stage: str) -> Iterator[None]:
    """One bar for all work inside the block."""
    with _runs(StageProgress(printable(stage))):
        yield


def expect(pieces: Mapping[str, float]) -> None:
    """Say which pieces the stage that is worked on will have, by description, in their order.

    Their values are shares of the stage's time, in any unit. Without a stage nothing happens.
    """
    for work in _running:
        if isinstance(work, StageProgress):
            work.expect({printable(name): share for name, share in pieces.items()})


@contextmanager
def progress(
    description: str, total: int | None = None, counted: bool = False
) -> Iterator[Progress]:
    """Count work while the block runs; the outermost is shown with the time that is left.

    Parameters
    ----------
    description : str
    total : int, optional
        Number of units; None where it is not known.
    counted : bool
        Say "3/12" of them, as of tasks.
    """
    outer = _running[-1] if _running else None
    with _runs(Progress(printable(description), total, outer, counted)) as work:
        yield work


@contextmanager
def _runs(work: Progress) -> Iterator[Progress]:
    if work.outer is not None:
        work.outer.begin_inner(work)
    elif _displays and LIBRARY.isEnabledFor(logging.INFO):
        work.display = _displays[-1]
        work.display.begin(work)
    _running.append(work)
    try:
        yield work
    finally:
        _running.remove(work)
        if work.outer is not None:
            work.outer.end_inner(work)
        elif work.display is not None:
            work.display.end(work)
