"""How are the mistakes of a configuration told? All at once, one a line."""

from __future__ import annotations

import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from specialists.errors import ConfigError, own_words

MOST_LINES = 20
TAKEN_BACK = "--set KEY= takes one back"


class ConfigMistakesError(ConfigError):
    """Several mistakes, a line each, of one configuration: a file, or what was checked."""

    def __init__(self, lines: Iterable[str], where: object) -> None:
        self.lines = list(dict.fromkeys(lines))
        n = len(self.lines)
        super().__init__(
            f"the configuration has {n if n <= MOST_LINES else 'many'} mistake{'s' * (n > 1)}",
            where=where,
            got="\n       ".join(self.lines),
            fix=f"correct these keys, or leave them out ({TAKEN_BACK}); "
            "`specialists settings` lists all keys, `specialists configs` working examples",
        )


def explained(error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[str]:
    """A line for each mistake; an unknown key names the nearest of ``fields``.

    A list with a wrong item is reported at that item only. A value that fits none of several types
    is reported for the first type.
    """
    mistakes = {_place(mistake): mistake for mistake in reversed(error.errors())}
    above = {place[:n] for place in mistakes for n in range(len(place))}
    told = [mistake for place, mistake in reversed(mistakes.items()) if place not in above]
    more = [f"and {len(told) - MOST_LINES} more"] * (len(told) > MOST_LINES)
    return [_explain(mistake, fields) for mistake in told[:MOST_LINES]] + more


def _place(mistake: Any) -> tuple[str, ...]:
    """Keys and numbers of items; what else pydantic names are types that it tried."""
    if mistake["type"] == "extra_forbidden":
        return tuple(map(str, mistake["loc"]))
    named = (str(part) for part in mistake["loc"])
    return tuple(part for part in named if part.isidentifier() or part.isdecimal())


def _explain(mistake: Any, fields: Mapping[str, FieldInfo]) -> str:
    place = _place(mistake)
    if mistake["type"] == "extra_forbidden":
        return _unknown(place, fields)
    if mistake["type"] == "missing":
        return f"`{'.'.join(place)}` must be given"
    told = own_words(mistake["msg"])
    if mistake["type"] == "string_type":
        told += ", in quotes"
    if mistake["type"] == "tuple_type":
        told = "a list is needed"
        if isinstance(mistake["input"], str):
            told += f", for instance '{'.'.join(place)}={_as_list(mistake['input'])}'"
    if isinstance(mistake["input"], Mapping):
        return f"in {'.'.join(place) or 'all'}: {told}"
    return f"{'.'.join(place)} = {_SHORT.repr(mistake['input'])}: {told}"


def _as_list(text: str) -> str:
    """What was meant, as a list of TOML, where words need quotes."""
    items = filter(None, (item.strip(" []'\"") for item in text.split(",")))
    written = (item if _NUMBER.fullmatch(item) else json.dumps(item) for item in items)
    return f"[{', '.join(written)}]"


def _unknown(place: tuple[str, ...], fields: Mapping[str, FieldInfo]) -> str:
    *sections, key = place
    above = "".join(f"{name}." for name in sections)
    for name in sections:
        kinds: Any = (fields[name].annotation, *get_args(fields[name].annotation))
        fields = next(kind.model_fields for kind in kinds if hasattr(kind, "model_fields"))
    owners = [n for n, f in fields.items() if key in getattr(f.annotation, "model_fields", ())]
    if owners and not sections:
        one_of = ", ".join(f"`{name}.{key}`" for name in owners)
        return f"unknown key `{key}`; did you mean {one_of}?"
    near = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
    hint = f"did you mean `{above}{near[0]}`?" if near else "known: " + ", ".join(fields)
    return f"unknown key `{_SHORT.repr('.'.join(place))[1:-1]}`; {hint}"


_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
