"""How does a result go into JSON and come back as the same typed, frozen dataclass?"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError

from specialists.errors import DamagedError, own_words


def null_if_unknown(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else value


def nan_if_null(value: Any) -> Any:
    """What :func:`null_if_unknown` was given."""
    return math.nan if value is None else value


Cost = Annotated[float, BeforeValidator(nan_if_null), PlainSerializer(null_if_unknown)]
"""A number that may be unknown: NaN here, null in JSON."""


class JsonRecord:
    """A dataclass of numbers, strings, other such dataclasses, and tuples and mappings of them.

    A field that holds its default is left out of the JSON.
    """

    def to_dict(self) -> dict[str, Any]:
        """Its fields, JSON-able."""
        plain = {"mode": "json", "by_alias": True, "exclude_defaults": True}
        return _adapter(type(self)).dump_python(self, **plain)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """What :meth:`to_dict` gave.

        Raises
        ------
        DamagedError
            If it is something else.
        """
        try:
            return _adapter(cls).validate_python(values)
        except (KeyError, TypeError) as error:
            raise DamagedError(f"this {cls.__name__} is damaged: {error!r}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DamagedError(
                f"this {cls.__name__} is damaged: {own_words(first['msg'])}", where=where or None
            ) from None


@cache
def _adapter(kind: type[JsonRecord]) -> TypeAdapter:
    return TypeAdapter(kind)
