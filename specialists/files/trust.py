"""Whose functions may run?

Folders are data, wherever they come from. A function that a run's ``config.toml`` or a
``model.json`` names is called only if somebody vouches for that call:

- the user, in a CONFIG or with ``--set`` on the command line;
- the caller, by ``load(..., trust_code=True)`` or ``--trust-code``;
- this user's state directory (``$XDG_STATE_HOME/specialists``), which records the path of every
  run that was made here with such a function, and the digest of its ``config.toml``.

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
from typing import Any

from specialists.config import Config
from specialists.errors import InputError
from specialists.files.artifacts import read_json, sha256, write_json

CONFIG = "config.toml"
LEVELS = 4  # RUN/train-generalist/units/width-64 is the deepest folder of a model


@dataclass(frozen=True)
class Trust:
    """Which calls may be made.

    Parameters
    ----------
    calls : frozenset of str
        Functions with their options, as :func:`call` writes them.
    everything : bool
        Any call, by the caller's word.
    """

    calls: frozenset[str] = frozenset()
    everything: bool = False

    @classmethod
    def from_config(cls, config: Config) -> Trust:
        """The calls that a configuration names, if its author is the user."""
        return cls(frozenset(call(*named) for named in functions(config).values()))

    def __or__(self, other: Trust) -> Trust:
        return Trust(self.calls | other.calls, self.everything or other.everything)

    def allows(self, function: str, options: Mapping[str, Any]) -> bool:
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


def check_trusted(function: str, options: Mapping[str, Any], where: Path) -> None:
    """Refuse a call that a file names unless somebody vouches for it.

    Parameters
    ----------
    function : str
        ``package.module:function``
    options : mapping
    where : Path
        The file that names it.

    Raises
    ------
    InputError
    """
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


def functions(config: Config) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The functions that a configuration names, with their options, by setting."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    if config.data.factory:
        found["data.factory"] = (config.data.factory, config.data.options)
    if config.generalist.factory:
        found["generalist.factory"] = (config.generalist.factory, config.generalist.options)
    return found


def call(function: str, options: Mapping[str, Any]) -> str:
    """A function and its options as one string."""
    return json.dumps([function, dict(options)], sort_keys=True, default=str)


def record(run: Path) -> None:
    """Remember that this run was made here, as it is configured now.

    Only runs that name functions need it. Where the state directory cannot be written, later
    commands on the run ask for --trust-code.
    """
    config = run / CONFIG
    with suppress(OSError):
        entry = {"run": os.path.realpath(run), "config": sha256(config)}
        write_json(_entry(run), entry)


def recorded(path: Path) -> Trust:
    """The calls of the run that ``path`` lies in, if the state directory knows it."""
    for folder in [path, *path.absolute().parents][: LEVELS + 1]:
        config = folder / CONFIG
        if not config.is_file():
            continue
        with suppress(InputError, OSError):
            entry = read_json(_entry(folder))
            if entry == {"run": os.path.realpath(folder), "config": sha256(config)}:
                return Trust.from_config(Config.from_toml(config))
        break
    return NOTHING


def state_folder() -> Path:
    """``$XDG_STATE_HOME/specialists``, or ``~/.local/state/specialists``."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = home if os.path.isabs(home) else os.path.expanduser("~/.local/state")
    if not os.path.isabs(base):
        raise FileNotFoundError("this user has no home folder")
    return Path(base, "specialists")


def _entry(run: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(run))).hexdigest()[:32]
    return state_folder() / "runs" / f"{name}.json"
