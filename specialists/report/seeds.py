"""What do several seeds say together? A table, a figure and one sentence to act on.

The rivals of specialists are what the same computing could have bought: training longer, going
wider, averaging generalists. One of them counts if its interval of the difference to the generalist
lies above 0. The best one that counts is recommended, unless a cheaper one that counts is not
clearly worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specialists.figures import CostPoint, accuracy_against_cost, to_svg_file
from specialists.report.tables import compact, duration
from specialists.report.words import percent, points, points_interval

ADVICE = {
    "generalist_continued": "train longer",
    "generalist_wide": "go wider",
    "generalist_ensemble": "average generalists",
    "ensemble": "use specialists",
}
BASE = "generalist"


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """Heading, table and verdict of what ``compare_seeds`` found."""
    seeds = ", ".join(map(str, comparison["seeds"]))
    head = (
        f"# {comparison['dataset']}: {len(comparison['seeds'])} seeds ({seeds})\n\n"
        f"{comparison['n_classes']:,} classes; top-1 in per cent, differences in points, "
        "NLL in nats; mean, spread (standard deviation over seeds), 95% bootstrap interval over "
        "test examples. Inference: FLOPs over the generalist's; training: examples and wall time.\n"
    )
    table = "\n".join("| " + " | ".join(row) + " |" for row in _rows(comparison))
    notes = f"{_admitted(comparison)}{_kept(comparison)}"
    return f"{head}\n{table}\n\n{notes}**Verdict.** {verdict(comparison)}\n"


def verdict(comparison: Mapping[str, Any]) -> str:
    """What a user should do, with the gain, its interval, and what it costs."""
    clear = {
        name: found
        for name in ADVICE
        if (found := find(comparison, name, BASE)) is not None and found["interval"][0] > 0
    }
    if not clear:
        tried = [name for name in ADVICE if name in comparison["models"]]
        best = max(tried, key=lambda name: find(comparison, name, BASE)["value"])
        largest = f"The largest difference is that of {_named(best)}, {_gain(comparison, best)}. "
        return (
            "Keep the generalist: nothing that was tried is clearly better. "
            f"{'' if best == 'ensemble' else largest}"
            f"Specialists: {_gain(comparison, 'ensemble')} for {_cost(comparison, 'ensemble')}."
        )
    chosen = _cheapest_of_the_best(comparison, clear)
    advice, cost = ADVICE[chosen].capitalize(), _cost(comparison, chosen)
    sentence = f"{advice}: {_gain(comparison, chosen)} for {cost}."
    if chosen == "ensemble":
        rivals = [name for name in ADVICE if name != "ensemble" and name in comparison["models"]]
        return " ".join([sentence, *(_against(comparison, name) for name in rivals)])
    return (
        f"{sentence} Specialists: {_gain(comparison, 'ensemble')} for "
        f"{_cost(comparison, 'ensemble')}. {_against(comparison, chosen)}"
    )


def comparison_figure(comparison: Mapping[str, Any]) -> str:
    """Accuracy against inference cost as SVG; lines are the range over seeds."""
    spots = [
        CostPoint(
            name=name,
            top1=model["top1"]["mean"],
            interval=(min(model["top1"]["values"]), max(model["top1"]["values"])),
            inference_flops=model["inference_flops"],
        )
        for name, model in comparison["models"].items()
    ]
    what = "Top-1 accuracy against inference cost, mean and range over seeds"
    return to_svg_file(accuracy_against_cost(spots), what)


def find(comparison: Mapping[str, Any], a: str, b: str, metric: str = "top1") -> Any:
    """The difference a - b, or None if it was not taken."""
    for entry in comparison["differences"]:
        if (entry["a"], entry["b"], entry["metric"]) == (a, b, metric):
            return entry
    return None


def _cheapest_of_the_best(comparison: Mapping[str, Any], clear: Mapping[str, Any]) -> str:
    models = comparison["models"]
    best = max(clear, key=lambda name: clear[name]["value"])
    for name in sorted(clear, key=lambda name: models[name]["inference_flops"]):
        cheaper = models[name]["inference_flops"] < models[best]["inference_flops"]
        pair = find(comparison, "ensemble", name if best == "ensemble" else best)
        if (
            cheaper
            and "ensemble" in (name, best)
            and pair["interval"][0] <= 0 <= pair["interval"][1]
        ):
            return name
    return best


def _rows(comparison: Mapping[str, Any]) -> list[list[str]]:
    models = comparison["models"]
    rivals = [name for name in models if name in ADVICE and name != "ensemble"]
    header = ["model", "top-1", "it - `generalist`", "`ensemble` - it", "NLL"]
    header += ["inference", "training examples", "training time"]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name, model in models.items():
        against = find(comparison, "ensemble", name) if name in (*rivals, BASE) else None
        base = models[BASE]["inference_flops"]
        rows.append(
            [
                f"`{name}`",
                _mean(model["top1"], 100, 2),
                _difference(find(comparison, name, BASE)),
                _difference(against),
                _mean(model["nll"], 1, 3),
                f"{model['inference_flops'] / base:.2f}x",
                compact(model["training_examples"]),
                duration(model["training_seconds"]),
            ]
        )
    return rows


def _mean(summary: Mapping[str, Any], scale: float, digits: int) -> str:
    spread = summary["spread"]
    value = f"{scale * summary['mean']:.{digits}f}"
    return value if spread is None else f"{value} ± {scale * spread:.{digits}f}"


def _difference(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    return f"{points(entry['value'])} [{points_interval(entry['interval'])}]"


def _admitted(comparison: Mapping[str, Any]) -> str:
    outcomes = comparison["gate"]
    n = outcomes.count("refused")
    if not n:
        return ""
    where = "all" if n == len(outcomes) else f"{n} of {len(outcomes)}"
    return (
        f"In {where} seeds held-out rows do not show that specialists help: there `ensemble` "
        "answers like its generalist.\n\n"
    )


def _kept(comparison: Mapping[str, Any]) -> str:
    models = comparison["models"]
    names = ("student", "student_hard_labels", "ensemble")
    if not set(names) <= set(models):
        return ""
    student, hard, ensemble = (models[name]["top1"]["mean"] for name in names)
    if ensemble <= hard:
        return ""
    share = (student - hard) / (ensemble - hard)
    return f"The student keeps {percent(share, 0)} of what the ensemble gains over hard labels.\n\n"


def _gain(comparison: Mapping[str, Any], name: str) -> str:
    entry = find(comparison, name, BASE)
    return f"{points(entry['value'])} points ({points_interval(entry['interval'])})"


def _cost(comparison: Mapping[str, Any], name: str) -> str:
    model, base = comparison["models"][name], comparison["models"][BASE]
    inference = model["inference_flops"] / base["inference_flops"]
    seen = base["training_examples"]
    training = (
        f"{model['training_examples'] / seen:.1f} times the training" if seen else "its training"
    )
    return f"{inference:.2f} times the inference and {training}"


def _against(comparison: Mapping[str, Any], name: str) -> str:
    entry = find(comparison, "ensemble", name)
    return (
        f"Against {_named(name)} specialists are {points(entry['value'])} points "
        f"({points_interval(entry['interval'])})."
    )


def _named(name: str) -> str:
    return {
        "generalist_continued": "the generalist trained longer",
        "generalist_wide": "a wider generalist",
        "generalist_ensemble": "averaged generalists",
        "ensemble": "specialists",
    }[name]
