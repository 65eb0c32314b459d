"""How do measurements become a Markdown table? A line is a mapping of header to cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from specialists.escaping import markdown_rows
from specialists.uncertainty import Interval

Line = Mapping[str, str]


def markdown_table(lines: Sequence[Line]) -> str:
    """A table; the keys of its lines are its header."""
    return markdown_rows(list(lines[0]), (list(line.values()) for line in lines))


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


def heading(title: str, n_seeds: int | Sequence[int], note: str) -> str:
    """The title of tables over so many seeds, of all or of each, and what their figures are."""
    counts = dict.fromkeys([n_seeds] if isinstance(n_seeds, int) else n_seeds)
    several = max(counts) > 1
    spread = "mean, spread (standard deviation over seeds), " * several
    return (
        f"# {title}, {' and '.join(map(str, counts))} seed{'s' * several}\n\n"
        f"Top-1 in per cent, differences in points, NLL in nats; {spread}95% bootstrap interval "
        f"over {'seeds and ' * several}groups of test examples. {note}\n\n"
    )
