"""Was it worth it? What a run, or several seeds, say in words to act on.

A run is a comparison of one seed. Alternatives to the generalist are the ensemble, what the same
computing could have bought (training longer, going wider, averaging generalists), the student, and
its network with hard labels. One of them, or none, is recommended
(:mod:`specialists.report.recommendation`). What gains more at no more inference is named beside it,
and so are specialists and student, whatever they gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from specialists.catalogue import (
    BASELINES,
    ENSEMBLE,
    GENERALIST,
    HARD_LABELS,
    STUDENT,
    TRAINED,
    WORDS,
)
from specialists.evaluation import Comparison
from specialists.evaluation.several_seeds import CORRECTED_LEVEL, MeanDifference
from specialists.report.numbers import (
    capitalized,
    compact,
    duration,
    enumerated,
    percent,
    points,
    points_interval,
    two_digits,
)
from specialists.report.recommendation import (
    KEEP,
    advice_for,
    is_as_wide,
    largest_gain,
    may_train_longer,
    recommended,
    training_costs,
)
from specialists.report.search_tables import COUNTED
from specialists.report.sentences import no_better

CAUTION = {
    1: "One seed cannot tell the luck of a training from a gain.",
    2: "Two seeds can hardly tell the luck of a training from a gain: run at least three.",
}
LONGER_FIRST = "Train the generalist longer first"
LAST_WAS_BEST = "last epoch was its best, so more may help (generalist.epochs)"
SAME_NETWORK = "the same network with hard labels"
THE_GAIN = "the ensemble's gain in top-1 over hard labels"
STAY_OUT = "Specialists stay out: held-out rows do not show that they help."
NO_BASELINE = "No baseline was trained: what else the same computing would bring is not known"
NO_NETWORK = "No baseline can be trained: of the generalist only predictions are known."
HOW_TO_ADD = "`--set evaluation.baselines=all` adds each that the network allows"
WEIGHTS_KEPT = (
    "Unless they were kept, `specialists run --out RUN --set evaluation.keep_rivals=true` makes "
    "its weights."
)


@dataclass(frozen=True)
class Verdict:
    """What a user should do."""

    headline: str  # in a few words, without a full stop
    tone: str  # "good", "bad" or "unclear": of what the specialists did
    sentences: tuple[str, ...]  # what supports it; the first goes on where the headline ends
    caution: str  # what makes it doubtful; empty for three seeds or more
    in_table: tuple[str, ...] = ()  # of the sentences, what a table of the options says too

    @property
    def text(self) -> str:
        """All of it in one paragraph."""
        return f"{self.caution} {self.headline}: {' '.join(self.sentences)}".lstrip()


def verdict(comparison: Comparison) -> Verdict:
    """What a user should do, with the gain, its interval, and what it costs."""
    chosen = recommended(comparison)
    if chosen is None:
        headline = LONGER_FIRST if may_train_longer(comparison) else capitalized(KEEP)
        named = largest_gain(comparison, None)
        sentences = _kept_generalist(comparison, named)
    else:
        headline, named = capitalized(advice_for(comparison, chosen)), chosen
        sentences = _recommendation(comparison, chosen)
        if chosen in BASELINES:
            sentences.append(WEIGHTS_KEPT)
    in_table = [] if comparison.is_refused else [_specialists(comparison)]
    if STUDENT in comparison.models and named != STUDENT:
        in_table.append(f"The student: {_bought(comparison, STUDENT)}.")
        sentences.append(in_table[-1])
    missing = [WORDS[name].noun for name in TRAINED if name not in comparison.models]
    if not comparison.models[GENERALIST].parameters:
        sentences.append(NO_NETWORK)
    elif missing:
        few = f"Not trained, so not known: {enumerated(missing)}"
        all_missing = len(missing) == len(TRAINED)
        sentences.append(f"{NO_BASELINE if all_missing else few} ({HOW_TO_ADD}).")
    if chosen is not None and may_train_longer(comparison):
        sentences.append(f"The generalist's {LAST_WAS_BEST}: this answer may change.")
    harmed = comparison.is_clear(GENERALIST, ENSEMBLE)
    tone = "good" if chosen == ENSEMBLE else "bad" if harmed else "unclear"
    caution = CAUTION.get(len(comparison.seeds), "")
    return Verdict(headline, tone, tuple(sentences), caution, tuple(in_table))


def retention_sentence(comparison: Comparison) -> str:
    """What the student keeps of the ensemble's gain over hard labels; "" without students."""
    if not {STUDENT, HARD_LABELS, ENSEMBLE} <= set(comparison.models):
        return ""
    kept = comparison.retention
    if kept is None:
        return (
            "What the student keeps cannot be said: the ensemble is not clearly better than "
            f"{SAME_NETWORK}."
        )
    if kept.value <= 0:
        return f"The student is no better than {SAME_NETWORK}: it keeps none of {THE_GAIN}."
    if not kept.is_clear:
        start = f"The student is not clearly better than {SAME_NETWORK}"
        return f"{start}: whether it keeps any of {THE_GAIN} cannot be said."
    low, high = (percent(end, 0) for end in kept.interval)
    share = f"{percent(kept.value, 0)} [{low} to {high}]"
    return f"The student keeps {share} of {THE_GAIN}."


