"""Seeds' models under the same names, though a limit may change the rule in one seed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def at_same_limits(seeds: Sequence[Mapping[str, T]]) -> list[dict[str, T]]:
    """Each seed's models under every name; "family, 1.25x" is the best rule within a limit.

    Where a limit changes nothing, a seed has no such row: the rule of its next lower limit is the
    best. A row that some seed has nothing for is left out. Families stand as they come first, and
    limits rise.
    """
    names = list(dict.fromkeys(name for models in seeds for name in models))
    families = list(dict.fromkeys(_family_and_limit(name)[0] for name in names))

    def place(name: str) -> tuple[int, float]:
        family, limit = _family_and_limit(name)
        return families.index(family), limit

    found = {}
    for name in sorted(names, key=place):
        rows = [row for models in seeds if (row := _up_to(models, name)) is not None]
        if len(rows) == len(seeds):
            found[name] = [models[row] for models, row in zip(seeds, rows, strict=True)]
    return [{name: models[i] for name, models in found.items()} for i in range(len(seeds))]


def _family_and_limit(name: str) -> tuple[str, float]:
    """A row without a limit is a family of its own."""
    family, _, mark = name.partition(", ")
    return (family, float(mark.removesuffix("x"))) if mark else (name, 0.0)


def _up_to(models: Mapping[str, T], name: str) -> str | None:
    """The row of this name, or of the same family at its next lower limit."""
    family, limit = _family_and_limit(name)
    ranked = [(_family_and_limit(other), other) for other in models]
    below = [(mark, other) for (of, mark), other in ranked if of == family and mark <= limit]
    return max(below)[1] if below else None
