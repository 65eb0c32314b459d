import itertools

import numpy as np
import pytest

from specialists.clustering import ClassClusters, OnlineClusters, cluster_classes
from specialists.clustering.agreement import (
    agreement,
    correlation_labels,
    free_partition,
    merged_pair,
    pivot,
)
from specialists.covariance import PredictionCovariance
from specialists.errors import InputError


def confusable_probs(groups: np.ndarray, n_rows: int = 3000, seed: int = 0) -> np.ndarray:
    """Predictions that spread over the classes of one group, and a little elsewhere."""
    random = np.random.default_rng(seed)
    true = random.integers(0, len(groups), n_rows)
    logits = random.normal(size=(n_rows, len(groups)))
    probs = np.exp(logits + 5.0 * (groups[true][:, None] == groups))
    return probs / probs.sum(axis=1, keepdims=True)


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a[:, None] == a, b[:, None] == b))


def signed_weights(n_classes: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n_classes, n_classes))
    return np.triu(values, 1) + np.triu(values, 1).T


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return np.random.default_rng(3).permutation(np.repeat(np.arange(6), [4, 6, 8, 8, 10, 12]))


@pytest.fixture(scope="module")
def probs(groups: np.ndarray) -> np.ndarray:
    return confusable_probs(groups)


@pytest.mark.parametrize("matrix", ["covariance", "correlation"])
@pytest.mark.parametrize("n_clusters", [None, "auto"])
def test_correlation_clustering_finds_planted_groups_and_their_number(
    matrix, n_clusters, probs, groups
):
    clusters = ClassClusters.from_predictions(
        probs, n_clusters=n_clusters, method="correlation", matrix=matrix
    )
    assert same_partition(clusters.labels, groups)
    assert clusters.agreement is not None
    assert 0.9 < clusters.agreement <= 1
    assert ClassClusters.from_dict(clusters.to_dict()) == clusters


def test_auto_gives_other_methods_the_number_that_correlation_clustering_finds(probs, groups):
    clusters = ClassClusters.from_predictions(probs, n_clusters="auto")
    assert clusters.n_clusters == 6
    assert same_partition(clusters.labels, groups)


@pytest.mark.parametrize("seed", range(4))
def test_correlation_clustering_of_few_classes_is_optimal(seed):
    weights = signed_weights(7, seed)
    every = (np.array([0, *rest]) for rest in itertools.product(range(5), repeat=6))
    best = max(agreement(weights, labels) for labels in every)
    assert agreement(weights, correlation_labels(weights, seed)) >= best - 1e-12


def test_agreement_counts_positive_weight_inside_and_negative_weight_between():
    weights = np.array([[9.0, 3.0, -1.0], [3.0, 9.0, 2.0], [-1.0, 2.0, 9.0]])
    assert agreement(weights, np.array([0, 0, 1])) == pytest.approx(4 / 6)
    assert agreement(weights, np.array([0, 0, 0])) == pytest.approx(5 / 6)
    assert agreement(weights, np.array([-1, -1, -1])) == pytest.approx(1 / 6)


def test_local_search_improves_on_random_pivots():
    weights = signed_weights(60, 0) + 0.5 * np.kron(np.eye(4), np.ones((15, 15)))
    start = pivot(weights, np.random.default_rng(0))
    assert (start >= 0).all()
    assert agreement(weights, correlation_labels(weights)) > agreement(weights, start) + 0.02


def test_a_class_that_agrees_with_no_other_is_left_uncovered():
    covariance = np.array([[1.0, 0.5, -0.5], [0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]])
    clusters = cluster_classes(covariance, method="correlation")
    assert clusters.classes == ((0, 1),)
    assert clusters.uncovered == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 5}, "finds the number of clusters itself"),
        ({"matrix": "confusion"}, "never negative"),
    ],
)
def test_correlation_clustering_refuses_what_it_cannot_do(options, message, probs):
    with pytest.raises(InputError, match=message):
        ClassClusters.from_predictions(probs, method="correlation", **options)


def test_agglomerative_clustering_joins_the_most_similar_columns_first():
    covariance = np.eye(4)
    covariance[0, 1] = covariance[1, 0] = 0.9
    covariance[2, 3] = covariance[3, 2] = 0.3
    clusters = cluster_classes(covariance, 3, method="agglomerative")
    assert sorted(clusters.classes) == [(0, 1), (2,), (3,)]


def test_online_clusters_end_where_the_groups_are(probs, groups):
    online = OnlineClusters(48, 6)
    for batch in np.array_split(probs, 30):
        online.update(batch)
    assert same_partition(online.labels, groups)
    names = [f"class {i}" for i in range(48)]
    clusters = online.clusters(names)
    assert clusters.method == "online"
    assert clusters.class_names == tuple(names)
    assert same_partition(clusters.labels, groups)


def test_online_clusters_move_when_predictions_change(groups):
    online = OnlineClusters(48, 6)
    first = np.random.default_rng(0).permutation(groups)
    online.update(confusable_probs(first, 300))
    before = online.labels
    for seed in range(8):
        online.update(confusable_probs(groups, 2000, seed))
    agreed = (before[:, None] == before) == (groups[:, None] == groups)
    now = (online.labels[:, None] == online.labels) == (groups[:, None] == groups)
    assert now.mean() > agreed.mean()


def test_one_online_step_is_one_lloyd_step(probs):
    online = OnlineClusters(48, 5).update(probs[:500])
    before = online.labels
    columns = PredictionCovariance(48).update(probs[:900]).covariance()
    centres = [columns[before == k].mean(axis=0) for k in range(5)]
    expected = [np.argmin([((column - c) ** 2).sum() for c in centres]) for column in columns]
    np.testing.assert_array_equal(online.update(probs[500:900]).labels, expected)


def test_online_clusters_need_two_rows():
    online = OnlineClusters(3, 2).update(np.array([[0.2, 0.3, 0.5]]))
    with pytest.raises(InputError, match="too few rows"):
        _ = online.labels


class InOrder(np.random.Generator):
    def permutation(self, x, axis=0):
        return np.arange(x)


def test_a_pivot_takes_free_classes_that_agree_and_none_of_an_earlier_pivot():
    weights = np.full((4, 4), -1.0)
    for i, j in ((0, 1), (1, 2), (2, 3)):
        weights[i, j] = weights[j, i] = 1.0
    assert pivot(weights, InOrder(np.random.PCG64(0))).tolist() == [0, 0, 1, 1]


def test_clusters_are_merged_where_no_single_move_helps():
    weights = np.array([[0, 3, 1, 1], [3, 0, 1, 0], [1, 1, 0, 3], [1, 0, 3, 0]], dtype=float)
    partition = free_partition(weights, np.array([0, 0, 1, 1]))
    partition.climb(np.arange(4), swaps=False)
    assert partition.labels.tolist() == [0, 0, 1, 1]
    merged = merged_pair(partition)
    assert merged is not None
    assert len(set(merged.tolist())) == 1
    assert merged_pair(free_partition(-weights, np.arange(4))) is None


def test_an_empty_online_cluster_draws_no_class(probs):
    online = OnlineClusters(48, 3).update(probs[:100])
    online._labels = np.arange(48) % 2
    assert 2 not in online.update(probs[100:]).labels
