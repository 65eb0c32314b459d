"""What a setting may be: the types that sections share, and what a section is.

Numbers are taken as they are written: no string, no boolean and no 3.0 is an integer, and nothing
is infinite unless its description allows it. Upper limits are far above what makes sense; what a
machine's memory allows is for :mod:`specialists.feasibility` to say.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MOST_SEEDS = 2**32
MOST = 2**31 - 1
MOST_LEVELS = 16
PLAIN = (str, int, float, bool, type(None))

Value = TypeVar("Value")


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError(f"a power of two is needed, for instance {1 << value.bit_length()}")
    return value


def _n_grams(lengths: tuple[int, int]) -> tuple[int, int]:
    """``lengths``, if they are a shortest and a longest length, or (0, 0) for none."""
    if lengths[0] > lengths[1]:
        raise ValueError("the shortest length comes first")
    if lengths[0] == 0 < lengths[1]:
        raise ValueError("the shortest length is at least 1; (0, 0) for no n-grams at all")
    return lengths


def _distinct(values: tuple[Value, ...]) -> tuple[Value, ...]:
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise ValueError(f"{twice[0]} is given twice")
    return values


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path holds no NUL character")
    return text


def _import_path(text: str) -> str:
    module, _, name = text.partition(":")
    if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError("package.module:function is needed")
    return text


def _plain(values: dict[str, object]) -> dict[str, object]:
    """``values``, if they are strings, numbers, booleans, and lists and tables of these."""
    level: list[object] = [values]
    for _ in range(MOST_LEVELS):
        inner = [item for item in level if isinstance(item, dict)]
        below = [value for table in inner for value in table.values()]
        below += [value for item in level if isinstance(item, list | tuple) for value in item]
        strange = [v for v in below if not isinstance(v, (*PLAIN, dict, list, tuple))]
        if strange:
            raise ValueError(f"{strange[0]!r} is neither a string nor a number; write it in quotes")
        if not below:
            return values
        level = below
    raise ValueError(f"more than {MOST_LEVELS} levels of lists and tables")


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[int, Field(strict=True, ge=1, le=MOST)]
NonNegative = Annotated[int, Field(strict=True, ge=0, le=MOST)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=MOST_SEEDS)]
Layers = Annotated[int, Field(strict=True, ge=1, le=100)]
Pixels = Annotated[int, Field(strict=True, ge=1, le=4096)]
Resamples = Annotated[int, Field(strict=True, ge=1, le=10**6)]
PowerOfTwo = Annotated[int, Field(strict=True, ge=1, le=2**31), AfterValidator(_power_of_two)]
Switch = Annotated[bool, Field(strict=True)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Rate = Annotated[Number, Field(gt=0, le=1000)]
Temperature = Annotated[Number, Field(ge=1e-3, le=1e4)]
Weight = Annotated[Number, Field(gt=0, le=1e18)]
Share = Annotated[Number, Field(ge=0, le=1)]
PositiveShare = Annotated[Number, Field(gt=0, le=1)]
Ratio = Annotated[Number, Field(gt=0, le=1000)]
Length = Annotated[int, Field(strict=True, ge=0, le=64)]
NGrams = Annotated[tuple[Length, Length], AfterValidator(_n_grams)]
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
ImportPath = Annotated[str, AfterValidator(_import_path)]
Options = Annotated[dict[str, object], AfterValidator(_plain)]
Tables = tuple[Options, ...]
Distinct = AfterValidator(_distinct)
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1),
    Distinct,
    BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys; the string below each is its help.

    Its checks are built when they are first needed, which `--help` never does.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        defer_build=True,
        use_attribute_docstrings=True,
    )


def is_set(section: Section, key: str) -> bool:
    """Whether a setting differs from its default."""
    field = type(section).model_fields[key]
    return getattr(section, key) != field.get_default(call_default_factory=True)
