import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from specialists.clustering import ClassClusters, cluster_classes
from specialists.clustering.balanced import (
    Partition,
    SizeBounds,
    fit_sizes,
    refine,
    shake,
    size_bounds,
)
from specialists.covariance import PredictionCovariance, confusion_mass
from specialists.errors import DataWarning, InputError

METHODS = ["agglomerative", "balanced", "kmeans", "minibatch", "spherical"]


def confusable_probs(groups: np.ndarray, n_rows: int = 3000, seed: int = 0) -> np.ndarray:
    """Predictions that spread over the classes of one group, and a little elsewhere."""
    random = np.random.default_rng(seed)
    n_classes = len(groups)
    true = random.integers(0, n_classes, n_rows)
    logits = random.normal(size=(n_rows, n_classes)) + 5.0 * (groups[true][:, None] == groups)
    probs = np.exp(logits)
    return probs / probs.sum(axis=1, keepdims=True)


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a[:, None] == a, b[:, None] == b))


def random_confusion(n_classes: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).exponential(size=(n_classes, n_classes)) ** 3
    np.fill_diagonal(values, 0)
    return values + values.T


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return np.random.default_rng(3).permutation(np.repeat(np.arange(6), [4, 6, 8, 8, 10, 12]))


@pytest.fixture(scope="module")
def probs(groups: np.ndarray) -> np.ndarray:
    return confusable_probs(groups)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_planted_groups_of_unequal_size(method, probs, groups):
    clusters = ClassClusters.from_predictions(probs, n_clusters=6, method=method)
    assert same_partition(clusters.labels, groups)
    assert clusters.total_share > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_every_class_is_in_exactly_one_core_and_subsets_are_sorted_int64(method, probs):
    clusters = ClassClusters.from_predictions(probs, n_clusters=5, method=method)
    together = torch.cat(clusters.core)
    assert together.dtype == torch.int64
    assert sorted(together.tolist()) == list(range(48))
    for subset, core in zip(clusters.subsets, clusters.core, strict=True):
        assert torch.equal(subset, core)
        assert torch.equal(subset, subset.sort().values)


