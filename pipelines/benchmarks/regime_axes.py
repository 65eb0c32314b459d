"""Which runs lie along an axis of the regime map?

Each axis gives its points for what the configuration as it is works with. The point at which
nothing changes is that configuration itself, so that all axes share its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from specialists.config import Config
from specialists.errors import InputError

from .subsampled import drawn_from

SHARES = ("1/8", "1/4", "1/2", "1")
CLASSES = ("128", "512", "all")
WIDTHS = ("1/8", "1/4", "1/2", "1/1", "2/1")
SWITCH = ("off", "on")


@dataclass(frozen=True)
class Base:
    """The configuration of the first seed, and the kind of input and the classes of its data."""

    config: Config
    kind: str
    n_classes: int


@dataclass(frozen=True)
class Point:
    """One place of an axis, and the change of a configuration that leads there (None: none)."""

    label: str
    change: Callable[[Config], Config] | None = None
    same_data: bool = False  # whether the prepared data are those of the base


def examples_points(base: Base, labels: Sequence[str] | None = None) -> list[Point]:
    """Shares of the training rows of each class."""
    shares = dict.fromkeys(map(_fraction, labels or SHARES))
    _check("a share of the training rows", shares, 0, 1)
    return [
        Point(str(share), None if share == 1 else partial(_drawn, share=float(share)))
        for share in shares
    ]


def classes_points(base: Base, labels: Sequence[str] | None = None) -> list[Point]:
    """Numbers of classes; those that the data set does not have are left out."""
    total = base.n_classes

    def fewer(config: Config, n: int) -> Config:
        if isinstance(config.clusters.n_clusters, int):
            fewest = 2 * config.clusters.coverage
            n_clusters = max(fewest, round(config.clusters.n_clusters * n / total))
            config = _changed(config, "clusters", n_clusters=n_clusters)
        return _drawn(config, n_classes=n)

    numbers = [total if label == "all" else _number(label, total) for label in labels or CLASSES]
    few_enough = [n for n in dict.fromkeys(numbers) if n <= total]
    _check("a number of classes", few_enough or numbers, 2, total)
    return [Point("all") if n == total else Point(str(n), partial(fewer, n=n)) for n in few_enough]


def width_points(base: Base, labels: Sequence[str] | None = None) -> list[Point]:
    """Widths of the generalist; that of the configuration, if it names one, changes nothing."""
    widest = max(base.config.resolve(base.kind).generalist.widths or (1,))
    widths = dict.fromkeys(_number(label, widest) for label in labels or WIDTHS)
    return [
        Point(str(n))
        if n == base.config.generalist.width
        else Point(str(n), partial(_changed, section="generalist", width=n), same_data=True)
        for n in widths
    ]


def augmentation_points(base: Base, labels: Sequence[str] | None = None) -> list[Point]:
    """With and without random changes of the training batches."""
    usual = SWITCH[bool(base.config.resolve(base.kind).data.augment)]
    points = []
    for label in dict.fromkeys(labels or SWITCH):
        if label not in SWITCH:
            raise InputError("augmentation is on or off", where="--points", got=label)
        change = partial(_changed, section="data", augment=label == "on")
        points.append(Point(label, None if label == usual else change))
    return points


AXES: Mapping[str, Callable[[Base, Sequence[str] | None], list[Point]]] = {
    "examples": examples_points,
    "classes": classes_points,
    "width": width_points,
    "augmentation": augmentation_points,
}


def _drawn(config: Config, **options: float) -> Config:
    return config.model_copy(update={"data": drawn_from(config.data, **options)})


def _changed(config: Config, section: str, **values: object) -> Config:
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})


def _check(what: str, numbers: Iterable[Fraction | int], low: int, high: int) -> None:
    """Refuse the first that does not lie from ``low`` to ``high``."""
    for number in numbers:
        if not low <= number <= high:
            raise InputError(
                f"this is not {what}", where="--points", got=number, expected=f"{low} to {high}"
            )


def _number(label: str, whole: int) -> int:
    """A whole number or, with a slash, a share of ``whole``."""
    number = _fraction(label) * (whole if "/" in label else 1)
    if "/" not in label and number.denominator != 1:
        raise InputError("not a whole number", where="--points", got=label, expected="128, 1/4")
    return max(1, round(number))


def _fraction(label: str) -> Fraction:
    try:
        fraction = Fraction(label)
    except (ValueError, ZeroDivisionError):
        fraction = Fraction(0)
    if fraction <= 0:
        raise InputError("not a positive number", where="--points", got=label, expected="1/4, 128")
    return fraction
