"""The report's tables: rows of plain values, ready to be set in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from specialists.clustering import ClassClusters
from specialists.ensemble import CombinationRule
from specialists.report.catalogue import DESCRIPTIONS
from specialists.report.words import direction, find_difference, gate_sentence

MAX_CLASSES = 15
MAX_CLUSTER_NAMES = 40
MAX_NAME = 200
DUSTBIN = "any other class"


def compact(value: float) -> str:
    """A count in three digits: 1_234_567 is "1.23M"."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "4.2 s", "3 min 05 s", "1 h 02 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def cut(names: Sequence[str]) -> list[str]:
    """Names of at most 200 characters, so that no cell is wider than the page."""
    return [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in names]


def model_rows(evaluation: Mapping[str, Any], seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row a model: its metrics, what it is, and its cost against the generalist's.

    ``seconds`` are those of its training, by name.
    """
    base = evaluation["models"]["generalist"]["inference_flops"]
    best = {
        "top1": max(m["top1"] for m in evaluation["models"].values()),
        "nll": min(m["nll"] for m in evaluation["models"].values()),
    }
    return [
        {
            "name": name,
            "description": DESCRIPTIONS.get(name, ""),
            **model,
            "seconds": seconds.get(name),
            "relative_cost": model["inference_flops"] / base if base else None,
            "best": {key for key, value in best.items() if model[key] == value},
        }
        for name, model in evaluation["models"].items()
    ]


def difference_rows(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a comparison with both metrics; the sign says whether ``a`` is better."""
    rows = []
    for top1 in evaluation["differences"]:
        nll = find_difference(evaluation, top1["a"], top1["b"], "nll")
        if top1["metric"] == "top1" and nll is not None:
            signs = {"top1_sign": direction(top1), "nll_sign": direction(nll)}
            rows.append({"a": top1["a"], "b": top1["b"], "top1": top1, "nll": nll, **signs})
    return rows


def choice_rows(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The rule that validation chose in words, its learned numbers, and what the gate said of it.

    Of a learned rule there is a row for the generalist and each specialist.
    """
    gate = choice.get("gate")
    rule = CombinationRule.from_dict(choice["chosen"] if gate is None else gate["rule"])
    told = None if gate is None else {**gate, "words": gate_sentence(gate)}
    words, asked = rule.in_words(), choice.get("asked")
    if rule.defer_above is not None and asked:
        words += f": {asked:.0%} of the validation rows"
    return {"words": words, "learned": _learned_rows(rule), "gate": told}


def _learned_rows(rule: CombinationRule) -> list[dict[str, Any]]:
    if rule.learned is None:
        return []
    weights, temperatures = rule.learned.weights.tolist(), rule.learned.temperatures.tolist()
    each = zip(weights, temperatures, strict=True)
    rows = [("generalist", 1.0, rule.learned.generalist_temperature)]
    rows += [(f"specialist {m}", weight, t) for m, (weight, t) in enumerate(each)]
    return [dict(zip(("name", "weight", "temperature"), row, strict=True)) for row in rows]


def cluster_rows(
    clusters: ClassClusters, per_cluster: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row a cluster, its classes and what its specialist brought ({} if it may not answer)."""
    gains = {entry["cluster"]: entry for entry in per_cluster}
    return [
        {
            "index": index,
            "size": size,
            "share": clusters.share_of_confusions[index],
            "random_share": random_share,
            "first": cut(clusters.names(index)[:MAX_CLUSTER_NAMES]),
            "more": cut(clusters.names(index)[MAX_CLUSTER_NAMES:]),
            "gain": gains.get(index, {}),
        }
        for index, (size, random_share) in enumerate(
            zip(clusters.sizes, clusters.random_shares, strict=True)
        )
    ]


def class_rows(
    per_class: Mapping[str, Sequence[Any]], names: Sequence[str], model: str
) -> dict[str, Any]:
    """The classes that ``model`` serves better and worse than the generalist, extremes first.

    Returns
    -------
    dict
        "gains" and "losses": rows; "n_gains", "n_losses", "n_equal": numbers of classes.
    """
    rows = [
        {"name": name, "n": n, "before": before, "after": after, "change": after - before}
        for name, n, before, after in zip(
            names, per_class["n"], per_class["generalist"], per_class[model], strict=True
        )
        if n
    ]
    gains = sorted((r for r in rows if r["change"] > 0), key=lambda r: (-r["change"], -r["n"]))
    losses = sorted((r for r in rows if r["change"] < 0), key=lambda r: (r["change"], -r["n"]))
    return {
        "model": model,
        "gains": gains[:MAX_CLASSES],
        "losses": losses[:MAX_CLASSES],
        "n_gains": len(gains),
        "n_losses": len(losses),
        "n_equal": len(rows) - len(gains) - len(losses),
    }


def changes_by_class(per_class: Mapping[str, Sequence[Any]], model: str) -> list[float | None]:
    """Accuracy of ``model`` minus the generalist's, by class; None without test examples."""
    pairs = zip(per_class[model], per_class["generalist"], strict=True)
    return [None if after is None else after - before for after, before in pairs]


def label_error_rows(
    entries: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Suspected label errors with class names."""
    return [
        {
            **entry,
            "source_row": entry.get("source_row"),
            "label": names[entry["label"]],
            "suggested": names[entry["suggested"]],
        }
        for entry in entries
    ]


def answer_rows(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Mended or broken examples: who said what, with class names and probabilities."""
    return [
        {
            "row": entry["row"],
            "text": entry["text"],
            "source_row": entry.get("source_row"),
            "label": names[entry["label"]],
            "also": [names[j] for j in entry["valid"] if j != entry["label"]],
            "voices": [
                ("generalist", _named(entry["generalist"], names, entry["valid"])),
                *(
                    (f"specialist {s['specialist']}", _named(s["top"], names, entry["valid"]))
                    for s in entry["specialists"]
                ),
                ("ensemble", _named(entry["ensemble"], names, entry["valid"])),
            ],
        }
        for entry in entries
    ]


def _named(
    top: Sequence[Mapping[str, Any]], names: Sequence[str], valid: Sequence[int]
) -> list[dict[str, Any]]:
    return [
        {
            "name": DUSTBIN if answer["class"] is None else names[answer["class"]],
            "dustbin": answer["class"] is None,
            "right": answer["class"] in valid,
            "probability": answer["probability"],
        }
        for answer in top
    ]