@pytest.mark.parametrize("n_clusters", [1, 2, 5, 11, 24, 47, 48])
@pytest.mark.parametrize("max_ratio", [1.0, 1.3, 2.0])
def test_balanced_sizes_keep_their_bounds(n_clusters, max_ratio, probs):
    clusters = ClassClusters.from_predictions(probs, n_clusters=n_clusters, max_ratio=max_ratio)
    mean = 48 / n_clusters
    assert clusters.n_clusters == n_clusters
    assert max(clusters.sizes) <= max(max_ratio * mean, np.ceil(mean))
    assert min(clusters.sizes) >= min(2, 48 // n_clusters)
    assert sum(clusters.sizes) == 48


def test_a_dominating_group_is_split_by_balanced_and_kept_whole_by_kmeans():
    groups = np.repeat([0, 1, 2, 3], [30, 4, 4, 2])
    probs = confusable_probs(groups)
    plain = ClassClusters.from_predictions(probs, n_clusters=4, method="kmeans")
    bounded = ClassClusters.from_predictions(probs, n_clusters=4)
    assert max(plain.sizes) > 20
    assert max(bounded.sizes) <= 20


def test_balanced_holds_more_confusions_than_bounded_kmeans_and_than_random():
    random = np.random.default_rng(0)
    places = random.normal(size=(60, 5))
    offsets = places[random.integers(0, 60, 3000)] + 0.7 * random.normal(size=(3000, 5))
    distances = ((offsets[:, None] - places) ** 2).sum(axis=2)
    probs = np.exp(-(distances - distances.min(axis=1, keepdims=True)))
    probs /= probs.sum(axis=1, keepdims=True)
    confusion = confusion_mass(probs)
    bounds = size_bounds(60, 5, 1.2)
    found = ClassClusters.from_predictions(probs, n_clusters=5, max_ratio=1.2).total_share
    shuffled = np.random.default_rng(0).permutation(60) % 5
    centres = np.stack([places[shuffled == k].mean(axis=0) for k in range(5)])
    mended = fit_sizes(((places[:, None] - centres) ** 2).sum(axis=2), bounds)
    share = [Partition(confusion, labels, 5, bounds).inside for labels in (mended, shuffled)]
    assert found > 1.2 * share[0] / confusion.sum()
    assert found > 2 * share[1] / confusion.sum()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_clusters_and_inputs_stay_untouched(method, probs):
    covariance = PredictionCovariance(48).update(probs).covariance()
    confusion = confusion_mass(probs)
    before = covariance.copy(), confusion.copy()
    results = [
        cluster_classes(covariance, 7, method, seed=4, confusion=confusion) for _ in range(2)
    ]
    assert results[0] == results[1]
    np.testing.assert_array_equal(covariance, before[0])
    np.testing.assert_array_equal(confusion, before[1])


def test_a_covariance_object_an_array_and_a_tensor_give_the_same_clusters(probs):
    covariance = PredictionCovariance(48).update(probs)
    matrix, confusion = covariance.covariance(), covariance.confusion()
    first = cluster_classes(covariance, 6)
    assert first == cluster_classes(matrix, 6, confusion=confusion)
    assert first == cluster_classes(torch.tensor(matrix), 6, confusion=torch.tensor(confusion))
    assert first == ClassClusters.from_predictions(torch.tensor(probs), n_clusters=6)


def test_shares_are_the_confusion_mass_inside_over_all_of_it(probs):
    clusters = ClassClusters.from_predictions(probs, n_clusters=9)
    confusion = confusion_mass(probs)
    for subset, share in zip(clusters.subsets, clusters.share_of_confusions, strict=True):
        inside = sum(confusion[i, j] for i in subset for j in subset)
        assert share == pytest.approx(inside / confusion.sum())
    assert clusters.total_share == pytest.approx(sum(clusters.share_of_confusions))
    assert list(clusters.share_of_confusions) == sorted(clusters.share_of_confusions, reverse=True)


def test_without_a_confusion_the_positive_covariances_stand_for_it(probs, groups):
    covariance = PredictionCovariance(48).update(probs).covariance()
    clusters = cluster_classes(covariance, 6)
    assert same_partition(clusters.labels, groups)
    assert 0.9 < clusters.total_share <= 1


def test_overlap_adds_the_classes_with_the_most_confusions_and_counts_shared_pairs_once(probs):
    plain = ClassClusters.from_predictions(probs, n_clusters=6)
    grown = ClassClusters.from_predictions(probs, n_clusters=6, overlap=3)
    confusion = confusion_mass(probs)
    assert sorted(grown.core_classes) == sorted(plain.core_classes)
    for members, core in zip(grown.classes, grown.core_classes, strict=True):
        mass = confusion[list(core)].sum(axis=0)
        outside = sorted(set(range(48)) - set(core), key=lambda j: -mass[j])
        assert members == tuple(sorted({*core, *outside[:3]}))
    assert plain.total_share < grown.total_share <= sum(grown.share_of_confusions)
    assert grown.total_share <= 1


def test_shuffled_clusters_have_the_same_sizes_and_less_confusion_inside(probs):
    found = ClassClusters.from_predictions(probs, n_clusters=6)
    random = ClassClusters.from_predictions(probs, n_clusters=6, shuffled=True)
    assert sorted(random.sizes) == sorted(found.sizes)
    assert random.total_share < found.total_share
    assert random != ClassClusters.from_predictions(probs, n_clusters=6, shuffled=True, seed=1)


def test_an_overlap_larger_than_the_outside_takes_every_class(probs):
    clusters = ClassClusters.from_predictions(probs, n_clusters=2, overlap=47)
    assert clusters.sizes == (48, 48)
    assert clusters.total_share == pytest.approx(1)


@pytest.mark.parametrize(("n_classes", "expected"), [(2, 2), (20, 2), (90, 3), (239, 8)])
def test_the_number_of_clusters_defaults_to_a_thirtieth_of_the_classes(n_classes, expected):
    covariance = np.eye(n_classes) - 1 / n_classes
    assert cluster_classes(covariance).n_clusters == expected


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS)
def test_classes_that_are_never_predicted_still_get_a_cluster(method):
    probs = np.zeros((50, 12))
    probs[:, :3] = 1 / 3
    clusters = ClassClusters.from_predictions(probs, n_clusters=4, method=method)
    assert sorted(i for core in clusters.core_classes for i in core) == list(range(12))
    assert clusters.uncovered == ()


