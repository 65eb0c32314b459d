"""The report's figures in their order, each with one sentence that says what to see in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from specialists import figures
from specialists.catalogue import ENSEMBLE, GENERALIST
from specialists.evaluation.details import UNCALIBRATED
from specialists.evaluation.several_seeds import CORRECTED_LEVEL
from specialists.figures.clusters import MAX_ROWS
from specialists.report.numbers import percent
from specialists.report.recommendation import options
from specialists.report.run_results import Results
from specialists.report.table_rows import changes_by_class, cut, telling, too_few_sentence

ANSWER_WIDTH = 5.6  # inches: it stands beside a table


@dataclass(frozen=True)
class ReportFigure:
    """A figure in the page: a title, its SVG and its caption."""

    title: str
    svg: str
    caption: str


def _figure(title: str, figure: Figure, caption: str) -> ReportFigure:
    return ReportFigure(title, figures.to_svg(figure, f"{title}. {caption}"), caption)


def draw(results: Results) -> dict[str, ReportFigure]:
    """Every figure that the results have the data for, by name."""
    drawn = {
        "answer": _answer(results),
        "cost": _cost(results),
        "correlation": _correlation(results),
        "clusters": _clusters(results),
        "gain_per_cluster": _gain_per_cluster(results),
        "coverage": _coverage(results),
        "reliability": _reliability(results),
        "classes": _classes(results),
        "training": _training(results),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _answer(results: Results) -> ReportFigure | None:
    found = [(o.noun, o.gain) for o in options(results.comparison) if o.gain is not None]
    if not found:
        return None
    figure = figures.gains_with_intervals(
        [noun for noun, _ in found],
        [gain.value for _, gain in found],
        [gain.corrected_interval for _, gain in found],
        f"points of top-1 over the generalist, {percent(CORRECTED_LEVEL)} interval",
        ANSWER_WIDTH,
    )
    caption = (
        "What each gains over the generalist (the line at 0) on the same test rows, with the "
        f"{percent(CORRECTED_LEVEL)} interval by which the answer is given. Blue: clearly better; "
        "red: clearly worse; grey: cannot be told."
    )
    return _figure("Gain of each option", figure, caption)


def _cost(results: Results) -> ReportFigure:
    points = [
        figures.CostPoint(name, max(m.inference_flops, 1.0), m.top1, m.top1_interval)
        for name, m in results.evaluation.models.items()
        if not math.isnan(m.inference_flops)
    ]
    caption = (
        "Up is better, left is cheaper: a model is worth its cost when no other lies above it and "
        "to its left. Bars are 95% intervals."
    )
    return _figure(
        "Accuracy against inference cost", figures.accuracy_against_cost(points), caption
    )


def _of_clusters(results: Results) -> bool:
    """Whether clusters have specialists."""
    return results.evaluation.n_specialists > 0 and results.choice.chosen.members != ()


def _correlation(results: Results) -> ReportFigure | None:
    if results.covariance is None:
        return None
    correlation = figures.correlation_from_covariance(np.asarray(results.covariance))
    clusters, names = results.clusters.first_partition, results.data.class_names
    figure = figures.correlation_matrix(correlation, clusters, names)
    outside = f"no {'specialist of a cluster sees' if _of_clusters(results) else 'cluster holds'}"
    if len(clusters) < results.clusters.n_clusters:
        outside = "is left to the clusters of the other partitions, which are not shown"
    caption = (
        "Classes in the order of their clusters, which are outlined: red squares on the diagonal "
        "are classes that the generalist finds probable together; red outside them is confusion "
        f"that {outside}."
    )
    return _figure("Correlation between classes", figure, caption)


def _clusters(results: Results) -> ReportFigure | None:
    clusters = results.clusters
    if not clusters.n_clusters:
        return None
    decides = "; only there can the specialist of a cluster decide" * _of_clusters(results)
    names = [clusters.names(index) for index in range(clusters.n_clusters)]
    figure = figures.cluster_overview(names, clusters.share_of_confusions, clusters.random_shares)
    caption = (
        f"{percent(clusters.total_share)} of the generalist's confusions fall inside some "
        f"cluster{decides}. Inside random clusters of the same "
        f"sizes {percent(clusters.random_share)} would fall (orange marks: of each size)."
        + (f" Shown: the {MAX_ROWS} with most of them." if clusters.n_clusters > MAX_ROWS else "")
    )
    return _figure("What the clusters hold", figure, caption)


def _gain_per_cluster(results: Results) -> ReportFigure | None:
    known = [e for e in telling(results.details.per_cluster) if e.gain is not None]
    few = too_few_sentence(results.details.per_cluster, "cluster", "clusters")
    if not known:
        return None
    labels = [
        f"{e.cluster}: {', '.join(cut(results.clusters.names(e.cluster)[:4]))}" for e in known
    ]
    intervals = [e.interval for e in known if e.interval is not None]
    figure = figures.gain_per_cluster(
        labels, [e.gain for e in known if e.gain is not None], intervals
    )
    better = sum(low > 0 for low, _ in intervals)
    worse = sum(high < 0 for _, high in intervals)
    caption = (
        f"Of {len(known)} clusters, {better} gain clearly (blue) and {worse} lose clearly (red) on "
        "the test examples of their own classes; grey intervals include 0."
        + (f" Shown: the {MAX_ROWS // 2} at either end." if len(known) > MAX_ROWS else "")
    )
    return _figure("Gain of the ensemble per cluster", figure, f"{caption} {few}".rstrip())


def _coverage(results: Results) -> ReportFigure | None:
    coverage = telling(results.evaluation.coverage)
    few = too_few_sentence(
        results.evaluation.coverage, "number of specialists", "numbers of specialists"
    )
    if len(coverage) < 2:
        return None
    specialists, n_test = [e.specialists for e in coverage], [e.n_test for e in coverage]
    figure = figures.gain_by_coverage(specialists, n_test, [e.gain for e in coverage], ENSEMBLE)
    caption = (
        "Gain over the generalist by the number of specialists whose classes include the true one "
        "(the paper's Table 4); classes in no subset have no specialist of their own."
    )
    return _figure("Gain by coverage", figure, f"{caption} {few}".rstrip())


def _reliability(results: Results) -> ReportFigure | None:
    bins = results.details.reliability
    shown = (UNCALIBRATED, GENERALIST, *results.told_models)
    chosen = {name: bins[name] for name in shown if name in bins}
    caption = (
        "On the dashed line confidence and accuracy agree; below it a model is too sure of itself. "
        "Grey bars: share of the test examples at that confidence."
    )
    return _figure("Calibration", figures.reliability_diagrams(chosen), caption) if chosen else None


def _classes(results: Results) -> ReportFigure | None:
    per_class = results.details.per_class
    told = [name for name in results.told_models if name in per_class]
    changes = {name: changes_by_class(per_class, name) for name in told}
    if not any(any(values) for values in changes.values()):
        return None
    figure = figures.class_changes(results.data.class_names, changes, GENERALIST)
    caption = "The classes of which most test examples change, at most twelve each way."
    return _figure("Gains and losses by class", figure, caption)


def _training(results: Results) -> ReportFigure | None:
    if not results.histories:
        return None
    caption = (
        "A validation curve that still falls at its end asks for more epochs; one that rises "
        "while training loss falls is overfitting, and its best epoch was kept."
    )
    return _figure("Training", figures.training_curves(results.histories), caption)
