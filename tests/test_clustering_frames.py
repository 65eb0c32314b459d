"""Clusters and confused pairs as tables, with what chance gives beside every share."""

import numpy as np
import pytest
import torch

from specialists.clustering import ClassClusters, confused_pairs
from specialists.covariance import confusion_mass
from specialists.errors import InputError


@pytest.fixture
def probs():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 10))
    logits[:, 3] = logits[:, 7] + 0.1 * rng.normal(size=300) + 1.0  # confused most
    logits[:, 7] += 1.0
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


@pytest.fixture
def clusters(probs):
    return ClassClusters.from_predictions(probs, [f"<{i}>" for i in range(10)], n_clusters=3)


def test_the_frame_of_clusters_says_what_they_hold(clusters):
    frame = clusters.to_frame()
    assert frame.index.name == "cluster"
    assert frame["size"].tolist() == list(clusters.sizes)
    assert frame["random_share"].tolist() == list(clusters.random_shares)
    assert [len(names) for names in frame["classes"]] == frame["size"].tolist()


def test_a_notebook_shows_escaped_names_and_chance(clusters):
    page = clusters._repr_html_()
    assert "&lt;3&gt;" in page
    assert "<3>" not in page
    assert f"random clusters of the same sizes would hold {clusters.random_share:.1%}" in page


def test_many_names_of_a_cluster_are_counted():
    rng = np.random.default_rng(1)
    probs = rng.dirichlet(np.ones(60), size=100)
    page = ClassClusters.from_predictions(probs, n_clusters=2)._repr_html_()
    assert "more</td>" in page


def test_pairs_are_those_of_the_most_common_mass(probs):
    mass = np.triu(confusion_mass(probs), 1)
    frame = confused_pairs(probs, k=5)
    found = [(int(a), int(b)) for a, b in zip(frame["class_a"], frame["class_b"], strict=True)]
    order = np.argsort(-mass, axis=None)[:5]
    assert found == [tuple(map(int, divmod(int(i), 10))) for i in order]
    assert found[0] == (3, 7)
    np.testing.assert_allclose(frame["share_of_confusions"], mass.flat[order] / mass.sum())
    np.testing.assert_allclose(frame["times_average"], mass.flat[order] / mass.sum() * 45)


def test_errors_and_examples_are_of_the_pair(probs, clusters):
    labels = np.random.default_rng(2).integers(10, size=300)
    texts = [f"row {i}" for i in range(300)]
    given = torch.from_numpy(probs)
    frame = confused_pairs(given, k=45, labels=labels, examples=texts, clusters=clusters)
    predicted = probs.argmax(1)
    for pair in frame.to_dict("records"):
        a, b = (clusters.class_names.index(pair[name]) for name in ("class_a", "class_b"))
        wrong = {(a, b), (b, a)}
        rows = [i for i in range(300) if (int(labels[i]), int(predicted[i])) in wrong]
        assert pair["errors"] == len(rows)
        if rows:
            assert int(pair["example"].split()[1]) in rows
        together = [a in members and b in members for members in clusters.classes]
        assert pair["cluster"] == (together.index(True) if any(together) else -1)


def test_many_classes_take_a_sketch():
    rng = np.random.default_rng(3)
    probs = np.full((40, 9000), 1e-9, dtype=np.float32)
    probs[np.arange(40), rng.integers(100, 9000, size=40)] = 0.1
    probs[:, [5, 8]] = 0.45
    probs /= probs.sum(1, keepdims=True)
    first = confused_pairs(probs, k=1).iloc[0]
    assert (first["class_a"], first["class_b"]) == ("5", "8")


def test_a_model_that_confuses_nothing_has_no_pairs():
    assert len(confused_pairs(np.eye(4), k=3)) == 0


def test_what_does_not_fit_is_named(probs, clusters):
    few = ["a", "b"]
    with pytest.raises(InputError, match="labels"):
        confused_pairs(probs, labels=few)
    with pytest.raises(InputError, match="examples"):
        confused_pairs(probs, examples=few)
    with pytest.raises(InputError, match="class_names"):
        confused_pairs(probs, few)
    with pytest.raises(InputError, match="clusters"):
        confused_pairs(probs[:, :4] / probs[:, :4].sum(1, keepdims=True), clusters=clusters)
