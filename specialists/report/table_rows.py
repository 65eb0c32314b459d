"""The report's tables: rows ready to be set in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from specialists.catalogue import ENSEMBLE, GENERALIST, WORDS
from specialists.clustering import ClassClusters
from specialists.ensemble import Choice, CombinationRule
from specialists.escaping import readable
from specialists.evaluation import Difference, Evaluation
from specialists.evaluation.subsets import ByClass, ClusterGain
from specialists.report.numbers import capitalized
from specialists.uncertainty import MIN_GROUPS

MAX_NAME = 200
MAX_CLASSES = 5000


class OfTestRows(Protocol):
    """What was measured on a part of the test rows."""

    @property
    def n_test(self) -> int: ...


Part = TypeVar("Part", bound=OfTestRows)


def telling(parts: Sequence[Part]) -> list[Part]:
    """Those of enough test rows to say anything, at least 20."""
    return [part for part in parts if part.n_test >= MIN_GROUPS]


def too_few_sentence(parts: Sequence[OfTestRows], one: str, many: str) -> str:
    """How many of the parts, called ``one`` or ``many``, have too few rows; "" if none has."""
    few = [part.n_test for part in parts if part.n_test < MIN_GROUPS]
    if not few:
        return ""
    which = f"{len(few)} {one if len(few) == 1 else many}"
    rows = f"{sum(few)} row{'s' * (sum(few) != 1)}"
    return f"Left out, since fewer than {MIN_GROUPS} test rows say nothing: {which} ({rows})."


def cut(names: Sequence[str]) -> list[str]:
    """Names for people, of at most 200 characters, so that no cell is wider than the page."""
    shown = map(readable, names)
    return [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in shown]


def difference_rows(
    evaluation: Evaluation, silent: bool = False
) -> list[tuple[Difference, Difference]]:
    """The difference of each pair of models in top-1, and that in NLL.

    ``silent`` says that the ensemble is its generalist, whose difference is left out.
    """
    return [
        (top1, nll)
        for top1 in evaluation.differences
        if top1.metric == "top1"
        and not (silent and (top1.a, top1.b) == (ENSEMBLE, GENERALIST))
        and (nll := evaluation.find(top1.a, top1.b, "nll"))
    ]


def rule_in_words(choice: Choice) -> str:
    """The rule that validation chose, and how many rows it leaves to the specialists."""
    rule = choice.admission.chosen
    asked = f" ({choice.asked:.0%} of the validation rows are left to specialists)"
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
    """A cluster with its classes' names, and what its specialist gained, where that is known."""

    index: int
    size: int
    share: float
    random_share: float
    names: list[str]
    gain: ClusterGain | None


def cluster_rows(clusters: ClassClusters, per_cluster: Sequence[ClusterGain]) -> list[ClusterRow]:
    """One row a cluster."""
    gains = {entry.cluster: entry for entry in telling(per_cluster)}
    columns = zip(clusters.sizes, clusters.share_of_confusions, clusters.random_shares, strict=True)
    return [
        ClusterRow(i, *column, cut(clusters.names(i)), gains.get(i))
        for i, column in enumerate(columns)
    ]


@dataclass(frozen=True)
class ClassRow:
    """A class with ``n`` test examples.

    ``accuracies`` are those of each model, the generalist first, and ``more`` how many examples
    each other model answers right beyond the generalist.
    """

    name: str
    n: int
    accuracies: tuple[float, ...]
    more: tuple[int, ...]


@dataclass(frozen=True)
class ClassTable:
    """The classes with test examples; those whose answers change most come first.

    ``counts`` says how many classes gain and lose, a sentence for each model but the generalist.
    """

    models: tuple[str, ...]
    rows: list[ClassRow]
    counts: list[str]
    n_left_out: int


def class_table(per_class: ByClass, names: Sequence[str], models: Sequence[str]) -> ClassTable:
    """Accuracy by class of the generalist and of other ``models``."""
    shown = (GENERALIST, *models)
    rows = []
    for name, n, *values in zip(names, per_class["n"], *(per_class[m] for m in shown), strict=True):
        accuracies = tuple(value for value in values if value is not None)
        if n:
            more = tuple(round(n * (value - accuracies[0])) for value in accuracies[1:])
            rows.append(ClassRow(name, int(n), accuracies, more))
    rows.sort(key=lambda row: (-max(map(abs, row.more), default=0), row.accuracies[0], -row.n))
    counts = [_count(WORDS[m].noun, [row.more[i] for row in rows]) for i, m in enumerate(models)]
    return ClassTable(shown, rows[:MAX_CLASSES], counts, max(0, len(rows) - MAX_CLASSES))


def _count(who: str, changes: Sequence[int]) -> str:
    gains, losses = (sum(sign * change > 0 for change in changes) for sign in (1, -1))
    return (
        f"{capitalized(who)} against the generalist: of {len(changes):,} classes {gains:,} gain "
        f"and {losses:,} lose right answers."
    )


def changes_by_class(per_class: ByClass, model: str) -> list[int | None]:
    """Right answers of ``model`` beyond the generalist's, by class; None without test examples."""
    columns = zip(per_class["n"], per_class[model], per_class[GENERALIST], strict=True)
    return [
        None if n is None or after is None or before is None else round(n * (after - before))
        for n, after, before in columns
    ]
