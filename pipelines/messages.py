"""What does the command show when something goes wrong, and with which exit code does it end?

An error that the user can fix is one message without a traceback, see `specialists.errors`. A disk
that is full or fails is one message too, with the exit code of a fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from specialists.errors import InputError, SpecialistsError, own_words
from specialists.escaping import printable
from specialists.files import storage_error

from .terminal import lines_and_bars

INTERRUPTED = 130


class Commands(TyperGroup):
    """The commands; an error is one message and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments and run a command; help, too, may meet a full disk."""
        with told_in_one_message():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run a command, see :func:`told_in_one_message`."""
        with told_in_one_message():
            try:
                return super().invoke(ctx)
            except typer.BadParameter as error:  # from the command's arguments
                error.message = own_words(error.message)
                raise


@contextmanager
def told_in_one_message() -> Iterator[None]:
    """Turn an error inside into one message and an exit code, without a traceback.

    What the library logs inside is shown, see :func:`lines_and_bars`.

    Raises
    ------
    SystemExit
    """
    try:
        with lines_and_bars():
            yield
    except SpecialistsError as error:
        raise _exit(error) from None
    except BrokenPipeError:  # the reader of our output had enough
        raise
    except OSError as error:
        raise _exit(_fault_or_refusal(error)) from None
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
    """A warning as one line, without its place in the code if it is one of ours."""
    if category.__module__ == "specialists.errors":
        return printable(f"warning: {message}\n")
    return printable(f"{filename}:{lineno}: {category.__name__}: {message}\n")


def _exit(error: SpecialistsError) -> SystemExit:
    typer.echo(printable(f"error: {error}"), err=True)
    return SystemExit(error.exit_code)


def _fault_or_refusal(error: OSError) -> SpecialistsError:
    name = error.filename
    fault = storage_error(error, Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None)
    fix = "name a place that exists, and where you may read and write"
    return fault or InputError(
        "a file or folder cannot be used", where=name, got=error.strerror or error, fix=fix
    )
