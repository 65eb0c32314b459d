"""Which runs lie along an axis of the regime map?

Each axis gives its points for what the configuration as it is works with. The point at which
nothing changes is that configuration itself, so that all axes share its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from specialists.config import Config
from specialists.errors import InputError

from .subsampled import drawn_from

SHARES = ("1/8", "1/4", "1/2", "1")
CLASSES = ("128", "512", "all")
WIDTHS = ("1/8", "1/4", "1/2", "1/1", "2/1")
SWITCH = ("off", "on")


@dataclass(frozen=True)
class Base:
    """What the configuration as it is works with.

    Parameters
    ----------
    config : Config
        Of the first seed.
    kind : str
    n_classes : int
    """

    config: Config
    kind: str
    n_classes: int


@dataclass(frozen=True)
class Point:
    """One place of an axis.

    Parameters
    ----------
    label : str
    change : callable, optional
        Maps a configuration to the one of this place; None: the configuration as it is.
    same_data : bool
        Whether the prepared data are those of the base.
    """

    label: str
    change: Callable[[Config], Config] | None = None
    same_data: bool = False


def examples_points(base: Base, wanted: Sequence[str] | None = None) -> list[Point]:
    """Shares of the training rows of each class."""

    def point(share: Fraction) -> Point:
        if share == 1:
            return Point("1")
        return Point(str(share), lambda config: _with_data(config, share=float(share)))

    shares = dict.fromkeys(_fraction(label) for label in wanted or SHARES)
    _check("a share of the training rows", shares, 0, 1)
    return [point(share) for share in shares]


def classes_points(base: Base, wanted: Sequence[str] | None = None) -> list[Point]:
    """Numbers of classes; those that the data set does not have are left out."""

    def fewer(config: Config, n: int) -> Config:
        clusters = config.clusters
        if isinstance(clusters.n_clusters, int):
            n_clusters = max(2, round(clusters.n_clusters * n / base.n_classes))
            clusters = clusters.model_copy(update={"n_clusters": n_clusters})
        return _with_data(config.model_copy(update={"clusters": clusters}), n_classes=n)

    def point(n: int) -> Point:
        if n == base.n_classes:
            return Point("all")
        return Point(str(n), lambda config: fewer(config, n))

    total = base.n_classes
    numbers = [total if label == "all" else _number(label, total) for label in wanted or CLASSES]
    few_enough = [n for n in dict.fromkeys(numbers) if n <= total]
    _check("a number of classes", few_enough or numbers, 2, total)
    return [point(n) for n in few_enough]


def width_points(base: Base, wanted: Sequence[str] | None = None) -> list[Point]:
    """Widths of the generalist; that of the configuration, if it names one, changes nothing."""
    usual = base.config.generalist.width
    widest = max(base.config.resolve(base.kind).generalist.widths or (1,))

    def point(n: int) -> Point:
        if n == usual:
            return Point(str(n))

        def change(config: Config) -> Config:
            generalist = config.generalist.model_copy(update={"width": n})
            return config.model_copy(update={"generalist": generalist})

        return Point(str(n), change, same_data=True)

    return [point(n) for n in dict.fromkeys(_number(label, widest) for label in wanted or WIDTHS)]


def augmentation_points(base: Base, wanted: Sequence[str] | None = None) -> list[Point]:
    """With and without random changes of the training batches."""
    usual = base.config.resolve(base.kind).data.augment

    def point(label: str) -> Point:
        if label not in SWITCH:
            raise InputError("augmentation is on or off", where="--points", got=label)
        augment = label == "on"
        if augment == usual:
            return Point(label)

        def change(config: Config) -> Config:
            data = config.data.model_copy(update={"augment": augment})
            return config.model_copy(update={"data": data})

        return Point(label, change)

    return [point(label) for label in dict.fromkeys(wanted or SWITCH)]


AXES: Mapping[str, Callable[[Base, Sequence[str] | None], list[Point]]] = {
    "examples": examples_points,
    "classes": classes_points,
    "width": width_points,
    "augmentation": augmentation_points,
}


def _with_data(config: Config, **options: Any) -> Config:
    return config.model_copy(update={"data": drawn_from(config.data, **options)})


def _check(what: str, numbers: Iterable[Fraction | int], low: int, high: int) -> None:
    """Refuse the first that does not lie from ``low`` to ``high``."""
    for number in numbers:
        if not low <= number <= high:
            raise InputError(
                f"this is not {what}", where="--points", got=number, expected=f"{low} to {high}"
            )


def _number(label: str, whole: int) -> int:
    """A whole number or, with a slash, a share of ``whole``."""
    found = _fraction(label) * (whole if "/" in label else 1)
    if "/" not in label and found.denominator != 1:
        raise InputError("not a whole number", where="--points", got=label, expected="128, 1/4")
    return max(1, round(found))


def _fraction(label: str) -> Fraction:
    try:
        found = Fraction(label)
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if found <= 0:
        raise InputError("not a positive number", where="--points", got=label, expected="1/4, 128")
    return found
