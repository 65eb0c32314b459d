"""Sparse rows and K-means on them do what dense ones do."""

import numpy as np
import pytest
import scipy.sparse as sparse
from sklearn.cluster import KMeans

from specialists.clustering.shares import shares_inside
from specialists.clustering.sparse_kmeans import (
    nearest_centres,
    sparse_kmeans,
    sparse_minibatch,
    spread_centres,
)
from specialists.covariance.rows import row_blocks, squares, strongest, unit_rows


def sparse_matrix(n_rows: int, n_columns: int, seed: int, density: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.exponential(size=(n_rows, n_columns)) ** 2
    return values * (random.random((n_rows, n_columns)) < density)


def planted_columns(groups: np.ndarray, seed: int = 0) -> sparse.csr_matrix:
    noise = np.minimum(sparse_matrix(len(groups), len(groups), seed, 0.1), 1)
    return unit_rows(sparse.csr_matrix((groups[:, None] == groups) + 0.5 * noise))


def inertia(columns: np.ndarray, labels: np.ndarray) -> float:
    means = np.stack([columns[labels == k].mean(axis=0) for k in np.unique(labels)])
    return float(((columns - means[np.unique(labels, return_inverse=True)[1]]) ** 2).sum())


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("specialists.covariance.rows.BLOCK_ENTRIES", 7)
    monkeypatch.setattr("specialists.covariance.rows.BLOCK_ROWS", 5)


@pytest.fixture
def groups() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(6), [2, 5, 9, 12, 15, 17]))


@pytest.mark.parametrize("lengths", [[0, 0, 3, 9, 1, 0, 2], [8], [0], [7, 7, 7], [1] * 12])
def test_blocks_cover_every_row_once_and_hold_few_entries(lengths, small_blocks):
    starts = np.concatenate([[0], np.cumsum(lengths)])
    blocks = list(row_blocks(starts))
    assert np.concatenate([np.arange(b.start, b.stop) for b in blocks]).tolist() == list(
        range(len(lengths))
    )
    for block in blocks:
        entries = starts[block.stop] - starts[block.start]
        assert block.stop - block.start == 1 or entries <= 7
        assert block.stop - block.start <= 5


@pytest.mark.parametrize("n_entries", [1, 3, 100])
def test_the_strongest_entries_of_each_row_are_kept(n_entries, small_blocks):
    dense = sparse_matrix(30, 12, 1, 0.5).round(0)
    expected = np.zeros_like(dense)
    for i, row in enumerate(dense):
        kept = np.argsort(-row, kind="stable")[:n_entries]
        expected[i, kept] = row[kept]
    found = strongest(sparse.csr_matrix(dense), n_entries)
    np.testing.assert_array_equal(found.toarray(), expected)
    assert strongest(sparse.csr_matrix((4, 4)), 2).nnz == 0


def test_rows_of_unit_length_dense_or_sparse():
    dense = sparse_matrix(9, 7, 2)
    dense[3], dense[:, 0] = 0, np.arange(9) != 3
    found = unit_rows(dense)
    np.testing.assert_allclose(unit_rows(sparse.csr_matrix(dense)).toarray(), found)
    lengths = squares(sparse.csr_matrix(found))
    np.testing.assert_allclose(np.delete(lengths, 3), 1)
    assert lengths[3] == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_of_all_centres_is_found(seed, small_blocks):
    columns, centres = sparse_matrix(40, 25, seed), sparse_matrix(9, 25, seed + 50)
    columns[[0, 7]] = 0
    centres[4] = 0.01 * (np.arange(25) == 3)
    every = ((columns[:, None] - centres) ** 2).sum(axis=2)
    labels, distance = nearest_centres(sparse.csr_matrix(columns), sparse.csr_matrix(centres))
    np.testing.assert_array_equal(labels, every.argmin(axis=1))
    np.testing.assert_allclose(distance, every.min(axis=1), atol=1e-12)


@pytest.mark.parametrize("find", [sparse_kmeans, sparse_minibatch])
def test_planted_groups_are_found(find, groups):
    columns = planted_columns(groups)
    labels = find(columns, 6, seed=0)
    np.testing.assert_array_equal(labels[:, None] == labels, groups[:, None] == groups)
    np.testing.assert_array_equal(labels, find(columns, 6, seed=0))


@pytest.mark.parametrize("seed", range(3))
def test_distances_to_centres_are_about_those_of_scikit_learn(seed):
    dense = sparse_matrix(200, 60, seed, 0.1)
    found = inertia(dense, sparse_kmeans(sparse.csr_matrix(dense), 12, seed))
    known = KMeans(12, n_init=4, random_state=seed).fit_predict(dense)  # pyright: ignore
    assert found < 1.03 * inertia(dense, known)


def test_k_means_ends_where_no_column_is_nearer_to_another_mean():
    dense = sparse_matrix(120, 40, 3)
    labels = sparse_kmeans(sparse.csr_matrix(dense), 7, 0)
    means = np.stack([dense[labels == k].mean(axis=0) for k in range(7)])
    np.testing.assert_array_equal(
        ((dense[:, None] - means) ** 2).sum(axis=2).argmin(axis=1), labels
    )


def test_centres_are_spread_over_the_groups(groups):
    columns = planted_columns(groups)
    chosen = spread_centres(columns, 6, np.random.default_rng(1)).toarray()
    whose = [int(np.flatnonzero((columns.toarray() == row).all(axis=1))[0]) for row in chosen]
    assert len(set(groups[whose])) == 6


@pytest.mark.parametrize("find", [sparse_kmeans, sparse_minibatch])
@pytest.mark.parametrize("columns", [np.zeros((8, 8)), np.ones((8, 8)), np.eye(8)])
def test_columns_of_zeros_equal_ones_and_unrelated_ones_get_labels(find, columns):
    for n_clusters in (1, 3, 8):
        labels = find(sparse.csr_matrix(columns), n_clusters, 0)
        assert labels.shape == (8,)
        assert set(labels) <= set(range(n_clusters))


@pytest.mark.parametrize("coverage", [1, 2, 4])
@pytest.mark.parametrize("dense", [False, True])
def test_pairs_that_several_clusters_hold_count_once(coverage, dense, small_blocks):
    values = sparse_matrix(30, 30, 5)
    confusion = np.triu(values, 1) + np.triu(values, 1).T
    random = np.random.default_rng(0)
    labels = [random.permutation(30) % 4 for _ in range(coverage)]
    grown = [np.flatnonzero(row == k) for row in labels for k in range(4)]
    covered = np.zeros((30, 30), dtype=bool)
    for members in grown:
        covered[np.ix_(members, members)] = True
    matrix = confusion if dense else sparse.csr_matrix(confusion)
    shares, total = shares_inside(grown, matrix, confusion.sum())
    halves, half = shares_inside(grown, matrix, 2 * confusion.sum())
    np.testing.assert_allclose([*halves, half], np.array([*shares, total]) / 2)
    expected = [confusion[np.ix_(m, m)].sum() / confusion.sum() for m in grown]
    np.testing.assert_allclose(shares, expected)
    assert total == pytest.approx(confusion[covered].sum() / confusion.sum())