def test_predictions_without_any_confusion_have_shares_of_zero():
    probs = np.eye(6)[np.random.default_rng(0).integers(0, 6, 100)]
    with pytest.warns(DataWarning, match="all predictions are 0 or 1(?s:.*)not decisions"):
        clusters = ClassClusters.from_predictions(probs, n_clusters=2)
    assert clusters.share_of_confusions == (0.0, 0.0)
    assert clusters.total_share == 0


@pytest.mark.parametrize("matrix", ["covariance", "correlation", "confusion"])
def test_the_matrix_whose_columns_are_compared_can_be_chosen(matrix, probs):
    clusters = ClassClusters.from_predictions(probs, n_clusters=6, method="kmeans", matrix=matrix)
    assert clusters.matrix == matrix
    assert clusters.n_clusters == 6


def test_clusters_survive_a_round_trip_through_json(probs):
    names = [f"class {i}" for i in range(48)]
    clusters = ClassClusters.from_predictions(probs, names, n_clusters=6, overlap=2)
    content = json.loads(json.dumps(clusters.to_dict()))
    assert ClassClusters.from_dict(content) == clusters
    assert content["n_classes"] == 48
    assert content["clusters"][0]["names"] == [names[i] for i in clusters.classes[0]]
    assert set(content["clusters"][0]) == {
        "index", "size", "classes", "names", "share_of_confusions", "random_share", "core",
    }  # fmt: skip
    assert {"method", "matrix", "class_names", "share_of_confusions", "uncovered"} < set(content)
    assert content["random_share"] == clusters.random_share
    assert [c["random_share"] for c in content["clusters"]] == list(clusters.random_shares)


@pytest.mark.parametrize("options", [{}, {"coverage": 3}, {"overlap": 4}])
def test_random_shares_are_those_of_clusters_whose_classes_are_drawn_at_random(options, probs):
    clusters = ClassClusters.from_predictions(probs, n_clusters=6, **options)
    confusion = confusion_mass(probs)
    drawn = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        order = drawn.permutation(48)
        held = np.zeros((6, 48, 48), dtype=bool)
        for m, members in enumerate(clusters.classes):
            held[m][np.ix_(order[list(members)], order[list(members)])] = True
        found.append([*(confusion[one].sum() for one in held), confusion[held.any(0)].sum()])
    *each, total = np.mean(found, axis=0) / confusion.sum()
    assert clusters.random_share == pytest.approx(total, rel=0.05)
    assert clusters.random_shares == pytest.approx(each, rel=0.1)


def test_classes_outside_every_cluster_are_uncovered(probs):
    content: Any = ClassClusters.from_predictions(probs, n_clusters=6).to_dict()
    left_out = content["clusters"].pop()["core"]
    clusters = ClassClusters.from_dict(content)
    assert list(clusters.uncovered) == left_out
    assert (clusters.labels[left_out] == -1).all()
    assert f"{len(left_out)} classes in no cluster" in clusters.to_text()


def test_the_listing_names_every_class_and_its_cluster_in_short_lines(probs):
    names = [f"name{i:02}" for i in range(48)]
    clusters = ClassClusters.from_predictions(probs, names, n_clusters=6, overlap=1)
    text = clusters.to_text(width=60)
    assert all(name in text for name in names)
    assert max(len(line) for line in text.splitlines()) <= 60
    share = clusters.share_of_confusions[0]
    random = clusters.random_shares[0]
    line = f"cluster 0: {clusters.sizes[0]} classes, {share:.1%} of confusions "
    assert f"{line}(at random {random:.1%})" in text
    summary = " ".join(text.split("\n\n")[0].split())
    assert f"inside random clusters of the same sizes {clusters.random_share:.1%}" in summary
    assert text.count("and nearby: ") == 6


def test_names_with_commas_are_separated_by_semicolons():
    names = ["a, b", "c"]
    text = cluster_classes(np.eye(2), 1, class_names=names).to_text()
    assert "a, b; c" in text


def test_lines_of_the_listing_break_between_names():
    names = [f"a longer name {i}" for i in range(9)]
    text = cluster_classes(np.eye(9), 1, class_names=names).to_text(width=40)
    assert all(name in text for name in names)
    assert max(len(line) for line in text.splitlines()) <= 40


