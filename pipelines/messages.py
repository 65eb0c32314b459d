"""What does the command show when something goes wrong, and with which exit code does it end?

An error that the user can fix is one message without a traceback, see `specialists.errors`. A disk
that is full or fails is one message too, with the exit code of a fault.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Sequence
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
SHOULD = "Input should be "


UsageError: Any = typer.BadParameter.__bases__[0]  # of click, which typer may bring itself


class Commands(TyperGroup):
    """The commands; an error is one message and an exit code."""

    _arguments: Sequence[str] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the command line, so that a message can say what was given."""
        self._arguments = tuple(args)
        with self._as_ours():
            return super().parse_args(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments and run a command; help, too, may meet a full disk."""
        with told_in_one_message():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run a command, see :func:`told_in_one_message`."""
        with told_in_one_message(), self._as_ours():
            return super().invoke(ctx)

    @contextmanager
    def _as_ours(self) -> Iterator[None]:
        """A mistake in the command line, which click finds, as an InputError."""
        try:
            yield
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # this one shows the help
                raise
            raise usage_error(error, self._arguments) from None


def usage_error(error: Any, arguments: Sequence[str]) -> InputError:
    """What click says of the ``arguments`` of the command, in our form.

    Parameters
    ----------
    error : click.UsageError
    arguments : sequence of str
        As they were typed.
    """
    known = error.ctx is None or error.ctx.parent is not None  # which command is meant
    name = next((word for word in arguments if not word.startswith("-")), "") if known else ""
    command = f"specialists {name}".rstrip()
    fix, told = f"`{command} --help` says what it takes", error.format_message()
    intro, _, place = told.removesuffix(f": {error.message}").partition("Invalid value for ")
    if intro or not place:
        what, _, guess = error.message.partition(". Did you mean ")
        near = guess or " or ".join(getattr(error, "possibilities", None) or ())
        what = (what or told).rstrip(".")
        fix = f"did you mean {near.rstrip('?')}?" if near else fix
        return InputError(what[:1].lower() + what[1:], where=f"`{command}`", fix=fix)
    place, message = place.replace("'", ""), own_words(error.message).rstrip(".")
    got, choices, expected = message.partition(" is not one of ")
    if choices:
        got, expected = got.strip("'"), expected.replace("'", "")
        near = difflib.get_close_matches(got, expected.split(", "), n=1)
        fix = f"did you mean {near[0]}?" if near else fix
        expected = f"one of {expected}"
    elif message.startswith(SHOULD):
        expected = message.removeprefix(SHOULD).partition(",")[0]
        got = _given(place.split(" / "), arguments)
    else:
        return InputError(message, where=place, fix=fix)
    return InputError("this value cannot be used", where=place, got=got, expected=expected, fix=fix)


def _given(names: Collection[str], arguments: Sequence[str]) -> str | None:
    """The last value that an option of these names was given."""
    for i in reversed(range(len(arguments))):
        name, joined, value = arguments[i].partition("=")
        if name in names:
            return value if joined else next(iter(arguments[i + 1 :]), None)
    return None


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
