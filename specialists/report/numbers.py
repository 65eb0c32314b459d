"""Numbers and lists as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage: 0.6042 is "60.4%"."""
    if value is None:
        return "\N{EN DASH}"
    text = f"{100 * value:.{digits}f}"
    return f"{text if float(text) else text.lstrip('-')}%".replace("-", "\N{MINUS SIGN}")


def probability(value: float) -> str:
    """A probability in whole percent: "42%", "<1%"."""
    return "<1%" if value < 0.005 else percent(value, 0)


def points(value: float) -> str:
    """A difference of fractions in percentage points: "+1.52"."""
    return signed(100 * value, 2)


def points_interval(interval: tuple[float, float]) -> str:
    """An interval of a difference in percentage points: "+1.20 to +1.84"."""
    return f"{points(interval[0])} to {points(interval[1])}"


def enumerated(words: Sequence[str]) -> str:
    """For instance "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def capitalized(words: str) -> str:
    """The same with a capital in front, and nothing else changed."""
    return words[:1].upper() + words[1:]


def signed(value: float, digits: int = 3) -> str:
    """A difference in nats: "+0.031"."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def compact(value: float) -> str:
    """A count in three digits: 1_234_567 is "1.23M"."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def disk_space(n_bytes: float) -> str:
    """Bytes as disks are sold: 1_234_567 is "1.23 MB"."""
    number = compact(n_bytes)
    unit = number.lstrip("0123456789.")
    return f"{number.removesuffix(unit)} {unit}B"


def two_digits(value: float) -> str:
    """A measured time or ratio in two digits: "0.021", "0.30", "4.9", "12"; more from 100 on."""
    digits = 1 - math.floor(math.log10(float(f"{value:.1e}"))) if value > 0 else 0
    return f"{value:,.{max(digits, 0)}f}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "4.2 s", "3 min 05 s", "1 h 02 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
