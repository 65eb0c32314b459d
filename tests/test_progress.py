"""How far work is: one bar a stage, over processes, and a line a minute where there is no bar."""

import importlib
import io
import logging
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from specialists.runtime import (
    LineAMinute,
    NotebookBar,
    TerminalBar,
    display_on,
    expect,
    map_processes,
    progress,
    report_progress,
    show_progress,
    working_on,
)

MODULE = importlib.import_module("specialists.runtime.displays")


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


@pytest.fixture
def clock(monkeypatch):
    """Time passes when a test says so."""
    passed = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: passed.now)
    return passed


def test_work_inside_moves_the_outer_work_on_within_its_unit(library):
    seen = []
    with report_progress(lambda work: seen.append(work.fraction)), progress("all", 2) as outer:
        with progress("one", 4) as inner:
            inner.advance(1)
            inner.advance(2)
        outer.advance()
    assert seen == [1 / 8, 3 / 8, 1 / 2]


def test_pieces_move_a_stage_on_by_their_shares(library):
    seen = []

    def watch(work) -> None:
        seen.append((work.description, round(work.fraction, 3), work.detail))

    with report_progress(watch), working_on("a stage"):
        expect({"none of these": 2, "first": 1, "tasks": 5, "not there": 0})
        with progress("unforeseen", 2) as bar:
            bar.advance()
        with progress("first", 4) as bar:
            bar.note = "epoch 1/2"
            bar.advance()
        with progress("tasks", 2, counted=True) as bar:
            bar.advance()
            assert seen[-1] == ("a stage", 0.688, "tasks 1/2")
        with progress("first", 2) as bar:  # once more
            bar.advance()
    assert ("a stage", 0, "unforeseen") in seen
    assert ("a stage", 0.281, "first epoch 1/2") in seen
    assert seen[-1] == ("a stage", 1, "")
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_of_a_stage_with_one_piece_its_own_detail_is_enough(library):
    seen = []
    with report_progress(lambda work: seen.append(work.detail)), working_on("a stage"):
        expect({"generalist": 1})
        with progress("generalist", 1, counted=True), progress("width-8", 10) as training:
            training.note = "epoch 1/2"
            training.advance()
    assert "epoch 1/2" in seen
    assert "generalist" in seen


def test_the_rest_is_judged_by_the_last_half_of_the_time(library, clock):
    """Four of eight tasks stood already, and took no time."""
    with report_progress(lambda _: None), progress("tasks", 8, counted=True) as bar:
        assert bar.seconds_left is None
        for at in (1, 2, 3, 4, 100, 200, 300):
            clock.now = at
            bar.advance()
        assert bar.seconds_left == pytest.approx(100, rel=0.05)
        clock.now = 1000  # nothing happens for long
        assert bar.seconds_left is None


def test_a_pause_of_the_process_is_not_taken_for_work(library, clock):
    """21 minutes at 1/1300 a minute, as long a pause, and on: once "280.5 days left" was said."""
    with report_progress(lambda _: None), progress("trainings", 1300) as bar:
        for minute in range(1, 127):
            clock.now += 60 if minute != 22 else 22 * 60
            bar.advance()
            left, true = bar.seconds_left, 60 * (1300 - minute)
            if left is not None:
                assert left == pytest.approx(true, rel=1.1)
            if 22 <= minute <= 40:
                assert left is None
        assert bar.seconds_left == pytest.approx(60 * (1300 - 126), rel=0.05)


def test_what_an_interrupted_attempt_had_done_is_not_taken_for_work(library, clock):
    """The second training goes on from nine tenths, an hour after the first began."""
    with report_progress(lambda _: None), progress("trainings", 200) as bar:
        for minute in range(1, 111):
            clock.now += 60
            bar.advance(1 if minute != 61 else 90)
            if minute >= 61:
                assert bar.seconds_left is None
            elif minute > 4:
                assert bar.seconds_left == pytest.approx(60 * (200 - minute))


def test_tasks_that_are_found_at_once_say_nothing_of_those_that_are_to_come(library, clock):
    with report_progress(lambda _: None), progress("tasks", 8, counted=True) as bar:
        for _ in range(4):
            clock.now += 0.01
            bar.advance()
        clock.now = 3600
        assert bar.seconds_left is None


