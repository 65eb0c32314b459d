"""Every class lies in ``coverage`` clusters of bounded size, found on what earlier ones leave."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from specialists.clustering import ClassClusters, cluster_classes, compare, diagnose
from specialists.clustering.cover import between_clusters, partitions
from specialists.clustering.methods import ClusteringProblem, balanced
from specialists.covariance import PredictionSketch
from specialists.errors import InputError


def confusions(n_classes: int, seed: int, density: float = 1.0) -> np.ndarray:
    """Symmetric mass of heavy tails, zero on the diagonal and in all but ``density`` of pairs."""
    random = np.random.default_rng(seed)
    mass = random.exponential(size=(n_classes, n_classes)) ** 3
    mass = np.triu(mass * (random.random(mass.shape) < density), 1)
    return mass + mass.T


def problem_of(mass: Any, n_clusters: int, max_ratio: float = 2.0, seed: int = 0):
    return ClusteringProblem(mass, mass, n_clusters, max_ratio, seed)


def covered(labels: np.ndarray, mass: np.ndarray) -> float:
    """Mass of the pairs that any partition puts together, from each pair itself."""
    pairs = itertools.combinations(range(len(mass)), 2)
    return 2 * sum(mass[i, j] for i, j in pairs if (labels[:, i] == labels[:, j]).any())


@st.composite
def problems(draw):
    n_classes = draw(st.integers(4, 40))
    coverage = draw(st.integers(1, 4))
    n_clusters = draw(st.integers(coverage, max(coverage, coverage * n_classes // 2)))
    mass = confusions(n_classes, draw(st.integers(0, 99)), draw(st.sampled_from([0.0, 0.1, 1.0])))
    mass = sparse.csr_matrix(mass) if draw(st.booleans()) else mass
    max_ratio = draw(st.sampled_from([1.0, 1.3, 2.0, 5.0]))
    return problem_of(mass, n_clusters, max_ratio, draw(st.integers(0, 3))), coverage


@given(problems())
@settings(max_examples=25, deadline=None)
def test_every_class_is_in_as_many_clusters_of_bounded_size_whatever_the_confusions(case):
    problem, coverage = case
    n_classes, n_clusters = problem.confusion.shape[0], problem.n_clusters
    labels = partitions(balanced, problem, coverage)
    np.testing.assert_array_equal(labels, partitions(balanced, problem, coverage))
    assert labels.shape == (coverage, n_classes)
    sizes = np.concatenate([np.bincount(row) for row in labels])
    assert len(sizes) == n_clusters
    mean, fewest = coverage * n_classes / n_clusters, n_clusters // coverage
    assert sizes.max() <= max(problem.max_ratio * mean + 1e-9, -(-n_classes // fewest))
    assert sizes.min() >= min(2, n_classes // -(-n_clusters // coverage))
    if coverage == 1:
        np.testing.assert_array_equal(labels[0], balanced(problem))


@pytest.mark.parametrize("seed", range(6))
def test_two_partitions_cover_three_quarters_of_the_best_two_and_the_first_is_the_best(seed):
    mass = confusions(8, seed)
    halves = [(0, *rest) for rest in itertools.combinations(range(1, 8), 3)]
    every = [np.isin(np.arange(8), half).astype(int) for half in halves]
    best = max(covered(np.stack(pair), mass) for pair in itertools.product(every, repeat=2))
    labels = partitions(balanced, problem_of(mass, 4, 1.0), 2)
    one = max(covered(half[None], mass) for half in every)
    assert covered(labels[:1], mass) == pytest.approx(one)
    assert 0.75 * best <= covered(labels, mass) <= best + 1e-9
    left = between_clusters(mass, labels[0])
    assert covered(labels[1:], left) == pytest.approx(
        max(covered(half[None], left) for half in every)
    )


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_the_confusions_left_are_those_between_clusters(density, monkeypatch):
    monkeypatch.setattr("specialists.covariance.rows.BLOCK_ENTRIES", 7)
    mass = confusions(20, 0, density)
    labels = np.arange(20) % 3
    expected = mass * (labels[:, None] != labels)
    given_sparse = sparse.csr_matrix(mass)
    left = between_clusters(given_sparse, labels)
    np.testing.assert_array_equal(left.toarray(), expected)
    assert left.nnz == np.count_nonzero(expected)
    np.testing.assert_array_equal(given_sparse.toarray(), mass)
    np.testing.assert_array_equal(between_clusters(mass, labels), expected)


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return np.random.default_rng(3).permutation(np.repeat(np.arange(6), [4, 6, 8, 8, 10, 12]))


@pytest.fixture(scope="module")
def probs(groups: np.ndarray) -> np.ndarray:
    """Predictions that spread over the classes of one group, and a little elsewhere."""
    random = np.random.default_rng(0)
    true = random.integers(0, 48, 2000)
    probs = np.exp(random.normal(size=(2000, 48)) + 4.0 * (groups[true][:, None] == groups))
    return probs / probs.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def covers(probs: np.ndarray) -> dict[int, ClassClusters]:
    found = ClassClusters.from_predictions
    return {r: found(probs, n_clusters=6 * r, coverage=r) for r in (1, 2, 3)}


def test_the_first_partition_is_that_of_coverage_1_and_labels_are_its_clusters(covers):
    for clusters in covers.values():
        assert clusters.first_partition == covers[1].core_classes
        np.testing.assert_array_equal(clusters.labels, covers[1].labels)
        assert clusters.uncovered == ()


@pytest.mark.parametrize("make", [np.asarray, lambda p: PredictionSketch(48).update(p)])
def test_more_coverage_holds_more_confusions_in_clusters_that_are_no_larger(make, probs):
    sources = make(probs)
    if isinstance(sources, np.ndarray):
        found = [ClassClusters.from_predictions(sources, coverage=r) for r in (1, 2, 3)]
    else:
        found = [cluster_classes(sources, coverage=r) for r in (1, 2, 3)]
    shares = [clusters.total_share for clusters in found]
    assert shares == sorted(shares)
    assert [clusters.n_clusters for clusters in found] == [2, 4, 6]
    assert all(max(clusters.sizes) <= 2 * 48 / 2 for clusters in found)
    for r, clusters in enumerate(found, start=1):
        assert np.bincount(np.concatenate(clusters.classes)).tolist() == [r] * 48


def test_overlap_comes_on_top_of_the_bound(probs):
    grown = ClassClusters.from_predictions(probs, n_clusters=12, coverage=2, overlap=3)
    plain = ClassClusters.from_predictions(probs, n_clusters=12, coverage=2)
    assert sorted(grown.core_classes) == sorted(plain.core_classes)
    assert sorted(grown.sizes) == [size + 3 for size in sorted(plain.sizes)]
    assert "and nearby" in grown.to_text()
    assert "and nearby" not in plain.to_text()


def test_shuffled_covers_keep_sizes_and_overlaps_and_hold_what_random_ones_do(covers, probs):
    drawn = ClassClusters.from_predictions(probs, n_clusters=12, coverage=2, shuffled=True)
    assert sorted(drawn.sizes) == sorted(covers[2].sizes)
    assert drawn.random_share == pytest.approx(covers[2].random_share)
    assert drawn.total_share == pytest.approx(drawn.random_share, abs=0.06)
    assert covers[2].total_share > 1.8 * drawn.total_share


def test_silhouette_stability_and_known_groups_are_those_of_the_first_partition(
    covers, probs, groups
):
    plain, twice = (diagnose(covers[r], probs, n_bootstraps=1) for r in (1, 2))
    assert twice.silhouettes == plain.silhouettes
    assert twice.stability == plain.stability == (1.0,)
    assert twice.coverage == (2,) * 48
    known = groups.tolist()
    assert compare(covers[2], known) == compare(covers[1], known)


def test_the_share_of_what_random_clusters_miss_is_zero_for_them_and_one_for_everything(probs):
    one = diagnose(ClassClusters.from_predictions(probs, n_clusters=1), probs)
    assert np.isnan(one.share_beyond_chance)
    found = diagnose(ClassClusters.from_predictions(probs, n_clusters=6), probs)
    missed = 1 - found.random_share
    held = found.random_share + found.share_beyond_chance * missed
    assert held == pytest.approx(found.share_of_confusions)
    assert 0.5 < found.share_beyond_chance < 1


@pytest.mark.parametrize(("coverage", "expected"), [(1, 8), (2, 16), (3, 24)])
def test_the_usual_number_of_clusters_grows_with_coverage(coverage, expected):
    found = cluster_classes(np.eye(239) - 1 / 239, coverage=coverage)
    assert found.n_clusters == expected
    assert max(found.sizes) <= 2 * 239 / 8


def test_the_automatic_number_is_times_the_coverage(probs):
    once, twice = (
        ClassClusters.from_predictions(probs, n_clusters="auto", coverage=r).n_clusters
        for r in (1, 2)
    )
    assert twice == 2 * once


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": 0}, "coverage is not possible"),
        ({"coverage": 3, "n_clusters": 2}, "(?s)n_clusters.*from 3 to 144"),
        ({"coverage": 2, "method": "kmeans"}, "(?s)kmeans keeps no bound.*balanced"),
        ({"coverage": 2, "method": "correlation"}, "correlation keeps no bound"),
    ],
)
def test_covers_that_are_not_possible_are_refused(options, message, probs):
    with pytest.raises(InputError, match=message):
        ClassClusters.from_predictions(probs, **options)