def _kept_generalist(comparison: Comparison, largest: str | None) -> list[str]:
    may_gain = f"its {LAST_WAS_BEST}, and " * may_train_longer(comparison)
    sentences = [f"{may_gain}nothing that was tried is clearly better."]
    if largest is not None and largest != ENSEMBLE:
        who, bought = _named(comparison, largest), _bought(comparison, largest)
        sentences.append(f"The largest difference is that of {who}: {bought}.")
    return [*sentences, _specialists(comparison)]


def _recommendation(comparison: Comparison, chosen: str) -> list[str]:
    sentences = [f"{_bought(comparison, chosen)}."]
    taught = comparison.find(chosen, HARD_LABELS)
    if chosen == STUDENT and taught is not None:
        sentences.append(f"Over {SAME_NETWORK} it is {_in_points(taught)}.")
    if chosen == ENSEMBLE:
        sentences += _against_each(comparison)
    else:
        sentences.append(_specialists(comparison))
        if not comparison.is_refused:
            sentences.append(_against(comparison, chosen))
    larger = largest_gain(comparison, chosen)
    if larger is not None:
        who, bought = _named(comparison, larger), _bought(comparison, larger)
        how = "" if comparison.is_clear(larger, chosen) else ", but not clearly,"
        sentences.append(f"Larger{how} is the gain of {who}: {bought}.")
    return sentences


def _specialists(comparison: Comparison) -> str:
    return STAY_OUT if comparison.is_refused else f"Specialists: {_bought(comparison, ENSEMBLE)}."


def _in_points(difference: MeanDifference) -> str:
    interval = points_interval(difference.corrected_interval)
    return f"{points(difference.value)} points ({percent(CORRECTED_LEVEL)} interval {interval})"


def _bought(comparison: Comparison, name: str) -> str:
    """The gain and what it costs; a student costs its teacher's training too."""
    costs = [_inference(comparison, name) + _milliseconds(comparison, name)]
    costs.append(_training(comparison, name))
    return f"{_in_points(comparison.gain(name))} for {enumerated(costs)}"


def _training(comparison: Comparison, name: str) -> str:
    (flops, seconds), base = training_costs(comparison, name), comparison.models[GENERALIST]
    searched = bool(comparison.candidates) and name in (STUDENT, HARD_LABELS)
    search = f" ({COUNTED})" * searched
    if seconds:
        instead = f" instead of {duration(base.training_seconds)}" * bool(base.training_seconds)
        return f"{duration(seconds)} of training{instead}{search}"
    if base.training_flops:
        return f"{flops / base.training_flops:.1f} times the training FLOPs{search}"
    return f"{compact(flops)} training FLOPs{search}"


def _milliseconds(comparison: Comparison, name: str) -> str:
    """What was measured for the large batch, as a parenthesis; "" of what was not timed."""
    times = comparison.times
    if times is None or not {name, GENERALIST} <= set(times.models):
        return ""
    own, base = (two_digits(times.models[each].batch) for each in (name, GENERALIST))
    rows = f"for {times.n_rows:,} rows"
    return (
        f" ({own} times the time {rows})"
        if times.relative
        else f" ({own} ms instead of {base} {rows})"
    )


def _inference(comparison: Comparison, name: str) -> str:
    models = comparison.models
    ratio = models[name].inference_flops / models[GENERALIST].inference_flops
    return "unknown inference" if math.isnan(ratio) else f"{ratio:.2f} times the inference FLOPs"


def _against_each(comparison: Comparison) -> list[str]:
    """A sentence a baseline; of two that are the same models, of the first alone."""
    told: dict[object, str] = {}
    for name in BASELINES:
        if name in comparison.models:
            gap, model = comparison.find(ENSEMBLE, name), comparison.models[name]
            same = gap and (gap.values, gap.corrected_interval, model.inference_flops)
            told.setdefault(same or name, _against(comparison, name))
    return list(told.values())


def _against(comparison: Comparison, name: str) -> str:
    difference = comparison.find(ENSEMBLE, name)
    if difference is None:
        return ""
    flaw = no_better(comparison.models, name)
    about = f"{_inference(comparison, name)}{', ' * bool(flaw)}{flaw}"
    who = f"{_named(comparison, name)} ({about})"
    return f"Against {who} specialists are {_in_points(difference)}."


def _named(comparison: Comparison, name: str) -> str:
    as_wide = "a generalist trained longer from the start"
    return as_wide if is_as_wide(comparison, name) else WORDS[name].noun
