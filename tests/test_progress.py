"""How far work is: nested, over processes, and as a line a minute where no bar can be shown."""

import importlib
import io
import logging
import time

import pytest
from rich.console import Console

from specialists.runtime import map_processes, progress, show_progress, working_on
from specialists.runtime.progress import report_progress

MODULE = importlib.import_module("specialists.runtime.progress")


@pytest.fixture
def library():
    """The library's logger takes INFO, as it does under the command."""
    logger = logging.getLogger("specialists")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


@pytest.fixture
def lines(library):
    """What the library logs."""
    handler, told = logging.Handler(), []
    handler.emit = lambda record: told.append(record.getMessage())
    library.addHandler(handler)
    yield told
    library.removeHandler(handler)


def test_work_inside_moves_the_outer_work_on_within_its_unit(library):
    seen = []
    with report_progress(lambda work: seen.append(work.fraction)), progress("all", 2) as outer:
        with progress("one", 4) as inner:
            inner.advance(1)
            inner.advance(2)
        outer.advance()
    assert seen == [1 / 8, 3 / 8, 1 / 2]


def test_a_log_file_gets_a_line_a_minute_without_control_characters(lines, monkeypatch):
    monkeypatch.setattr(MODULE, "MINUTE", 0.0)
    console = Console(file=io.StringIO())
    with show_progress(console), working_on("a stage"), progress("work\x1b", 4) as bar:
        bar.began -= 60
        bar.advance()
    assert lines == ["a stage: work\\x1b: 25% done, about 3 minutes left"]


def test_no_line_is_logged_within_the_first_minute(lines):
    with show_progress(Console(file=io.StringIO())), progress("work", 4) as bar:
        bar.advance()
    assert lines == []


def test_nothing_is_shown_where_only_warnings_are_wanted(library):
    library.setLevel(logging.WARNING)
    shown = io.StringIO()
    with show_progress(Console(file=shown, force_terminal=True)), progress("work", 4) as bar:
        bar.advance()
    assert shown.getvalue() == ""


def test_a_bar_of_a_stage_has_its_name(library):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    with show_progress(console), working_on("a stage"), progress("work", 4) as bar:
        bar.advance()
        time.sleep(0.15)
    assert "a stage: work" in shown.getvalue()
    assert "left" in shown.getvalue()


def half(task: int) -> None:
    with progress("task", 2) as bar:
        bar.advance()


def test_a_worker_tells_how_far_its_task_is(library):
    seen = []
    with report_progress(lambda work: seen.append(work.fraction)):
        map_processes(half, [0, 1], jobs=2, description="tasks")
    assert 0.25 in seen
    assert seen[-1] == 1
