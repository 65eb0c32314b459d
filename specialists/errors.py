"""What can go wrong, and how it is told.

Every error that a user can cause is an :class:`InputError`: one message that says what is wrong,
where, what was found, what was expected and how to mend it. The command line prints it without a
traceback and exits with ``exit_code``. Every other :class:`SpecialistsError` is a fault (exit code
1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from specialists.escaping import printable


class SpecialistsError(Exception):
    """Base of every exception that this package raises on purpose.

    It says what is wrong, as a sentence without a full stop; where (file, column, row, option);
    what was found and what would have been right; how to mend it.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        got: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        labelled = (("where", where), ("got", got), ("expected", expected), ("to mend it", fix))
        lines = [f"  {label}: {value}" for label, value in labelled if value is not None]
        super().__init__(printable("\n".join([what, *lines])))
        self.what = what

    @property
    def in_a_line(self) -> str:
        """The message without its line breaks."""
        return "; ".join(line.strip() for line in str(self).splitlines())


class InputError(SpecialistsError, ValueError):
    """The user's input is wrong."""

    exit_code = 2


@contextmanager
def calling(names: Mapping[str, str]) -> Iterator[None]:
    """Errors of the input inside call things as their user does: texts are replaced by others.

    Examples
    --------
    >>> with calling({"/tmp/x7/model.json": "network="}):
    ...     raise InputError("no head", where="/tmp/x7/model.json")
    Traceback (most recent call last):
    specialists.errors.InputError: no head
      where: network=
    """
    try:
        yield
    except InputError as error:
        told = str(error)
        for name, users_own in names.items():
            told = told.replace(name, users_own)
        error.args = (told,)
        raise


class ConfigError(InputError):
    """A configuration file or ``--set`` option is wrong."""


class DataError(InputError):
    """A data set is wrong."""


class DamagedError(InputError):
    """A file that this package wrote cannot be read any more."""


class RunLockedError(InputError):
    """Another live process works on this run folder."""


class StorageError(SpecialistsError, OSError):
    """The machine cannot keep a file: its disk is full or fails."""


class TrainingError(SpecialistsError):
    """Training cannot go on; the last good weights are kept."""


class DivergedError(TrainingError):
    """A loss is no longer finite, after so many examples and floating-point operations."""

    def __init__(self, what: str, examples: int = 0, flops: float = 0.0) -> None:
        super().__init__(what)
        self.examples, self.flops = examples, flops


class ConvergenceError(SpecialistsError):
    """A combination did not reach its tolerance, and ``strict=True`` asked for an error."""


class ConvergenceWarning(UserWarning):
    """Some rows of a combination did not reach the tolerance, or have no minimiser."""


class CalibrationWarning(UserWarning):
    """A specialist keeps the formula's dustbin correction because it could not be calibrated."""


class ConfigWarning(UserWarning):
    """Settings of a configuration are left out, since other data replaced the data they are for."""


class DataWarning(UserWarning):
    """A data set is usable but has something its owner should know."""


def own_words(message: str) -> str:
    """What a validator of ours said, without what pydantic puts in front of it."""
    return message.removeprefix("Value error, ")


def listed(names: Iterable[object], shown: int = 8) -> str:
    """The first few names, and how many more there are.

    Examples
    --------
    >>> listed("abc", 2)
    'a, b and 1 more'
    """
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(str, names[:shown])) + more


def first_of(rows: Sequence[int], what: str = "row") -> str:
    """Where it is: "row 3" or "row 3, and 4 more"."""
    more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{what} {int(rows[0])}{more}"
