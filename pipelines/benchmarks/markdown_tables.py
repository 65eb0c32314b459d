"""How do measurements become a Markdown table? A line is a mapping of header to cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from specialists.uncertainty import Interval

Line = Mapping[str, str]


def markdown(lines: Sequence[Line]) -> str:
    """A table; the keys of its lines are its header."""
    header = list(lines[0])
    rule = ["---", *["---:"] * (len(header) - 1)]
    rows = [header, rule, *(list(line.values()) for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def mean_and_spread(values: Sequence[float], scale: float = 1.0, digits: int = 2) -> str:
    """For instance "41.20 ± 0.31", the spread the standard deviation over seeds."""
    text = f"{scale * np.mean(values):.{digits}f}"
    if len(values) < 2:
        return text
    return f"{text} ± {scale * np.std(values, ddof=1):.{digits}f}"


def with_interval(value: float, interval: Interval, scale: float = 100.0, digits: int = 2) -> str:
    """For instance "+0.41 [+0.07, +0.76]", by default in points."""
    low, high = (scale * end for end in interval)
    return f"{scale * value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def units(n_seeds: int) -> str:
    """What the figures of a table over so many seeds are."""
    spread = "mean, spread (standard deviation over seeds), " if n_seeds > 1 else ""
    drawn = "seeds and groups of test examples" if n_seeds > 1 else "groups of test examples"
    return (
        "Top-1 in per cent, differences in points, NLL in nats; "
        f"{spread}95% bootstrap interval over {drawn}."
    )
