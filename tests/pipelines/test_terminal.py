"""Lines and bars of the command: plain text, bars only on a terminal."""

import builtins
import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import IPython
import IPython.display
import pytest

from pipelines.terminal import LIBRARY, lines_and_bars, log, say
from specialists.runtime import progress

WORKS = """
import time
from pipelines.terminal import lines_and_bars, log, say
from specialists.runtime import progress
with lines_and_bars(), progress("a bar", 2) as bar:
    bar.advance()
    time.sleep(0.2)
    log.info("a line")
"""


def at_a_terminal(**streams) -> tuple[str, str]:
    """What a terminal shows of work, and what goes to standard output, if that is a pipe."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    del environment["SPECIALISTS_QUIET"]
    command = [sys.executable, "-c", WORKS]
    streams = {"stdout": theirs, "stderr": theirs, **streams}
    with subprocess.Popen(command, env=environment, text=True, **streams) as process:
        os.close(theirs)
        printed = process.communicate()[0] or ""
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return shown.decode(), printed


@pytest.mark.parametrize("write", [say, log.info])
def test_a_line_is_plain_text_of_any_length(write, capsys):
    text = "[done] :smile: 3 classes of 127.0.0.1, " + "x" * 300
    write(text + ", \x1b[31mred, \ud800")
    assert capsys.readouterr().out == text + ", \\x1b[31mred, \\ud800\n"


def test_a_terminal_shows_bars_and_whole_lines():
    shown, _ = at_a_terminal()
    assert "a bar" in shown
    assert "a line\r\n" in shown


def test_lines_go_to_a_file_while_bars_are_on_the_terminal():
    shown, printed = at_a_terminal(stdout=subprocess.PIPE)
    assert "a bar" in shown
    assert printed == "a line\n"


def test_without_a_terminal_there_are_no_bars(monkeypatch, capfd):
    shown, printed = at_a_terminal(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert (shown, printed) == ("", "a line\n")


def test_a_notebook_gets_plain_lines_and_a_bar(monkeypatch, capsys):
    class ZMQInteractiveShell:  # as rich and we know the kernel of a notebook
        kernel = None

    shell, displayed = ZMQInteractiveShell(), []
    monkeypatch.delenv("SPECIALISTS_QUIET", raising=False)
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(LIBRARY, "handlers", [])
    monkeypatch.setattr(
        IPython.display,
        "display",
        lambda *drawn, **_: (
            displayed.append(drawn) or SimpleNamespace(update=lambda *_, **__: None)
        ),
    )
    with lines_and_bars(), progress("a bar", 2) as bar:
        bar.advance()
        log.info("a line")
    assert capsys.readouterr().out == "a line\n"
    assert len(displayed) == 1
    assert "a bar" in displayed[0][0]["text/html"]
