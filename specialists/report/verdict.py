"""Was it worth it? What a run, or several seeds, say in words to act on.

A run is a comparison of one seed. What is recommended is
:func:`specialists.report.recommendation.recommended`; what gains more at no more inference is named
beside it, and so are specialists and student, whatever they gain.
"""

from __future__ import annotations

from dataclasses import dataclass

from specialists.baselines import SAME_COST
from specialists.catalogue import (
    BASELINES,
    ENSEMBLE,
    GENERALIST,
    HARD_LABELS,
    STUDENT,
    TRAINED,
    WIDE,
    WORDS,
)
from specialists.evaluation import Comparison
from specialists.evaluation.several_seeds import MeanDifference
from specialists.report.caveats import worse
from specialists.report.numbers import compact, enumerated, percent, points, points_interval
from specialists.report.recommendation import largest_gain, recommended

CAUTION = {
    1: "One seed cannot tell the luck of a training from a gain.",
    2: "Two seeds can hardly tell the luck of a training from a gain: run at least three.",
}
STAY_OUT = "Specialists stay out: held-out rows do not show that they help."
NO_BASELINE = "No rival was trained: what else the same computing would bring is not known."


@dataclass(frozen=True)
class Verdict:
    """What a user should do.

    Parameters
    ----------
    headline : str
        In a few words, without a full stop.
    tone : {"good", "bad", "unclear"}
        Of what the specialists did.
    sentences : tuple of str
        What supports it; the first goes on where the headline ends.
    caution : str
        What makes it doubtful; empty for three seeds or more.
    """

    headline: str
    tone: str
    sentences: tuple[str, ...]
    caution: str

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
        headline, named = _advice(comparison, chosen).capitalize(), chosen
        sentences = _recommendation(comparison, chosen)
    if STUDENT in comparison.models and named != STUDENT:
        sentences.append(f"The student: {_bought(comparison, STUDENT)}.")
    missing = [WORDS[name].noun for name in TRAINED if name not in comparison.models]
    if len(missing) == len(TRAINED):
        sentences.append(NO_BASELINE)
    elif missing:
        sentences.append(f"Not trained, so not known: {enumerated(missing)}.")
    harmed = comparison.is_clear(GENERALIST, ENSEMBLE)
    tone = "good" if chosen == ENSEMBLE else "bad" if harmed else "unclear"
    return Verdict(headline, tone, tuple(sentences), CAUTION.get(len(comparison.seeds), ""))


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
    share = "nothing" if kept.value <= 0 else percent(kept.value, 0)
    return (
        f"The student keeps {share} [{low} to {high}] of what the ensemble gains over hard labels."
    )


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
    costs = [_inference(comparison, name)]
    if base.training_flops:
        costs.append(f"{flops / base.training_flops:.1f} times the training FLOPs")
    else:
        costs.append(f"{compact(flops)} training FLOPs")
    if base.training_seconds:
        costs.append(f"{seconds / base.training_seconds:.1f} times the training time")
    return f"{_in_points(comparison.gain(name))} for {enumerated(costs)}"


def _inference(comparison: Comparison, name: str) -> str:
    models = comparison.models
    ratio = models[name].inference_flops / models[GENERALIST].inference_flops
    return f"{ratio:.2f} times the inference"


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


def _advice(comparison: Comparison, name: str) -> str:
    return "train longer from the start" if _is_as_wide(comparison, name) else WORDS[name].advice


def _named(comparison: Comparison, name: str) -> str:
    if _is_as_wide(comparison, name):
        return "a generalist trained longer from the start"
    return WORDS[name].noun
