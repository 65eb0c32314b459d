from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from sklearn.metrics import silhouette_samples

from specialists.clustering import (
    ClassClusters,
    OnlineClusters,
    compare,
    diagnose,
    diagnostics_text,
)
from specialists.clustering.silhouette import silhouettes
from specialists.covariance import PredictionSketch, confusion_mass
from specialists.covariance.rows import unit_rows
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
    assert found.random_share == 1
    assert found.share_of_confusions == pytest.approx(1)


@pytest.mark.parametrize("shape", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("seed", range(3))
def test_silhouettes_are_those_of_all_pairs_of_classes(shape, seed, monkeypatch):
    monkeypatch.setattr("specialists.covariance.rows.BLOCK_ENTRIES", 20)
    random = np.random.default_rng(seed)
    columns = random.exponential(size=(40, 25)) * (random.random((40, 25)) < 0.2)
    columns[5] = 0
    labels = random.integers(-1, 6, 40)
    labels[labels == 4] = 3
    labels[7] = 4
    known = labels >= 0
    unit = unit_rows(columns[known])
    distances = 1 - unit @ unit.T
    np.fill_diagonal(distances, 0)
    expected = silhouette_samples(distances.clip(0), labels[known], metric="precomputed")
    found = silhouettes(shape(columns), labels)
    np.testing.assert_allclose(found[known], expected, atol=1e-12)
    assert np.isnan(found[~known]).all()


def test_silhouettes_of_columns_of_either_sign():
    columns = np.random.default_rng(0).normal(size=(30, 8))
    labels = np.arange(30) % 4
    expected = silhouette_samples(columns, labels, metric="cosine")
    np.testing.assert_allclose(silhouettes(columns, labels), expected, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"overlap": 2}, {"coverage": 3}, {"shuffled": True}])
def test_a_sketch_of_all_pairs_gives_the_same_diagnostics(options, probs):
    clusters = ClassClusters.from_predictions(probs, n_clusters=5, **options)
    whole = diagnose(clusters, probs)
    found = diagnose(clusters, PredictionSketch(30, top_k=30).update(probs))
    assert found.share_of_confusions == pytest.approx(whole.share_of_confusions)
    assert (found.random_share, found.coverage) == (whole.random_share, whole.coverage)
    np.testing.assert_allclose(found.silhouettes, whole.silhouettes, atol=0.1)
    with pytest.raises(InputError, match="keep no rows"):
        diagnose(clusters, PredictionSketch(30).update(probs), n_bootstraps=1)


def test_predictions_of_very_many_classes_are_sketched(probs, monkeypatch):
    monkeypatch.setattr("specialists.clustering.co_predictions.MAX_WHOLE_MATRIX", 20)
    clusters = ClassClusters.from_predictions(probs, n_clusters=5)
    assert diagnose(clusters, probs) == diagnose(clusters, PredictionSketch(30).update(probs))


@pytest.mark.parametrize("overlap", [0, 4])
def test_the_random_share_is_that_of_pairs_in_a_cluster(overlap, clusters, probs):
    grown = ClassClusters.from_predictions(probs, n_clusters=5, overlap=overlap)
    together = np.zeros((30, 30), dtype=bool)
    for members in grown.classes:
        together[np.ix_(members, members)] = True
    expected = (together.sum() - 30) / (30 * 29)
    assert diagnose(grown, probs).random_share == pytest.approx(expected)


def test_shuffled_clusters_hold_about_the_random_share_and_are_neither_stable_nor_apart(probs):
    random = ClassClusters.from_predictions(probs, n_clusters=5, shuffled=True)
    found = diagnose(random, probs, n_bootstraps=2)
    assert found.share_of_confusions < 2 * found.random_share
    assert found.silhouette < 0.1
    assert max(found.stability) < 0.3


def test_the_table_of_diagnostics_names_each_value(clusters, probs):
    text = diagnose(clusters, probs, n_bootstraps=2).to_text()
    for word in ("confusions inside", "random", "silhouette", "2 bootstraps", "sizes", "largest"):
        assert word in text


def test_several_clusterings_stand_in_one_table(clusters, probs):
    grown = ClassClusters.from_predictions(probs, n_clusters=5, coverage=2)
    found = {"plain": diagnose(clusters, probs, n_bootstraps=1), "twice": diagnose(grown, probs)}
    lines = diagnostics_text(found).splitlines()
    assert [line.split()[0] for line in lines] == ["inside", "plain", "twice"]
    assert len({len(line) for line in lines}) == 1
    assert f"{found['plain'].share_of_confusions:.1%}" in lines[1]
    assert lines[1].endswith("1.00 times")
    assert lines[2].endswith("2.00 times")
    assert " - " in lines[2]


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
