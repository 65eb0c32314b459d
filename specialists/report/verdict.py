"""Was it worth it? What a run, or several seeds, say in words to act on.

A run is a comparison of one seed. Alternatives to the generalist are the ensemble, what the same
computing could have bought (training longer, going wider, averaging generalists), the student, and
its network with hard labels. One of them counts as clearly better if its interval of the difference
lies above 0, at the level that is corrected for their number. The cheapest in inference of those
that are not clearly worse than the best is recommended; of equal costs the simplest. What gains
more at no more inference is named beside it, and so are specialists and student, whatever they
gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from specialists.baselines import SAME_COST
from specialists.catalogue import (
    BASELINES,
    BY_SIMPLICITY,
    CONTINUED,
    ENSEMBLE,
    GENERALIST,
    HARD_LABELS,
    STUDENT,
    TRAINED,
    WIDE,
    WORDS,
)
from specialists.evaluation import Comparison
from specialists.evaluation.several_seeds import MeanDifference, ShareKept
from specialists.report.measured_times import times_sentence
from specialists.report.numbers import compact, enumerated, percent, points, points_interval
from specialists.report.sentences import worse

CAUTION = {
    1: "One seed cannot tell the luck of a training from a gain.",
    2: "Two seeds can hardly tell the luck of a training from a gain: run at least three.",
}
STAY_OUT = "Specialists stay out: held-out rows do not show that they help."
NO_BASELINE = "No baseline was trained: what else the same computing would bring is not known"
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

    @property
    def text(self) -> str:
        """All of it in one paragraph."""
        return f"{self.caution} {self.headline}: {' '.join(self.sentences)}".lstrip()


def verdict(comparison: Comparison) -> Verdict:
    """What a user should do, with the gain, its interval, and what it costs."""
    chosen = recommended(comparison)
    if chosen is None:
        headline, named = "Keep the generalist", largest_gain(comparison, None)
        sentences = _kept_generalist(comparison, named)
    else:
        as_wide = _is_as_wide(comparison, chosen)
        advice = "train longer from the start" if as_wide else WORDS[chosen].advice
        headline, named = advice.capitalize(), chosen
        sentences = _recommendation(comparison, chosen)
        if chosen in BASELINES:
            sentences.append(WEIGHTS_KEPT)
    if STUDENT in comparison.models and named != STUDENT:
        sentences.append(f"The student: {_bought(comparison, STUDENT)}.")
    if times := times_sentence(comparison.times, _timed(comparison, named)):
        sentences.append(times)
    missing = [WORDS[name].noun for name in TRAINED if name not in comparison.models]
    if missing:
        few = f"Not trained, so not known: {enumerated(missing)}"
        if CONTINUED not in comparison.models:
            few += ", nor whether the generalist was under-trained"
        all_missing = len(missing) == len(TRAINED)
        sentences.append(f"{NO_BASELINE if all_missing else few} ({HOW_TO_ADD}).")
    harmed = comparison.is_clear(GENERALIST, ENSEMBLE)
    tone = "good" if chosen == ENSEMBLE else "bad" if harmed else "unclear"
    return Verdict(headline, tone, tuple(sentences), CAUTION.get(len(comparison.seeds), ""))


def _timed(comparison: Comparison, named: str | None) -> list[str]:
    """Whose measured times are told: of what the sentences are about."""
    names = [named, ENSEMBLE, STUDENT]
    tried = alternatives(comparison)
    return [name for name in dict.fromkeys(names) if name in tried]


def retention_sentence(comparison: Comparison) -> str:
    """What the student keeps of the ensemble's gain over hard labels; "" without students."""
    if not {STUDENT, HARD_LABELS, ENSEMBLE} <= set(comparison.models):
        return ""
    kept = comparison.retention
    if kept is None:
        return (
            "What the student keeps cannot be said: the ensemble is not clearly better than the "
            "same network with hard labels."
        )
    low, high = (percent(end, 0) for end in kept.interval)
    share = f"{share_in_words(kept)} [{low} to {high}]"
    return f"The student keeps {share} of what the ensemble gains over hard labels."


def share_in_words(kept: ShareKept) -> str:
    """What the student keeps of the gain, for instance "42%"."""
    return "nothing" if kept.value <= 0 else percent(kept.value, 0)


def _kept_generalist(comparison: Comparison, largest: str | None) -> list[str]:
    sentences = ["nothing that was tried is clearly better."]
    if largest is not None and largest != ENSEMBLE:
        who, bought = _named(comparison, largest), _bought(comparison, largest)
        sentences.append(f"The largest difference is that of {who}: {bought}.")
    return [*sentences, _specialists(comparison)]


