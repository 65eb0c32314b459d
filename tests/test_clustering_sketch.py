import numpy as np
import pytest
import scipy.sparse as sparse
import torch

from specialists.clustering import ClassClusters, cluster_classes
from specialists.clustering.balanced import SizeBounds
from specialists.clustering.co_predictions import N_ENTRIES, CoPredictions
from specialists.clustering.contraction import contracted, mutual_best, packed
from specialists.clustering.shares import shares_inside, with_nearest
from specialists.clustering.sparse_search import SparsePartition
from specialists.covariance import PredictionCovariance, PredictionSketch, confusion_mass
from specialists.errors import InputError


def neighbour_probs(n_classes: int, n_rows: int, seed: int = 0) -> np.ndarray:
    """Predictions that fall off with the distance between classes in a random plane."""
    random = np.random.default_rng(seed)
    places = random.normal(size=(n_classes, 3))
    seen = places[random.integers(0, n_classes, n_rows)] + 0.3 * random.normal(size=(n_rows, 3))
    distances = ((seen[:, None] - places) ** 2).sum(axis=2)
    probs = np.exp(-4 * distances)
    return probs / probs.sum(axis=1, keepdims=True)


def top_of(probs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    top = np.argsort(-probs, axis=1)[:, :k]
    return top, np.take_along_axis(probs, top, axis=1)


def random_graph(n_classes: int, seed: int) -> sparse.csr_matrix:
    random = np.random.default_rng(seed)
    dense = random.exponential(size=(n_classes, n_classes)) ** 3
    dense *= random.random((n_classes, n_classes)) < 0.3
    dense = np.triu(dense, 1)
    return sparse.csr_matrix(dense + dense.T)


@pytest.fixture(scope="module")
def probs() -> np.ndarray:
    return neighbour_probs(80, 1500)


def test_sketched_columns_are_the_covariance_times_the_projection(probs):
    sketch = PredictionSketch(80, n_dimensions=32, seed=1)
    for batch in np.array_split(probs, 4):
        sketch.update(batch)
    expected = PredictionCovariance(80).update(probs).covariance() @ sketch._projection.toarray()
    np.testing.assert_allclose(sketch.columns(), expected, atol=1e-15)
    np.testing.assert_allclose(sketch.mean, probs.mean(axis=0))


def test_inner_products_of_columns_survive_the_sketch(probs):
    covariance = PredictionCovariance(80).update(probs).covariance()
    exact = covariance @ covariance.T
    lengths = np.sqrt(np.outer(np.diagonal(exact), np.diagonal(exact)))
    columns = PredictionSketch(80, n_dimensions=1024).update(probs).columns()
    assert np.abs(columns @ columns.T - exact).max() < 0.2 * lengths.max()
    assert (np.abs(columns @ columns.T - exact) / lengths).mean() < 0.05


def test_sparse_rows_of_all_classes_equal_dense_rows(probs):
    classes, values = top_of(probs, 80)
    dense = PredictionSketch(80, 16, top_k=80).update(probs)
    given = PredictionSketch(80, 16).update_sparse(torch.tensor(classes), torch.tensor(values))
    np.testing.assert_allclose(given.mean, dense.mean, atol=1e-15)
    np.testing.assert_allclose(given.columns(), dense.columns(), atol=1e-15)
    np.testing.assert_allclose(given.confusion().toarray(), confusion_mass(probs), atol=1e-15)
    np.testing.assert_allclose(dense.confusion().toarray(), confusion_mass(probs), atol=1e-15)


def test_co_prediction_keeps_the_pairs_of_the_most_probable_classes(probs):
    kept = np.zeros_like(probs)
    np.put_along_axis(kept, *top_of(probs, 6), axis=1)
    sketch = PredictionSketch(80, n_dimensions=0, top_k=6)
    for batch in np.array_split(probs, 100):
        sketch.update(batch)
    np.testing.assert_allclose(sketch.confusion().toarray(), confusion_mass_of(kept), atol=1e-15)


def confusion_mass_of(rows: np.ndarray) -> np.ndarray:
    mass = rows.T @ rows / len(rows)
    np.fill_diagonal(mass, 0)
    return mass


@pytest.mark.parametrize("waiting", [1, 10_000, 4_000_000])
def test_merged_sketches_equal_one_sketch_of_all_rows(waiting, probs, monkeypatch):
    whole = PredictionSketch(80, 32).update(probs)
    expected = whole.confusion()
    monkeypatch.setattr("specialists.covariance.sketched.WAITING_VALUES", waiting)
    merged = PredictionSketch(80, 32).merge(PredictionSketch(80, 32).update(probs[:500]))
    for batch in np.array_split(probs[500:], 5):
        merged.merge(PredictionSketch(80, 32).update(batch))
    np.testing.assert_allclose(merged.columns(), whole.columns(), atol=1e-15)
    assert abs(merged.confusion() - expected).max() < 1e-15
    assert merged.n_samples == 1500


def test_looking_at_a_sketch_leaves_it_as_it_was(probs):
    sketch = PredictionSketch(80).update(probs[:700])
    for method in ("balanced", "spherical", "kmeans"):
        cluster_classes(sketch, 6, method)
    once = PredictionSketch(80).update(probs)
    sketch.update(probs[700:])
    assert abs(sketch.co_prediction() - once.co_prediction()).max() < 1e-15


def test_co_prediction_is_the_confusion_with_its_diagonal(probs):
    sketch = PredictionSketch(80, top_k=80).update(probs)
    whole = sketch.co_prediction().toarray()
    np.testing.assert_allclose(whole, probs.T @ probs / len(probs), atol=1e-15)
    np.fill_diagonal(whole, 0)
    np.testing.assert_array_equal(sketch.confusion().toarray(), whole)


def test_the_weakest_pairs_are_forgotten_where_there_are_too_many(probs):
    sketch = PredictionSketch(80, top_k=80, max_pairs=20)
    for batch in np.array_split(probs, 3):
        sketch.update(batch)
    confusion = confusion_mass(probs)
    found = sketch.confusion()
    assert found.nnz < 0.5 * np.count_nonzero(confusion)
    diagonal = sketch.co_prediction().diagonal()
    np.testing.assert_allclose(diagonal, (probs**2).mean(axis=0), rtol=1e-9)
    assert abs(found - found.T).max() == 0
    strongest_pairs = np.argsort(-confusion, axis=1)[:, :5]
    for i, near in enumerate(strongest_pairs):
        np.testing.assert_allclose(found[i, near].toarray().ravel(), confusion[i, near], rtol=1e-9)
    assert sketch.confusion_mass == pytest.approx(confusion.sum())


@pytest.mark.parametrize("top_k", [4, 80])
def test_shares_are_of_all_confusions_also_those_that_are_not_kept(top_k, probs):
    sketch = PredictionSketch(80, top_k=top_k).update(probs)
    found = cluster_classes(sketch, 8)
    exact = confusion_mass(probs)
    inside = exact[found.labels[:, None] == found.labels].sum() / exact.sum()
    assert found.total_share <= inside + 1e-9
    assert found.total_share > 0.6 * inside
    if top_k == 80:
        assert found.total_share == pytest.approx(inside)
    classes, values = top_of(probs, top_k)
    given = PredictionSketch(80).update_sparse(classes, values)
    assert given.confusion_mass == pytest.approx(1 - (values**2).sum(axis=1).mean())


def test_a_class_of_probability_zero_may_fill_a_row_up():
    padded = np.array([[3, 1, 1], [2, 0, 0]]), np.array([[0.5, 0.5, 0.0], [0.9, 0.0, 0.0]])
    confusion = PredictionSketch(4).update_sparse(*padded).confusion()
    assert confusion.nnz == 2
    assert confusion[1, 3] == 0.125


def test_balanced_clusters_of_a_sketch_hold_about_as_many_confusions_as_exact_ones(probs):
    confusion = confusion_mass(probs)
    exact = ClassClusters.from_predictions(probs, n_clusters=8)
    sketched = cluster_classes(PredictionSketch(80, n_dimensions=0).update(probs), 8)
    assert max(sketched.sizes) <= 20
    assert min(sketched.sizes) >= 2
    assert sum(sketched.sizes) == 80
    same = sketched.labels[:, None] == sketched.labels
    assert confusion[same].sum() > 0.95 * exact.total_share * confusion.sum()


@pytest.mark.parametrize("method", ["balanced", "kmeans", "minibatch", "spherical"])
def test_methods_that_work_on_sketches_cover_every_class(method, probs):
    names = [f"class {i}" for i in range(80)]
    sketch = PredictionSketch(80).update(probs)
    clusters = cluster_classes(sketch, 6, method, class_names=names, overlap=2, seed=3)
    assert clusters == cluster_classes(sketch, 6, method, class_names=names, overlap=2, seed=3)
    assert sorted(i for core in clusters.core_classes for i in core) == list(range(80))
    usual = {"balanced": "confusion", "spherical": "correlation"}
    assert clusters.matrix == usual.get(method, "covariance")
    assert ClassClusters.from_dict(clusters.to_dict()) == clusters


def test_very_many_classes_are_sketched_by_themselves(monkeypatch, probs):
    monkeypatch.setattr("specialists.clustering.co_predictions.MAX_WHOLE_MATRIX", 50)
    clusters = ClassClusters.from_predictions(probs, n_clusters=5)
    assert clusters == cluster_classes(PredictionSketch(80).update(probs), 5)


@pytest.mark.parametrize("method", ["kmeans", "minibatch", "spherical"])
def test_k_means_works_on_random_columns_where_a_sketch_has_them(method, probs):
    clusters = cluster_classes(PredictionSketch(80, 64).update(probs), 6, method)
    assert clusters.matrix == "covariance"
    assert sorted(i for core in clusters.core_classes for i in core) == list(range(80))


@pytest.mark.parametrize("method", ["kmeans", "spherical"])
def test_clusters_of_a_sketch_are_those_of_the_whole_covariance(method):
    groups = np.repeat(np.arange(6), [4, 6, 8, 8, 10, 12])
    random = np.random.default_rng(0)
    true = random.integers(0, 48, 3000)
    probs = np.exp(random.normal(size=(3000, 48)) + 5.0 * (groups[true][:, None] == groups))
    probs /= probs.sum(axis=1, keepdims=True)
    exact = ClassClusters.from_predictions(probs, n_clusters=6, method=method)
    sketched = cluster_classes(PredictionSketch(48).update(probs), 6, method)
    assert sorted(sketched.classes) == sorted(exact.classes)


@pytest.mark.parametrize("matrix", ["covariance", "correlation", "confusion"])
def test_the_matrix_of_a_sketch_can_be_chosen(matrix, probs, monkeypatch):
    monkeypatch.setitem(N_ENTRIES, matrix, 80)
    sketch = PredictionSketch(80, top_k=80).update(probs)
    found = CoPredictions.from_source(sketch, None).columns(matrix, "kmeans")
    moments = probs.T @ probs / len(probs)
    if matrix == "correlation":
        deviation = probs.std(axis=0)
        moments = moments / np.outer(deviation, deviation)
    if matrix == "confusion":
        np.fill_diagonal(moments, 0)
    np.testing.assert_allclose(sparse.csr_matrix(found).toarray(), moments, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("overlap", [0, 3])
def test_shares_of_sparse_and_dense_confusion_agree(overlap):
    graph = random_graph(40, 0)
    members = [np.arange(0, 12), np.arange(12, 20), np.arange(20, 40)]
    grown = [with_nearest(part, graph, overlap) for part in members]
    for part, dense in zip(grown, members, strict=True):
        np.testing.assert_array_equal(part, with_nearest(dense, graph.toarray(), overlap))
    sparse_shares, dense_shares = (
        shares_inside(grown, m, float(graph.sum())) for m in (graph, graph.toarray())
    )
    np.testing.assert_allclose(sparse_shares[0], dense_shares[0])
    assert sparse_shares[1] == pytest.approx(dense_shares[1])


def test_contraction_merges_the_pairs_that_prefer_each_other_within_the_bound():
    graph = sparse.csr_matrix(
        np.array([[0, 5, 1, 0], [5, 0, 4, 0], [1, 4, 0, 2], [0, 0, 2, 0]], dtype=float)
    )
    first, second = mutual_best(graph, np.ones(4), largest=2, n_most=9)
    assert (first.tolist(), second.tolist()) == ([0], [1])
    first, second = mutual_best(graph, np.array([1, 2, 1, 1]), largest=2, n_most=9)
    assert (first.tolist(), second.tolist()) == ([2], [3])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n_clusters", "largest"), [(1, 40), (6, 7), (9, 8), (20, 2), (40, 1)])
def test_contraction_keeps_the_bounds(seed, n_clusters, largest):
    bounds = SizeBounds(min(2, 40 // n_clusters), largest)
    labels = contracted(random_graph(40, seed), n_clusters, bounds)
    sizes = np.bincount(labels, minlength=n_clusters)
    assert len(sizes) == n_clusters
    assert sizes.max() <= largest
    assert sizes.min() >= bounds.smallest


def test_packing_splits_a_piece_only_where_it_has_no_room():
    labels = packed(np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2]), 3, SizeBounds(2, 4))
    assert len({*labels[:3]}) == len({*labels[3:6]}) == len({*labels[6:]}) == 1
    sizes = np.bincount(packed(np.zeros(9, dtype=int), 3, SizeBounds(2, 4)))
    assert sizes.tolist() == [3, 3, 3]


@pytest.mark.parametrize("seed", range(4))
def test_sparse_search_keeps_its_sums_and_never_loses_mass(seed):
    graph = random_graph(40, seed)
    start = np.random.default_rng(seed).permutation(40) % 5
    bounds = SizeBounds(4, 12)
    partition = SparsePartition(graph, start, 5, bounds)
    before = partition.inside
    partition.climb(np.arange(40))
    fresh = SparsePartition(graph, partition.labels, 5, bounds)
    np.testing.assert_allclose(partition.held, fresh.held, atol=1e-12)
    assert partition.members == fresh.members
    assert partition.inside > 1.3 * before
    assert set(map(len, partition.members)) <= set(range(4, 13))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "correlation"}, "does not hold what correlation needs"),
        ({"method": "agglomerative"}, "does not hold what agglomerative needs"),
        ({"method": "balanced", "matrix": "correlation"}, "does not hold what balanced needs"),
        ({"method": "kmeans", "matrix": "columns"}, "does not hold what kmeans needs"),
        ({"n_clusters": "auto"}, "does not hold the whole covariance"),
        ({"confusion": np.zeros((80, 80))}, "has its own confusion"),
    ],
)
def test_what_a_sketch_cannot_give_is_refused(options, message, probs):
    with pytest.raises(InputError, match=message):
        cluster_classes(PredictionSketch(80).update(probs), **options)


