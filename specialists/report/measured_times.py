"""How measured times of prediction are told: in a table, below it, and in a line."""

from __future__ import annotations

from specialists.evaluation import InferenceTimes
from specialists.report.numbers import enumerated, two_digits

UNKNOWN = "\N{EN DASH}"


def times_title(times: InferenceTimes) -> str:
    """Of a column: "ms: 1 row / 1,000 rows"."""
    return f"{'time' if times.relative else 'ms'}: 1 row / {times.n_rows:,} rows"


def times_cell(times: InferenceTimes, name: str) -> str:
    """What a table says of one model: "0.21 / 4.9"."""
    found = times.models.get(name)
    if found is None:
        return UNKNOWN
    unit = "x" * times.relative
    return f"{two_digits(found.one)}{unit} / {two_digits(found.batch)}{unit}"


def times_in_words(times: InferenceTimes, name: str) -> str:
    """For instance "0.21 ms a row, 4.9 ms for 1,000"; or why there is no time."""
    if name not in times.models:
        return f"not timed: {times.not_timed.get(name, 'unknown')}"
    one, batch = (two_digits(ms) for ms in (times.models[name].one, times.models[name].batch))
    return f"{one} ms a row, {batch} ms for {times.n_rows:,}"


def times_note(times: InferenceTimes) -> str:
    """What the column holds, where it was measured, and why models have no time."""
    what = "wall time from encoded inputs to probabilities, best of several rounds"
    if times.relative:
        start = f"Time: {what}, over the generalist's, since seeds ran on different machines. "
    else:
        threads = f"{times.threads} thread{'s' * (times.threads > 1)}"
        start = f"ms: measured {what} ({times.machine}; {threads}). "
    without: dict[str, list[str]] = {}
    for name, reason in times.not_timed.items():
        without.setdefault(reason, []).append(name)
    reasons = "; ".join(f"{enumerated(names)} ({reason})" for reason, names in without.items())
    missing = f" Not timed: {reasons}." if reasons else ""
    return f"{start}Rivals were timed as untrained networks of the same size.{missing}"
