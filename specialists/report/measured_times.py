"""How measured times of prediction are told: in a table, below it, and in the verdict."""

from __future__ import annotations

from collections.abc import Iterable

from specialists.catalogue import GENERALIST, WORDS
from specialists.evaluation import InferenceTimes, Milliseconds
from specialists.report.numbers import two_digits

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
    reasons = "; ".join(f"{name} ({reason})" for name, reason in times.not_timed.items())
    missing = f" Not timed: {reasons}." if reasons else ""
    return f"{start}Rivals were timed as untrained networks of the same size.{missing}"


def times_sentence(times: InferenceTimes | None, names: Iterable[str]) -> str:
    """What some models take beside the generalist; "" where none was timed."""
    if times is None or GENERALIST not in times.models:
        return ""
    told = [_beside_generalist(times, n) for n in names if n in times.models and n != GENERALIST]
    if not told:
        return ""
    if times.relative:
        start = f"Measured over the generalist's time for one row and for {times.n_rows:,} rows"
        return f"{start}: {'; '.join(told)}."
    base = f"the generalist {_both(times.models[GENERALIST])} ms"
    return f"Measured for one row and for {times.n_rows:,} rows: {'; '.join([base, *told])}."


def _beside_generalist(times: InferenceTimes, name: str) -> str:
    ratio = f"{_both(times.over_generalist(name))} times"
    if times.relative:
        return f"{WORDS[name].noun} {ratio}"
    return f"{WORDS[name].noun} {_both(times.models[name])} ms ({ratio})"


def _both(ms: Milliseconds) -> str:
    return f"{two_digits(ms.one)} and {two_digits(ms.batch)}"
