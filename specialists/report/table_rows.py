"""The report's tables: rows ready to be set in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from specialists.catalogue import GENERALIST
from specialists.clustering import ClassClusters
from specialists.ensemble import CombinationRule
from specialists.evaluation import Difference, Evaluation
from specialists.evaluation.subsets import ByClass, ClusterGain
from specialists.report.sentences import gate_sentence

MAX_CLASSES = 15
MAX_CLUSTER_NAMES = 40
MAX_NAME = 200


def cut(names: Sequence[str]) -> list[str]:
    """Names of at most 200 characters, so that no cell is wider than the page."""
    return [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in names]


def difference_rows(evaluation: Evaluation) -> list[tuple[Difference, Difference]]:
    """The difference of each pair of models in top-1, and that in NLL."""
    rows = []
    for top1 in evaluation.differences:
        nll = evaluation.find(top1.a, top1.b, "nll")
        if top1.metric == "top1" and nll is not None:
            rows.append((top1, nll))
    return rows


@dataclass(frozen=True)
class ChoiceRows:
    """The rule that validation chose in words, its learned numbers, and what the gate decided.

    ``learned`` has a row (name, weight, temperature) for the generalist and each specialist.
    """

    words: str
    learned: list[tuple[str, float, float]]
    gate: Mapping[str, Any] | None
    gate_words: str


def choice_rows(choice: Mapping[str, Any]) -> ChoiceRows:
    """Of ``choice.json``."""
    gate = choice.get("gate")
    rule = CombinationRule.from_dict(choice["chosen"] if gate is None else gate["rule"])
    words, asked = rule.in_words(), choice.get("asked")
    if rule.defer_above is not None and asked:
        words += f": {asked:.0%} of the validation rows"
    return ChoiceRows(words, _learned_rows(rule), gate, "" if gate is None else gate_sentence(gate))


def _learned_rows(rule: CombinationRule) -> list[tuple[str, float, float]]:
    if rule.learned is None:
        return []
    weights, temperatures = rule.learned.weights.tolist(), rule.learned.temperatures.tolist()
    each = enumerate(zip(weights, temperatures, strict=True))
    rows = [(GENERALIST, 1.0, rule.learned.generalist_temperature)]
    return rows + [(f"specialist {m}", weight, t) for m, (weight, t) in each]


@dataclass(frozen=True)
class ClusterRow:
    """A cluster, its first classes and the others, and what its specialist brought, if it may."""

    index: int
    size: int
    share: float
    random_share: float
    first: list[str]
    more: list[str]
    gain: ClusterGain | None


def cluster_rows(clusters: ClassClusters, per_cluster: Sequence[ClusterGain]) -> list[ClusterRow]:
    """One row a cluster."""
    gains = {entry.cluster: entry for entry in per_cluster}
    return [
        ClusterRow(
            index,
            size,
            clusters.share_of_confusions[index],
            random_share,
            cut(clusters.names(index)[:MAX_CLUSTER_NAMES]),
            cut(clusters.names(index)[MAX_CLUSTER_NAMES:]),
            gains.get(index),
        )
        for index, (size, random_share) in enumerate(
            zip(clusters.sizes, clusters.random_shares, strict=True)
        )
    ]


@dataclass(frozen=True)
class ClassRow:
    """A class with ``n`` test examples, and its accuracy by the generalist and by a model."""

    name: str
    n: int
    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class ClassTable:
    """The classes that a model serves better and worse than the generalist, extremes first."""

    model: str
    gains: list[ClassRow]
    losses: list[ClassRow]
    n_gains: int
    n_losses: int
    n_equal: int


def class_table(per_class: ByClass, names: Sequence[str], model: str) -> ClassTable:
    """At most 15 classes each way."""
    columns = zip(names, per_class["n"], per_class[GENERALIST], per_class[model], strict=True)
    rows = [
        ClassRow(name, int(n), before, after)
        for name, n, before, after in columns
        if n and before is not None and after is not None
    ]
    gains = sorted((r for r in rows if r.change > 0), key=lambda r: (-r.change, -r.n))
    losses = sorted((r for r in rows if r.change < 0), key=lambda r: (r.change, -r.n))
    n_equal = len(rows) - len(gains) - len(losses)
    shown = gains[:MAX_CLASSES], losses[:MAX_CLASSES]
    return ClassTable(model, *shown, len(gains), len(losses), n_equal)


def changes_by_class(per_class: ByClass, model: str) -> list[float | None]:
    """Accuracy of ``model`` minus the generalist's, by class; None without test examples."""
    pairs = zip(per_class[model], per_class[GENERALIST], strict=True)
    return [None if after is None or before is None else after - before for after, before in pairs]