@pytest.mark.parametrize(
    ("at", "done", "left"),
    [(60, 2, None), (60, 20, 240), (120, 4, None), (300, 4, 7200)],
)
def test_of_the_first_steps_no_rest_is_judged(library, clock, at, done, left):
    with report_progress(lambda _: None), progress("work", 100) as bar:
        for _ in range(done):
            clock.now += at / done
            bar.advance()
        assert bar.seconds_left == (left and pytest.approx(left, rel=0.1))


def test_a_log_file_gets_a_line_a_minute_without_control_characters(lines, clock):
    with show_progress(Console(file=io.StringIO())), working_on("a stage\x1b"):
        expect({"work": 1})
        with progress("work", 40, counted=True) as bar:
            for at in range(10, 101, 10):
                clock.now = at
                bar.advance()
    assert lines == [r"a stage\x1b: 15% done (6/40), about 6 minutes left"]


def test_a_line_about_work_of_unknown_size_says_how_long_it_goes_on(lines, clock):
    with show_progress(Console(file=io.StringIO())), working_on("a stage"):
        clock.now = 130
        with progress("sums", 3) as bar:
            clock.now = 200
            bar.advance()
    assert lines == [
        "a stage: at work for 2 minutes (sums)",
        "a stage: at work for 3 minutes (sums)",
    ]


def test_nothing_is_shown_where_only_warnings_are_wanted(library):
    library.setLevel(logging.WARNING)
    shown = io.StringIO()
    with show_progress(Console(file=shown, force_terminal=True)), progress("work", 4) as bar:
        bar.advance()
    assert shown.getvalue() == ""


def test_a_terminal_shows_one_bar_a_stage(library):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    with show_progress(console), working_on("a [b]stage"):
        expect({"first": 1, "tasks": 1})
        with progress("first", 1) as bar:
            bar.advance()
        with progress("tasks", 4, counted=True) as bar, progress("inside", 2) as inner:
            inner.advance()
            time.sleep(0.3)
            console.out("a line between")
    text = shown.getvalue()
    assert "a [b]stage" in text
    assert "tasks 0/4" in text
    assert "56% in 0:00" in text
    assert "inside" not in text
    assert "a line between" in text
    assert "\n\x1b[1A" not in text  # never two rows of bars


@pytest.fixture
def cell(monkeypatch):
    """Each output of a cell, drawn anew or not, under a kernel."""
    outputs: list[list[str]] = []

    def display(drawn, raw, display_id):
        assert raw
        assert display_id
        outputs.append([drawn["text/html"]])
        return SimpleNamespace(
            update=lambda drawn, raw: outputs[-1].append(drawn["text/html" if raw else ""])
        )

    import IPython
    import IPython.display

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=None))
    return outputs


def test_a_notebook_has_one_bar_that_is_drawn_anew_and_goes(library, cell, clock):
    with show_progress(Console(file=io.StringIO())):
        for stage in ("first <stage>", "second"):
            with working_on(stage):
                expect({"tasks": 1})
                with progress("tasks", 20, counted=True) as bar:
                    for _ in range(20):
                        clock.now += 0.3
                        bar.advance()
    (drawn,) = cell
    assert "first &lt;stage&gt;" in drawn[0]
    assert any('value="0.500"' in html and "left · 10/20" in html for html in drawn)
    assert drawn[-1] == "<span></span>"
    assert len(drawn) < 30  # not at every step


def test_every_place_has_a_display_that_suits_it(monkeypatch, cell):
    file, terminal = Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(display_on(terminal), NotebookBar)
    monkeypatch.delitem(sys.modules, "IPython")
    assert isinstance(display_on(terminal), TerminalBar)
    assert isinstance(display_on(file), LineAMinute)


def half(task: int) -> None:
    with progress("task", 2) as bar:
        bar.advance()


def test_a_worker_tells_how_far_its_task_is(library):
    seen = []
    with report_progress(lambda work: seen.append(work.fraction)):
        map_processes(half, [0, 1], jobs=2, description="tasks")
    assert 0.25 in seen
    assert seen[-1] == 1


def nearly(place: Path) -> None:
    """Nine tenths, and the end once the other task is as far."""
    with progress("task", 10) as bar:
        bar.advance(9)
        place.touch()
        while len(list(place.parent.iterdir())) < 2:
            time.sleep(0.01)
        time.sleep(0.2 * int(place.name))


def test_the_end_of_one_task_does_not_set_back_the_others(library, tmp_path):
    seen = []
    with report_progress(lambda work: seen.append(work.fraction)):
        map_processes(nearly, [tmp_path / "1", tmp_path / "2"], jobs=2, description="tasks")
    assert 0.9 in seen
    assert seen == sorted(seen)
