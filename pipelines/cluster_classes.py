"""The generalist's predictions -> ``RUN/cluster-classes``: which classes it confuses.

Predictions are those on validation data, or on training data by generalists that were trained on
the other half; never on the test set.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from specialists.clustering import ClassClusters, cluster_classes, clusters_of_subsets
from specialists.clustering.co_predictions import MAX_WHOLE_MATRIX
from specialists.covariance import PredictionCovariance, PredictionSketch
from specialists.files import read_array, read_json, write_array, write_json, write_text
from specialists.predictions import DensePredictions, Predictions
from specialists.probability import tempered_log_softmax
from specialists.training import TrainingCost

from .context import RunContext
from .own_clusters_file import read_clusters
from .pieces import expect_pieces
from .runs import Run
from .terminal import log
from .train_generalist import cross_fitted_generalists


def execute(run: Run) -> None:
    """Cluster the columns of the covariance of predicted probabilities."""
    context = RunContext.open(run.folder)
    expect_pieces(context, "cluster-classes")
    predictions, counts, cost, trainings = _calibrated_predictions(context, run)
    n_classes = predictions.n_classes
    streaming = PredictionCovariance if n_classes <= MAX_WHOLE_MATRIX else PredictionSketch
    covariance = streaming(n_classes).update(predictions.dense().exp(), counts)
    clusters = _clusters(context, covariance)
    folder = context.path("cluster-classes")
    if isinstance(covariance, PredictionCovariance):
        write_array(folder / "covariance.npy", covariance.covariance().astype("float32"))
    write_text(folder / "clusters.txt", clusters.to_text())
    write_json(folder / "clusters.json", clusters.to_dict())
    write_json(folder / "costs.json", {**cost.to_dict(), "trainings": trainings})
    settings = context.config.specialists
    unused = settings.kind == "shared" and settings.shortlist_of == "classes"
    use = "; shared specialists do not need them, the report shows them" if unused else ""
    log.info(
        f"cluster-classes: {clusters.n_clusters} clusters of {min(clusters.sizes)} to "
        f"{max(clusters.sizes)} classes hold {clusters.total_share:.1%} of the confusions; random "
        f"clusters of the same sizes would hold {clusters.random_share:.1%}{use}"
    )


def _clusters(
    context: RunContext, covariance: PredictionCovariance | PredictionSketch
) -> ClassClusters:
    """Those of the user's file, or those that are found."""
    settings, names = context.config.clusters, context.dataset.class_names
    if settings.file is not None:
        subsets, notes = read_clusters(Path(settings.file), names)
        for note in notes:
            log.info(f"cluster-classes: {note}")
        return clusters_of_subsets(subsets, covariance, names)
    return cluster_classes(
        covariance,
        settings.n_clusters,
        method=settings.method,
        max_ratio=settings.max_ratio,
        overlap=settings.overlap,
        seed=context.config.seed,
        class_names=names,
        matrix=settings.matrix,
        coverage=settings.coverage,
        shuffled=settings.shuffled,
    )


def _calibrated_predictions(
    context: RunContext, run: Run
) -> tuple[Predictions, Tensor | None, TrainingCost, list[str]]:
    """Predictions to cluster by, how many rows each counts as, their trainings' cost and place."""
    dataset = context.dataset
    if context.config.clusters.predictions == "cross-fitted":
        fitted, trainings = cross_fitted_generalists(run)
        weights = dataset.train.weights
        counts = None if weights is None else weights[fitted.rows]
        return fitted.predictions, counts, fitted.cost, trainings
    folder = run.path("train-generalist")
    log_probs = torch.from_numpy(read_array(folder / "validation.log_probs.npy", mmap=False))
    temperature = read_json(folder / "calibration.json")["temperature"]
    calibrated = DensePredictions(tempered_log_softmax(log_probs, temperature))
    return calibrated, dataset.validation.weights, TrainingCost(), []
