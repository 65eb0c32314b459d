"""What a setting may be: the types that sections share, and what a section is."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def power_of_two(value: int) -> int:
    """``value``, if it is a power of two."""
    if value & (value - 1):
        raise ValueError(f"a power of two is needed, for instance {1 << value.bit_length()}")
    return value


def shortest_first(lengths: tuple[int, int]) -> tuple[int, int]:
    """``lengths``, if the first is not the larger one."""
    if lengths[0] > lengths[1]:
        raise ValueError("the shortest length comes first")
    return lengths


Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
PowerOfTwo = Annotated[int, Field(ge=1), AfterValidator(power_of_two)]
NGrams = Annotated[tuple[NonNegative, NonNegative], AfterValidator(shortest_first)]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