@pytest.mark.parametrize("seed", range(5))
def test_refining_keeps_bounds_never_loses_mass_and_leaves_no_better_move(seed):
    confusion = random_confusion(30, seed)
    bounds = SizeBounds(3, 9)
    start = np.random.default_rng(seed).permutation(30) % 5
    partition = Partition(confusion, refine(start, confusion, 5, bounds, seed), 5, bounds)
    sizes = np.bincount(partition.labels, minlength=5)
    assert sizes.min() >= 3
    assert sizes.max() <= 9
    assert partition.inside > Partition(confusion, start, 5, bounds).inside
    shaken = shake(partition.labels, confusion, 5, bounds, seed)
    assert Partition(confusion, shaken, 5, bounds).inside >= partition.inside


@pytest.mark.parametrize("seed", range(3))
def test_gains_of_moves_and_swaps_are_the_differences_they_make(seed):
    confusion = random_confusion(12, seed)
    labels = np.random.default_rng(seed).permutation(12) % 3
    for i in range(12):
        partition = Partition(confusion, labels, 3, SizeBounds(1, 12))
        before = partition.inside
        gain, cluster = partition.best_move(i)
        partition.put(i, cluster)
        assert partition.inside - before == pytest.approx(2 * gain)
        fresh = Partition(confusion, partition.labels, 3, SizeBounds(1, 12))
        np.testing.assert_allclose(partition.pull, fresh.pull, atol=1e-12)
        assert partition.inside == pytest.approx(fresh.inside)
        partition = Partition(confusion, labels, 3, SizeBounds(1, 12))
        gain, other = partition.best_swap(i)
        swapped = labels.copy()
        swapped[[i, other]] = labels[[other, i]]
        after = Partition(confusion, swapped, 3, SizeBounds(1, 12)).inside
        assert after - before == pytest.approx(2 * gain)


def test_a_small_problem_is_solved_to_its_optimum():
    confusion = random_confusion(9, 1)
    bounds = SizeBounds(3, 3)
    best = 0.0
    for code in range(3**8):
        labels = np.array([0, *(code // 3**k % 3 for k in range(8))])
        if (np.bincount(labels, minlength=3) == 3).all():
            best = max(best, confusion[labels[:, None] == labels].sum())
    start = refine(np.arange(9) % 3, confusion, 3, bounds)
    found = shake(start, confusion, 3, bounds)
    assert confusion[found[:, None] == found].sum() == pytest.approx(best)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_clusters": 49}, "n_clusters is not possible"),
        ({"n_clusters": 0}, "(?s)n_clusters.*from 1 to 48"),
        ({"n_clusters": 2.5}, "n_clusters is not possible"),
        ({"method": "kmean"}, "(?s)unknown method.*did you mean 'kmeans'"),
        ({"matrix": "corelation"}, "(?s)unknown matrix.*did you mean 'correlation'"),
        ({"max_ratio": 0.5}, "max_ratio is not possible"),
        ({"max_ratio": float("nan")}, "max_ratio is not possible"),
        ({"overlap": -1}, "overlap is not possible"),
        ({"overlap": 48}, "overlap is not possible"),
        ({"class_names": ["a"]}, "(?s)class names.*1 names.*48"),
        ({"confusion": np.zeros((3, 3))}, "different numbers of classes"),
        ({"confusion": np.full((48, 48), -1.0)}, "negative"),
    ],
)
def test_options_that_are_not_possible_are_named(options, message, probs):
    covariance = PredictionCovariance(48).update(probs)
    with pytest.raises(InputError, match=message):
        cluster_classes(covariance, **options)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((3, 4)), "not a square matrix"),
        (np.zeros(3), "not a square matrix"),
        (np.zeros((1, 1)), "not a square matrix"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), r"(?s)not finite.*\(0, 1\)"),
        (np.array([[1.0, 0.5], [-0.5, 1.0]]), "not symmetric"),
    ],
)
def test_matrices_that_are_not_covariances_are_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        cluster_classes(matrix, 2)


def test_predictions_that_are_no_matrix_and_json_without_clusters_are_refused():
    with pytest.raises(InputError, match="must be a matrix"):
        ClassClusters.from_predictions(np.ones(3))
    with pytest.raises(InputError, match="not class clusters"):
        ClassClusters.from_dict({"method": "kmeans"})


def test_importing_and_clustering_arrays_needs_neither_torch_nor_pandas():
    code = (
        "import sys, numpy as np; from specialists.clustering import cluster_classes;"
        "assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules);"
        "cluster_classes(np.eye(4), 2); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