def _recommendation(comparison: Comparison, chosen: str) -> list[str]:
    sentences = [f"{_bought(comparison, chosen)}."]
    taught = comparison.find(chosen, HARD_LABELS)
    if chosen == STUDENT and taught is not None:
        sentences.append(f"Over the same network with hard labels it is {_in_points(taught)}.")
    if chosen == ENSEMBLE:
        sentences += [_against(comparison, n) for n in BASELINES if n in comparison.models]
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
    return f"{points(difference.value)} points ({interval})"


def _bought(comparison: Comparison, name: str) -> str:
    """The gain and what it costs; a student costs its teacher's training too."""
    models = comparison.models
    teacher = GENERALIST if comparison.is_refused else ENSEMBLE
    trained = [models[each] for each in ([name, teacher] if name == STUDENT else [name])]
    flops = sum(model.training_flops for model in trained)
    seconds = sum(model.training_seconds for model in trained)
    base = models[GENERALIST]
    relative = base.training_flops and f"{flops / base.training_flops:.1f} times the training FLOPs"
    costs = [_inference(comparison, name), relative or f"{compact(flops)} training FLOPs"]
    if base.training_seconds:
        costs.append(f"{seconds / base.training_seconds:.1f} times the training time")
    return f"{_in_points(comparison.gain(name))} for {enumerated(costs)}"


def _inference(comparison: Comparison, name: str) -> str:
    models = comparison.models
    ratio = models[name].inference_flops / models[GENERALIST].inference_flops
    return "unknown inference" if math.isnan(ratio) else f"{ratio:.2f} times the inference"


def _against(comparison: Comparison, name: str) -> str:
    difference = comparison.find(ENSEMBLE, name)
    if difference is None:
        return ""
    flaw = worse(comparison.models, name)
    about = f"{_inference(comparison, name)}{', ' * bool(flaw)}{flaw}"
    who = f"{_named(comparison, name)} ({about})"
    return f"Against {who} specialists are {_in_points(difference)}."


def _is_as_wide(comparison: Comparison, name: str) -> bool:
    """Whether the wide generalist has the generalist's own cost: there was room for no more."""
    costs = [comparison.models[key].inference_flops for key in (name, GENERALIST)]
    return name == WIDE and max(costs) <= SAME_COST * min(costs)


def _named(comparison: Comparison, name: str) -> str:
    as_wide = "a generalist trained longer from the start"
    return as_wide if _is_as_wide(comparison, name) else WORDS[name].noun


def alternatives(comparison: Comparison) -> list[str]:
    """The models that were tried beside the generalist, without specialists that stay out."""
    tried = [name for name in BY_SIMPLICITY if name in comparison.models]
    return [name for name in tried if name != ENSEMBLE or not comparison.is_refused]


def recommended(comparison: Comparison) -> str | None:
    """The model to use; None: the generalist, since nothing is clearly better.

    Of models of equal cost, too, only those count that are not clearly worse than their best.
    """
    clear = [name for name in alternatives(comparison) if comparison.is_clear(name, GENERALIST)]
    if not clear:
        return None
    good = _not_clearly_worse(comparison, clear)
    costs = {name: comparison.models[name].inference_flops for name in good}
    limit = SAME_COST * min(costs.values())
    cheapest = [name for name in good if not costs[name] > limit]  # unknown costs exclude nobody
    return min(_not_clearly_worse(comparison, cheapest), key=BY_SIMPLICITY.index)


def _not_clearly_worse(comparison: Comparison, names: list[str]) -> list[str]:
    """The best by its gain, and those that it does not clearly beat."""
    best = max(names, key=lambda name: comparison.gain(name).value)
    return [name for name in names if name == best or not comparison.is_clear(best, name)]


def largest_gain(comparison: Comparison, than: str | None) -> str | None:
    """The model with the largest gain: of all, or of those that cost no more than ``than``.

    Beside ``than`` it has to gain more, and ensemble and student, always named, do not count.
    """
    names, least = alternatives(comparison), 0.0
    if than is not None:
        least = comparison.gain(than).value
        limit = SAME_COST * comparison.models[than].inference_flops
        cheap = [name for name in names if comparison.models[name].inference_flops <= limit]
        names = [name for name in cheap if name not in (ENSEMBLE, STUDENT)]
    gains = {name: gain for name in names if (gain := comparison.gain(name).value) > least}
    return max(gains, key=gains.__getitem__, default=None)
