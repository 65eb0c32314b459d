"""The report's figures in their order, each with one sentence that says what to see in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from specialists.figures import (
    CostPoint,
    accuracy_against_cost,
    class_changes,
    cluster_overview,
    correlation_from_covariance,
    correlation_matrix,
    gain_by_coverage,
    gain_per_cluster,
    reliability_diagrams,
    to_svg,
    training_curves,
)
from specialists.figures.clusters import MAX_ROWS
from specialists.report.numbers import percent
from specialists.report.record import Record
from specialists.report.tables import changes_by_class

RELIABILITY = ("generalist_uncalibrated", "generalist", "ensemble", "student")


@dataclass(frozen=True)
class Drawing:
    """A figure in the page: a title, its SVG and its caption."""

    title: str
    svg: str
    caption: str


def _drawing(title: str, figure: Figure, caption: str) -> Drawing:
    return Drawing(title, to_svg(figure, f"{title}. {caption}"), caption)


def draw(record: Record) -> dict[str, Drawing]:
    """Every figure that the record has the data for, by name."""
    made = {
        "cost": _cost(record),
        "correlation": _correlation(record),
        "clusters": _clusters(record),
        "gain_per_cluster": _gain_per_cluster(record),
        "coverage": _coverage(record),
        "reliability": _reliability(record),
        "classes": _classes(record),
        "training": _training(record),
    }
    return {name: drawing for name, drawing in made.items() if drawing is not None}


def _cost(record: Record) -> Drawing:
    points = [
        CostPoint(name, max(m["inference_flops"], 1.0), m["top1"], tuple(m["top1_interval"]))
        for name, m in record.evaluation["models"].items()
    ]
    caption = (
        "Up is better, left is cheaper: a model is worth its cost when no other lies above it and "
        "to its left. Bars are 95% intervals."
    )
    return _drawing("Accuracy against inference cost", accuracy_against_cost(points), caption)


def _correlation(record: Record) -> Drawing | None:
    if record.covariance is None:
        return None
    figure = correlation_matrix(
        correlation_from_covariance(np.asarray(record.covariance)),
        record.clusters.core_classes,
        record.class_names,
    )
    caption = (
        "Classes in the order of their clusters, which are outlined: red squares on the diagonal "
        "are classes that the generalist finds probable together; red outside them is confusion "
        "that no specialist sees."
    )
    return _drawing("Correlation between classes", figure, caption)


def _clusters(record: Record) -> Drawing | None:
    clusters = record.clusters
    if not clusters.n_clusters:
        return None
    figure = cluster_overview(
        [clusters.names(index) for index in range(clusters.n_clusters)],
        clusters.share_of_confusions,
        clusters.random_shares,
    )
    caption = (
        f"{percent(clusters.total_share)} of the generalist's confusions fall inside some cluster; "
        "only there can a specialist decide. Inside random clusters of the same sizes "
        f"{percent(clusters.random_share)} would fall (orange marks: of each size)."
        + (f" Shown: the {MAX_ROWS} with most of them." if clusters.n_clusters > MAX_ROWS else "")
    )
    return _drawing("What the clusters hold", figure, caption)


def _gain_per_cluster(record: Record) -> Drawing | None:
    known = [e for e in record.details["per_cluster"] if e["n_test"]]
    if not known:
        return None
    names = record.clusters.names
    figure = gain_per_cluster(
        [f"{e['cluster']}: " + ", ".join(names(e["cluster"])[:4]) for e in known],
        [e["gain"] for e in known],
        [(e["interval"][0], e["interval"][1]) for e in known],
    )
    better = sum(e["interval"][0] > 0 for e in known)
    worse = sum(e["interval"][1] < 0 for e in known)
    caption = (
        f"Of {len(known)} clusters, {better} gain clearly (blue) and {worse} lose clearly (red) on "
        "the test examples of their own classes; grey intervals include 0."
        + (f" Shown: the {MAX_ROWS // 2} at either end." if len(known) > MAX_ROWS else "")
    )
    return _drawing("Gain of the ensemble per cluster", figure, caption)


def _coverage(record: Record) -> Drawing | None:
    coverage = record.evaluation["coverage"]
    if len(coverage) < 2:
        return None
    figure = gain_by_coverage(
        [e["specialists"] for e in coverage],
        [e["n_test"] for e in coverage],
        [e["gain"] for e in coverage],
        "ensemble",
    )
    caption = (
        "Gain over the generalist by the number of specialists whose classes include the true one "
        "(the paper's Table 4); classes in no subset have no specialist of their own."
    )
    return _drawing("Gain by coverage", figure, caption)


def _reliability(record: Record) -> Drawing | None:
    bins = record.details["reliability"]
    chosen = {name: bins[name] for name in RELIABILITY if name in bins}
    caption = (
        "On the dashed line confidence and accuracy agree; below it a model is too sure of itself. "
        "Grey bars: share of the test examples at that confidence."
    )
    return _drawing("Calibration", reliability_diagrams(chosen), caption) if chosen else None


def _classes(record: Record) -> Drawing | None:
    per_class = record.details["per_class"]
    changes = {
        name: changes_by_class(per_class, name)
        for name in ("ensemble", "student")
        if name in per_class
    }
    if not changes:
        return None
    figure = class_changes(record.class_names, changes, "generalist")
    caption = "The classes whose test accuracy changes most, at most twelve each way."
    return _drawing("Gains and losses by class", figure, caption)


def _training(record: Record) -> Drawing | None:
    if not record.histories:
        return None
    caption = (
        "A validation curve that still falls at its end asks for more epochs; one that rises "
        "while training loss falls is overfitting, and its best epoch was kept."
    )
    return _drawing("Training", training_curves(record.histories), caption)
