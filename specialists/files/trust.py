"""Whose functions may run?

Folders are data, wherever they come from. A function that a ``config.toml`` or a ``model.json``
names is called only if somebody vouches for that call:

- the user, in a CONFIG or with ``--set`` on the command line;
- the caller, by ``load(..., trust_code=True)`` or ``--trust-code``;
- this user's state directory (``$XDG_STATE_HOME/specialists``). It records the path of every folder
  that was made here with such a function, and the digest of its ``config.toml``.

A call is a function with its options, since options alone can turn a harmless function
(``torch.hub:load``) into somebody else's code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from specialists.config import Config
from specialists.errors import InputError
from specialists.files.artifacts import read_json, sha256, write_json

CONFIG = "config.toml"
NETWORKS = ("generalist", "specialists", "student")  # sections with a factory for them
LEVELS = 4  # config.toml lies at most so many folders above a model


@dataclass(frozen=True)
class Trust:
    """Which calls may be made: these (as :func:`call` writes them), or everything."""

    calls: frozenset[str] = frozenset()
    everything: bool = False

    @classmethod
    def from_config(cls, config: Config) -> Trust:
        """The calls that a configuration names, if its author is the user."""
        return cls(frozenset(call(*named) for named in functions(config).values()))

    def __or__(self, other: Trust) -> Trust:
        return Trust(self.calls | other.calls, self.everything or other.everything)

    def allows(self, function: str, options: Mapping[str, object]) -> bool:
        return self.everything or call(function, options) in self.calls


NOTHING = Trust()
EVERYTHING = Trust(everything=True)
_vouched: ContextVar[Trust] = ContextVar("vouched", default=NOTHING)


def vouched() -> Trust:
    """What `trusting` blocks around the caller vouch for."""
    return _vouched.get()


@contextmanager
def trusting(trust: Trust) -> Iterator[None]:
    """Vouch for these calls, too, while the block runs."""
    token = _vouched.set(_vouched.get() | trust)
    try:
        yield
    finally:
        _vouched.reset(token)


def check_trusted(function: str, options: Mapping[str, object], where: Path) -> None:
    """Raise an InputError unless somebody vouches for a call that the file ``where`` names."""
    if vouched().allows(function, options) or recorded(where).allows(function, options):
        return
    given = json.dumps(dict(options), default=str, ensure_ascii=False) if options else "no options"
    raise InputError(
        "this folder names a function that would run, and nobody vouches for it",
        where=where,
        got=f"{function}, called with {given}",
        expected="a network and data that ship with specialists, or a run that was made here by "
        "this user and was neither moved nor changed since",
        fix="read that function; if it may run, --trust-code, or load(..., trust_code=True)",
    )


def functions(config: Config) -> dict[str, tuple[str, Mapping[str, object]]]:
    """The functions that a configuration names, with their options, by setting."""
    sections = {name: getattr(config, name) for name in ("data", *NETWORKS)}
    return {
        f"{name}.factory": (part.factory, part.options)
        for name, part in sections.items()
        if part.factory
    }


def check_networks(config: Config, where: Path) -> None:
    """:func:`check_trusted` of every function that builds a network by this configuration."""
    for name, named in functions(config).items():
        if not name.startswith("data."):
            check_trusted(*named, where)


def call(function: str, options: Mapping[str, object]) -> str:
    """A function and its options as one string."""
    return json.dumps([function, dict(options)], sort_keys=True, default=str)


def record(folder: Path) -> None:
    """Remember that this folder was made here, as it is configured now.

    Only folders that name functions need it. Where the state directory cannot be written, later
    commands on the folder ask for --trust-code.
    """
    with suppress(OSError):
        write_json(_entry_file(folder), _entry(folder))


def recorded(path: Path) -> Trust:
    """The calls of the configured folder that ``path`` lies in, if the state directory knows it."""
    above = [path, *path.absolute().parents][: LEVELS + 1]
    folder = next((place for place in above if (place / CONFIG).is_file()), None)
    with suppress(InputError, OSError):
        if folder and read_json(_entry_file(folder)) == _entry(folder):
            return Trust.from_config(Config.from_toml(folder / CONFIG))
    return NOTHING


def state_folder() -> Path:
    """``$XDG_STATE_HOME/specialists``, or ``~/.local/state/specialists``."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = home if os.path.isabs(home) else os.path.expanduser("~/.local/state")
    if not os.path.isabs(base):
        raise FileNotFoundError("this user has no home folder")
    return Path(base, "specialists")


def _entry(folder: Path) -> dict[str, str]:
    return {"run": os.path.realpath(folder), "config": sha256(folder / CONFIG)}


def _entry_file(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    return state_folder() / "runs" / f"{name}.json"
