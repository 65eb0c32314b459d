"""Was it worth it? What several seeds say together, in words to act on.

The rivals of specialists are what the same computing could have bought: training longer, going
wider, averaging generalists. Beside them stand the student and its network with hard labels. One of
them counts as clearly better if its interval of the difference to the generalist lies above 0, at
the level that is corrected for their number. Recommended is the cheapest in inference of those that
are not clearly worse than the best; what gains more at no more inference is named beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specialists.baselines import BASELINES, DEFERRED, SAME_COST, SAME_INFERENCE, TRAINED
from specialists.report.numbers import enumerated, points, points_interval
from specialists.report.rivals import worse
from specialists.report.tables import compact

# The order is that of simplicity, which decides between equal costs: one network before one that
# others taught, before several that are asked in turn, before several that are asked always.
ADVICE = {
    "generalist_continued": "train longer",
    "generalist_wide": "go wider",
    "student_hard_labels": "train the student's network with hard labels",
    "student": "run the student",
    "ensemble": "use specialists",
    DEFERRED: "average generalists and ask the later ones less",
    SAME_INFERENCE: "average a few generalists",
    "generalist_ensemble": "average generalists",
}
NAMED = {
    "generalist_continued": "the generalist trained longer",
    "generalist_wide": "a wider generalist",
    "student_hard_labels": "the student's network with hard labels",
    "student": "the student",
    "ensemble": "specialists",
    DEFERRED: "averaged generalists that defer",
    SAME_INFERENCE: "averaged generalists of the same inference",
    "generalist_ensemble": "averaged generalists",
}
BASE = "generalist"
FEW_SEEDS = {
    1: "One seed cannot tell the luck of a training from a gain. ",
    2: "Two seeds can hardly tell the luck of a training from a gain: run at least three. ",
}
STAY_OUT = "Specialists stay out: held-out rows do not show that they help."
NO_RIVAL = "No rival was trained: what else the same computing would bring is not known."


def verdict(comparison: Mapping[str, Any]) -> str:
    """What a user should do, with the gain, its interval, and what it costs."""
    tried = [name for name in ADVICE if name in comparison["models"]]
    clear = [name for name in tried if _is_clear(comparison, name, BASE)]
    worth = [name for name in tried if name != "ensemble" or not _is_out(comparison)]
    if clear:
        chosen = _cheapest_of_the_best(comparison, clear)
        said = _recommendation(comparison, chosen, worth)
    else:
        gain = {name: _value(comparison, name) for name in worth if _value(comparison, name) > 0}
        chosen = max(gain, key=gain.__getitem__, default="ensemble")
        said = ["Keep the generalist: nothing that was tried is clearly better."]
        if chosen != "ensemble":
            who = _named(comparison, chosen)
            said.append(f"The largest difference is that of {who}: {_bought(comparison, chosen)}.")
        said.append(_specialists(comparison))
    if "student" in tried and chosen != "student":
        said.append(f"The student: {_bought(comparison, 'student')}.")
    missing = [NAMED[name] for name in TRAINED if name not in tried]
    if len(missing) == len(TRAINED):
        said.append(NO_RIVAL)
    elif missing:
        said.append(f"Not trained, so not known: {enumerated(missing)}.")
    return f"{FEW_SEEDS.get(len(comparison['seeds']), '')}{' '.join(said)}"


def find(comparison: Mapping[str, Any], a: str, b: str, metric: str = "top1") -> Any:
    """The difference a - b, or None if it was not taken."""
    for entry in comparison["differences"]:
        if (entry["a"], entry["b"], entry["metric"]) == (a, b, metric):
            return entry
    return None


def _is_clear(comparison: Mapping[str, Any], a: str, b: str) -> bool:
    """Whether a is better than b, whichever way round their difference was taken."""
    entry = find(comparison, a, b)
    if entry is not None:
        return entry["corrected_interval"][0] > 0
    return find(comparison, b, a)["corrected_interval"][1] < 0


def _cheapest_of_the_best(comparison: Mapping[str, Any], clear: list[str]) -> str:
    """The cheapest of those not clearly worse than the best; of equal costs the simplest.

    Of equal costs, too, only those that are not clearly worse than the best of these.
    """
    good = _not_clearly_worse(comparison, clear)
    costs = {name: comparison["models"][name]["inference_flops"] for name in good}
    limit = SAME_COST * min(costs.values())
    cheapest = [name for name in good if costs[name] <= limit]
    return min(_not_clearly_worse(comparison, cheapest), key=list(ADVICE).index)


def _not_clearly_worse(comparison: Mapping[str, Any], names: list[str]) -> list[str]:
    """The best by its gain, and those that it does not clearly beat."""
    best = max(names, key=lambda name: _value(comparison, name))
    return [name for name in names if name == best or not _is_clear(comparison, best, name)]


def _recommendation(comparison: Mapping[str, Any], chosen: str, worth: list[str]) -> list[str]:
    advice = _advice(comparison, chosen).capitalize()
    said = [f"{advice}: {_bought(comparison, chosen)}."]
    taught = find(comparison, chosen, "student_hard_labels")
    if chosen == "student" and taught is not None:
        said.append(f"Over the same network with hard labels it is {_in_points(taught)}.")
    if chosen == "ensemble":
        rivals = [name for name in BASELINES if name in comparison["models"]]
        said += [_against(comparison, name) for name in rivals]
    else:
        said.append(_specialists(comparison))
        if not _is_out(comparison):
            said.append(_against(comparison, chosen))
    return said + _larger(comparison, chosen, worth)


def _larger(comparison: Mapping[str, Any], chosen: str, worth: list[str]) -> list[str]:
    """The largest gain at no more inference than the chosen, if it is above its own."""
    limit = SAME_COST * comparison["models"][chosen]["inference_flops"]
    names = [
        name
        for name in worth
        if name not in ("ensemble", "student")  # these are always told
        and comparison["models"][name]["inference_flops"] <= limit
        and _value(comparison, name) > _value(comparison, chosen)
    ]
    if not names:
        return []
    best = max(names, key=lambda name: _value(comparison, name))
    who = _named(comparison, best)
    how = "" if _is_clear(comparison, best, chosen) else ", but not clearly,"
    return [f"Larger{how} is the gain of {who}: {_bought(comparison, best)}."]


def _specialists(comparison: Mapping[str, Any]) -> str:
    if _is_out(comparison):
        return STAY_OUT
    return f"Specialists: {_bought(comparison, 'ensemble')}."


def _is_out(comparison: Mapping[str, Any]) -> bool:
    """Whether the gate refused the specialists in every seed."""
    return set(comparison["gate"]) == {"refused"}


def _value(comparison: Mapping[str, Any], name: str) -> float:
    return find(comparison, name, BASE)["value"]


def _in_points(entry: Mapping[str, Any]) -> str:
    return f"{points(entry['value'])} points ({points_interval(entry['corrected_interval'])})"


def _gain(comparison: Mapping[str, Any], name: str) -> str:
    return _in_points(find(comparison, name, BASE))


def _bought(comparison: Mapping[str, Any], name: str) -> str:
    """The gain and what it costs; a student costs its teacher's training too."""
    models = comparison["models"]
    teacher = BASE if _is_out(comparison) else "ensemble"
    trained = [name, teacher] if name == "student" else [name]
    costs = {
        what: sum(models[each][f"training_{what}"] for each in trained)
        for what in ("flops", "seconds")
    }
    flops, seconds = (models[BASE][f"training_{what}"] for what in costs)
    told = [_inference(comparison, name)]
    if flops:
        told.append(f"{costs['flops'] / flops:.1f} times the training FLOPs")
    else:
        told.append(f"{compact(costs['flops'])} training FLOPs")
    if seconds:
        told.append(f"{costs['seconds'] / seconds:.1f} times the training time")
    return f"{_gain(comparison, name)} for {enumerated(told)}"


def _inference(comparison: Mapping[str, Any], name: str) -> str:
    models = comparison["models"]
    ratio = models[name]["inference_flops"] / models[BASE]["inference_flops"]
    return f"{ratio:.2f} times the inference"


def _against(comparison: Mapping[str, Any], name: str) -> str:
    gap = _in_points(find(comparison, "ensemble", name))
    flaw = worse(comparison["models"], name)
    about = f"{_inference(comparison, name)}{', ' * bool(flaw)}{flaw}"
    who = f"{_named(comparison, name)} ({about})"
    return f"Against {who} specialists are {gap}."


def _is_as_wide(comparison: Mapping[str, Any], name: str) -> bool:
    """Whether the wide generalist has the generalist's own cost: there was room for no more."""
    costs = [comparison["models"][key]["inference_flops"] for key in (name, BASE)]
    return name == "generalist_wide" and max(costs) <= SAME_COST * min(costs)


def _advice(comparison: Mapping[str, Any], name: str) -> str:
    return "train longer from the start" if _is_as_wide(comparison, name) else ADVICE[name]


def _named(comparison: Mapping[str, Any], name: str) -> str:
    if _is_as_wide(comparison, name):
        return "a generalist trained longer from the start"
    return NAMED[name]
