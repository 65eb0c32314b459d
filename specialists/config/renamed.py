"""Settings that had other names. Old names work until version 0.7; each use gives a warning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from specialists.errors import ConfigError, ConfigWarning

OLD_KEYS = {
    "data.gate_fraction": "data.admission_fraction",
    "combination.gate": "combination.admission",
    "evaluation.controls": "evaluation.baselines",
}
OLD_VALUES = {"student.teacher": {"stored": "offline", "live": "online"}}


def current_key(key: str) -> str:
    """Today's name of a setting; an old name gives a ConfigWarning."""
    if key not in OLD_KEYS:
        return key
    _warn(key, OLD_KEYS[key])
    return OLD_KEYS[key]


def has_old_names(values: Mapping[str, object]) -> bool:
    """Whether a configuration has keys or values that are called otherwise today."""
    with warnings.catch_warnings(action="ignore"):
        return with_current_names(values, None) != values


def with_current_names(values: Mapping[str, object], where: object) -> dict[str, object]:
    """The same configuration with the keys and values of today.

    Raises
    ------
    ConfigError
        If it holds a key by its old name and by its new one.
    """
    current: dict[str, object] = {}
    for section, inner in values.items():
        current[section] = _section(section, inner, where) if isinstance(inner, Mapping) else inner
    return current


def _section(section: str, values: Mapping[str, object], where: object) -> dict[str, object]:
    current: dict[str, object] = {}
    for old, value in values.items():
        key = current_key(f"{section}.{old}")
        name = key.removeprefix(f"{section}.")
        if name != old and name in values:
            raise ConfigError(
                "a setting is given twice, by its old name and by its new one",
                where=where,
                got=f"{section}.{old} and {key}",
                fix=f"keep {key}",
            )
        new = OLD_VALUES.get(key, {}).get(value) if isinstance(value, str) else None
        if new is not None:
            _warn(f'{key} = "{value}"', f'{key} = "{new}"')
        current[name] = value if new is None else new
    return current


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is called {new} now; the old name is understood until version 0.7",
        ConfigWarning,
        stacklevel=2,
    )
