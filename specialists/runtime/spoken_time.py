"""How is a time that is only roughly known said? Rounded, with the unit that people use."""

from __future__ import annotations

FEW_SECONDS = 8
MINUTE, HOUR, DAY = 60, 3600, 86400


def spoken_time(least: float, most: float | None = None) -> str:
    """Seconds, or a range of them, in words.

    Examples
    --------
    >>> spoken_time(95, 210), spoken_time(40), spoken_time(47, 110), spoken_time(5000, 9400)
    ('2 to 4 minutes', '40 seconds', '50 seconds to 2 minutes', '1.5 to 2.5 hours')
    """
    most = least if most is None else most
    if most < FEW_SECONDS:
        return "a few seconds"
    (low, low_unit), (high, high_unit) = _rounded(least), _rounded(most)
    if low_unit != high_unit:
        return f"{_with_unit(low, low_unit)} to {_with_unit(high, high_unit)}"
    return _with_unit(high, high_unit) if low == high else f"{low} to {high} {high_unit}s"


def clock_time(seconds: float) -> str:
    """Seconds that have passed, as a clock shows them.

    Examples
    --------
    >>> clock_time(7.9), clock_time(75), clock_time(7322)
    ('0:07', '1:15', '2:02:02')
    """
    minutes, rest = divmod(int(seconds), MINUTE)
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}{'s' * (number != '1')}"


def _rounded(seconds: float) -> tuple[str, str]:
    if seconds < MINUTE - 5:
        return str(max(10, 10 * round(seconds / 10))), "second"
    if seconds < HOUR - MINUTE / 2:
        return str(max(1, round(seconds / MINUTE))), "minute"
    unit, name = (HOUR, "hour") if seconds < 2 * DAY else (DAY, "day")
    return f"{max(1.0, round(2 * seconds / unit) / 2):g}", name
