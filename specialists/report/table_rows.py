"""The report's tables: rows ready to be set in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specialists.catalogue import GENERALIST
from specialists.clustering import ClassClusters
from specialists.ensemble import Choice, CombinationRule
from specialists.evaluation import Difference, Evaluation
from specialists.evaluation.subsets import ByClass, ClusterGain

MAX_NAME = 200


def cut(names: Sequence[str]) -> list[str]:
    """Names of at most 200 characters, so that no cell is wider than the page."""
    return [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in names]


def difference_rows(evaluation: Evaluation) -> list[tuple[Difference, Difference]]:
    """The difference of each pair of models in top-1, and that in NLL."""
    return [
        (top1, nll)
        for top1 in evaluation.differences
        if top1.metric == "top1" and (nll := evaluation.find(top1.a, top1.b, "nll"))
    ]


def rule_in_words(choice: Choice) -> str:
    """The rule that validation chose, and how many rows it leaves to the specialists."""
    rule = choice.admission.chosen
    asked = f": {choice.asked:.0%} of the validation rows"
    return rule.in_words() + asked * (rule.defer_above is not None and choice.asked > 0)


def learned_rows(rule: CombinationRule) -> list[tuple[str, float, float]]:
    """Name, weight and temperature of the generalist and each specialist; none if not learned."""
    if rule.learned is None:
        return []
    weights, temperatures = rule.learned.weights.tolist(), rule.learned.temperatures.tolist()
    names = [f"specialist {m}" for m in range(len(weights))]
    generalist = (GENERALIST, 1.0, rule.learned.generalist_temperature)
    return [generalist, *zip(names, weights, temperatures, strict=True)]


@dataclass(frozen=True)
class ClusterRow:
    """A cluster with its classes' names, and what its specialist gained, if it may answer."""

    index: int
    size: int
    share: float
    random_share: float
    names: list[str]
    gain: ClusterGain | None


def cluster_rows(clusters: ClassClusters, per_cluster: Sequence[ClusterGain]) -> list[ClusterRow]:
    """One row a cluster."""
    gains = {entry.cluster: entry for entry in per_cluster}
    columns = zip(clusters.sizes, clusters.share_of_confusions, clusters.random_shares, strict=True)
    return [
        ClusterRow(i, *column, cut(clusters.names(i)), gains.get(i))
        for i, column in enumerate(columns)
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
    n_equal: int


def class_table(per_class: ByClass, names: Sequence[str], model: str) -> ClassTable:
    """What a model gains and loses against the generalist, by class."""
    columns = zip(names, per_class["n"], per_class[GENERALIST], per_class[model], strict=True)
    rows = [
        ClassRow(name, int(n), before, after)
        for name, n, before, after in columns
        if n and before is not None and after is not None
    ]
    gains = sorted((r for r in rows if r.change > 0), key=lambda r: (-r.change, -r.n))
    losses = sorted((r for r in rows if r.change < 0), key=lambda r: (r.change, -r.n))
    return ClassTable(model, gains, losses, len(rows) - len(gains) - len(losses))


def changes_by_class(per_class: ByClass, model: str) -> list[float | None]:
    """Accuracy of ``model`` minus the generalist's, by class; None without test examples."""
    pairs = zip(per_class[model], per_class[GENERALIST], strict=True)
    return [None if after is None or before is None else after - before for after, before in pairs]
