"""How is it told that something went wrong, and with which exit code does the command end?

What the user can mend is one message without a traceback, see `specialists.errors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from specialists.errors import InputError, SpecialistsError

INTERRUPTED = 130


class Commands(TyperGroup):
    """The commands, with what goes wrong told as DESIGN.md section 5 asks."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command, see :func:`told_in_one_message`."""
        with told_in_one_message():
            return super().invoke(ctx)


@contextmanager
def told_in_one_message() -> Iterator[None]:
    """Errors of the user inside are one message and an exit code, no traceback.

    Raises
    ------
    SystemExit
    """
    try:
        yield
    except SpecialistsError as error:
        raise _told(error) from None
    except BrokenPipeError:  # the reader of our output had enough
        raise
    except OSError as error:
        raise _told(_refusal(error)) from None
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command goes on where this one stopped.", err=True)
        raise SystemExit(INTERRUPTED) from None


def format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """A warning as one line; of one of ours its place in the code says nothing."""
    if category.__module__ == "specialists.errors":
        return f"warning: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


def _told(error: SpecialistsError) -> SystemExit:
    typer.echo(f"error: {error}", err=True)
    return SystemExit(error.exit_code)


def _refusal(error: OSError) -> InputError:
    return InputError(
        "a file or folder cannot be used", where=error.filename, got=error.strerror or error
    )
