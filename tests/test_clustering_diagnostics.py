from dataclasses import replace

import numpy as np
import pytest
import torch

from specialists.clustering import ClassClusters, OnlineClusters, compare, diagnose
from specialists.covariance import confusion_mass
from specialists.errors import InputError


def confusable_probs(groups: np.ndarray, n_rows: int = 1500, seed: int = 0) -> np.ndarray:
    """Predictions that spread over the classes of one group, and a little elsewhere."""
    random = np.random.default_rng(seed)
    true = random.integers(0, len(groups), n_rows)
    logits = random.normal(size=(n_rows, len(groups)))
    probs = np.exp(logits + 5.0 * (groups[true][:, None] == groups))
    return probs / probs.sum(axis=1, keepdims=True)


def moved(clusters: ClassClusters, labels: np.ndarray) -> ClassClusters:
    classes = tuple(tuple(np.flatnonzero(labels == k).tolist()) for k in range(labels.max() + 1))
    return replace(clusters, classes=classes, core_classes=classes)


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(5), [4, 5, 6, 7, 8]))


@pytest.fixture(scope="module")
def probs(groups: np.ndarray) -> np.ndarray:
    return confusable_probs(groups)


@pytest.fixture(scope="module")
def clusters(probs: np.ndarray) -> ClassClusters:
    names = [f"class {i}" for i in range(30)]
    return ClassClusters.from_predictions(probs, names, n_clusters=5)


def test_planted_clusters_are_stable_separated_and_far_better_than_random(clusters, probs):
    found = diagnose(clusters, probs, n_bootstraps=3)
    assert found.stability == (1.0, 1.0, 1.0)
    assert found.silhouette > 0.5
    assert found.share_of_confusions == pytest.approx(clusters.total_share)
    assert found.share_of_confusions > 4 * found.random_share
    assert found.coverage == (1,) * 30


def test_the_random_share_is_what_random_clusters_of_these_sizes_hold(clusters, probs):
    confusion = confusion_mass(probs)
    random = np.random.default_rng(0)
    shuffled = [random.permutation(clusters.labels) for _ in range(400)]
    shares = [confusion[s[:, None] == s].sum() / confusion.sum() for s in shuffled]
    assert diagnose(clusters, probs).random_share == pytest.approx(np.mean(shares), rel=0.05)


def test_wrong_clusters_have_a_low_silhouette_and_share(clusters, probs):
    wrong = moved(clusters, np.random.default_rng(0).permutation(clusters.labels))
    found = diagnose(wrong, torch.tensor(probs))
    assert found.silhouette < 0.1
    assert found.share_of_confusions < 0.4
    assert found.stability == ()


def test_clusters_of_noise_are_not_stable():
    probs = confusable_probs(np.zeros(30, dtype=int), 200)
    noise = ClassClusters.from_predictions(probs, n_clusters=5)
    assert max(diagnose(noise, probs, n_bootstraps=3).stability) < 0.5


def test_overlap_and_uncovered_classes_are_counted(probs):
    overlapping = ClassClusters.from_predictions(probs, n_clusters=5, overlap=2)
    found = diagnose(overlapping, probs)
    assert sum(found.coverage) == 40
    assert found.sizes == overlapping.sizes
    partial = replace(
        overlapping, classes=overlapping.core_classes[1:], core_classes=overlapping.core_classes[1:]
    )
    found = diagnose(partial, probs)
    assert found.coverage.count(0) == len(partial.uncovered) > 0
    assert np.isnan([found.silhouettes[i] for i in partial.uncovered]).all()
    assert np.isfinite(found.silhouette)


@pytest.mark.parametrize("method", ["kmeans", "correlation"])
def test_stability_uses_the_method_that_made_the_clusters(method, probs):
    n_clusters = None if method == "correlation" else 5
    clusters = ClassClusters.from_predictions(probs, n_clusters=n_clusters, method=method)
    assert diagnose(clusters, probs, n_bootstraps=1).stability == (1.0,)


def test_one_cluster_has_no_silhouette(probs):
    one = ClassClusters.from_predictions(probs, n_clusters=1)
    found = diagnose(one, probs)
    assert np.isnan(found.silhouette)
    assert found.random_share == found.share_of_confusions == pytest.approx(1)


def test_the_table_of_diagnostics_names_each_value(clusters, probs):
    text = diagnose(clusters, probs, n_bootstraps=2).to_text()
    for word in ("confusions inside", "random", "silhouette", "2 bootstraps", "sizes", "largest"):
        assert word in text


def test_online_clusters_are_diagnosed_but_not_bootstrapped(probs):
    online = OnlineClusters(30, 5).update(probs).clusters()
    assert diagnose(online, probs).share_of_confusions > 0
    with pytest.raises(InputError, match="not bootstrapped"):
        diagnose(online, probs, n_bootstraps=1)


def test_clusters_equal_to_known_groups_agree_fully(clusters, groups):
    found = compare(clusters, [f"group {g}" for g in groups])
    assert found.adjusted_rand == found.adjusted_mutual_information == pytest.approx(1)
    assert found.homogeneity == found.completeness == found.mutual_information == pytest.approx(1)
    assert found.groups == tuple(f"group {g}" for g in range(5))
    assert sorted(map(sum, found.table)) == [4, 5, 6, 7, 8]
    assert all(sorted(row)[:-1] == [0, 0, 0, 0] for row in found.table)


def test_unrelated_groups_agree_no_more_than_by_chance(clusters):
    random = np.random.default_rng(0)
    scores = [compare(clusters, random.integers(0, 5, 30).tolist()) for _ in range(30)]
    assert abs(np.mean([s.adjusted_rand for s in scores])) < 0.05
    assert abs(np.mean([s.adjusted_mutual_information for s in scores])) < 0.06
    assert np.mean([s.mutual_information for s in scores]) > 0.1


def test_finer_groups_are_complete_and_coarser_ones_homogeneous(clusters):
    coarse = compare(clusters, (clusters.labels // 2).tolist())
    fine = compare(clusters, (clusters.labels * 2 + np.arange(30) % 2).tolist())
    assert coarse.homogeneity == pytest.approx(1)
    assert coarse.completeness < 1
    assert fine.completeness == pytest.approx(1)
    assert fine.homogeneity < 1


def test_groups_by_class_name_and_other_clusters_can_be_compared(clusters, groups):
    by_name = compare(clusters, dict(zip(clusters.class_names, groups.tolist(), strict=True)))
    assert by_name == compare(clusters, groups.tolist())
    assert compare(clusters, clusters).adjusted_rand == 1
    assert "cluster 0: cluster 0 " in compare(clusters, clusters).to_text()


def test_classes_without_a_cluster_or_group_are_left_out_of_a_comparison(clusters, groups):
    partial = moved(clusters, np.where(clusters.labels == 0, -1, clusters.labels - 1))
    found = compare(partial, clusters)
    assert found.adjusted_rand == 1
    assert sum(map(sum, found.table)) == 30 - len(partial.uncovered)
    assert sum(map(sum, compare(clusters, partial).table)) == 30 - len(partial.uncovered)


def test_the_listing_of_a_comparison_counts_small_groups_together(clusters):
    text = compare(clusters, list(range(30))).to_text()
    largest = max(clusters.sizes)
    assert f"others {largest - 4}" in text


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"class 0": "a"}, "(?s)no group.*29 without one.*class 1"),
        (["a", "b"], "not as many groups"),
    ],
)
def test_groups_that_do_not_fit_the_classes_are_refused(other, message, clusters):
    with pytest.raises(InputError, match=message):
        compare(clusters, other)
