"""What a finished run found, in lines for the terminal."""

from __future__ import annotations

from itertools import zip_longest

from specialists.escaping import one_line, readable
from specialists.evaluation import Comparison
from specialists.evaluation.pair_changes import PairChange
from specialists.evaluation.several_seeds import CORRECTED_LEVEL
from specialists.report import sentences
from specialists.report.numbers import duration, percent, points, points_interval, two_digits
from specialists.report.recommendation import Option, options
from specialists.report.run_results import Results
from specialists.report.verdict import retention_sentence, verdict

N_PAIRS = 3
MAX_TEXT = 48
UNKNOWN = "\N{EN DASH}"


def summary_lines(results: Results) -> list[str]:
    """The answer, what each option gains and costs, who is told apart now, and what is doubtful."""
    comparison, answer = results.comparison, verdict(results.comparison)
    kept = retention_sentence(comparison) if comparison.retention else ""
    doubts = [warning.split(":")[0].lower() for warning in sentences.warnings(results.details)]
    return [
        f"{answer.headline}: {answer.sentences[0]}",
        *option_lines(comparison),
        *([f"  {kept}"] if kept else []),
        *pair_lines(results),
        *(f"  warning: {doubt}" for doubt in doubts),
    ]


def option_lines(comparison: Comparison) -> list[str]:
    """A table with a row for each thing that could be done; the advised one has an arrow."""
    times = comparison.times
    timed = [f"{'time' if times.relative else 'ms'} for {times.n_rows:,} rows"] if times else []
    found = options(comparison)
    gain = f"points over the generalist ({percent(CORRECTED_LEVEL)} interval)"
    head = ["", "top-1", gain, *timed, "training"]
    table = [head, *(_cells(option, bool(times)) for option in found)]
    first, *others = (max(map(len, column)) for column in zip(*table, strict=True))
    lines = [
        "  ".join(
            [f"  {row[0]:<{first}}", *(f"{c:>{w}}" for c, w in zip(row[1:], others, strict=True))]
        )
        for row in table
    ]
    arrows = ["", *("  <- advised" * option.is_advised for option in found)]
    return [line + arrow for line, arrow in zip_longest(lines, arrows, fillvalue="")]


def _cells(option: Option, timed: bool) -> list[str]:
    gain, told = option.gain, ""
    if gain is not None:
        told = f"{points(gain.value)} ({points_interval(gain.corrected_interval)})"
    elif option.is_refused:
        told = "stay out: no gain on held-out rows"
    time = UNKNOWN if option.milliseconds is None else two_digits(option.milliseconds)
    seconds = duration(option.seconds) if option.seconds else UNKNOWN
    return [option.advice, percent(option.top1), told, *[time] * timed, seconds]


def pair_lines(results: Results) -> list[str]:
    """At most three pairs of classes that the specialists tell apart better, a line each."""
    changes = results.details.pairs
    if changes is None or not changes.most:
        return []
    told = [f"    {_pair(results, pair)}" for pair in changes.most[:N_PAIRS]]
    counts = f"{changes.n_better:,} pairs of classes better than the generalist"
    worse = f", {changes.n_worse:,} worse" * bool(changes.n_worse)
    return [f"  Specialists tell apart {counts}{worse}. The largest gains:", *told]


def _pair(results: Results, pair: PairChange) -> str:
    first, second = (_short(readable(results.data.class_names[j])) for j in pair.classes)
    confused = f"{pair.ensemble} confused instead of {pair.generalist}"
    right = "" if pair.gain is None else f"{pair.gain} more right, "
    line = f"{first} and {second}: of {pair.n_test:,} rows {right}{confused}"
    texts = [(each.text, each.label) for each in pair.examples if each.text]
    if not texts:
        return line
    most_read, label = max(texts, key=lambda known: _share_of_ascii(known[0]))
    name = _short(readable(results.data.class_names[label]))
    return f'{line}; "{_short(most_read)}" is {name}'


def _share_of_ascii(text: str) -> float:
    """How much of a text most terminals can show; of equal ones the first is taken."""
    return sum(character.isascii() for character in text) / len(text)


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1].rstrip() + "…"