@pytest.mark.parametrize(
    ("classes", "values", "message"),
    [
        ([[0, 1]], [[0.5]], "matrices of one shape"),
        ([[0, 4]], [[0.5, 0.5]], "(?s)out of range.*0 to 3"),
        ([[-1, 2]], [[0.5, 0.5]], "out of range"),
        ([[0, 1]], [[0.9, 0.9]], "not probabilities"),
        ([[0, 1]], [[np.nan, 0.5]], "not probabilities"),
    ],
)
def test_sparse_rows_that_are_wrong_are_named(classes, values, message):
    with pytest.raises(InputError, match=message):
        PredictionSketch(4).update_sparse(np.array(classes), np.array(values))


def test_sketches_that_are_not_possible_are_refused():
    with pytest.raises(InputError, match="not possible"):
        PredictionSketch(1)
    with pytest.raises(InputError, match="too few rows"):
        PredictionSketch(3).confusion()
    with pytest.raises(InputError, match="cannot be merged"):
        PredictionSketch(3).merge(PredictionSketch(3, seed=1))
    projected = PredictionSketch(3, 8).update(np.full((2, 3), 1 / 3))
    with pytest.raises(InputError, match="does not hold what kmeans needs"):
        cluster_classes(projected, 2, "kmeans", matrix="correlation")
    with pytest.raises(InputError, match="keeps no columns"):
        PredictionSketch(3, n_dimensions=0).update(np.full((2, 3), 1 / 3)).columns()
