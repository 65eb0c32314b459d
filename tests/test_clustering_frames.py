"""Clusters and confused pairs as tables, with what chance gives beside every share."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from specialists.clustering import ClassClusters, confused_pairs
from specialists.covariance import confusion_mass
from specialists.errors import DataWarning, InputError


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
    names = [f"a class of a long name, {i}" for i in range(60)]
    clusters = ClassClusters.from_predictions(probs, names, n_clusters=2)
    page = clusters._repr_html_()
    assert page.count("a class of a long name") == sum(min(size, 12) for size in clusters.sizes)
    assert page.count(" more</div></td>") == sum(size > 12 for size in clusters.sizes) > 0


def test_pairs_are_those_of_the_most_common_mass(probs):
    mass = np.triu(confusion_mass(probs), 1)
    frame = confused_pairs(probs, k=5)
    found = [(int(a), int(b)) for a, b in zip(frame["class_a"], frame["class_b"], strict=True)]
    order = np.argsort(-mass, axis=None)[:5]
    assert found == [tuple(map(int, divmod(int(i), 10))) for i in order]
    assert found[0] == (3, 7)
    np.testing.assert_allclose(frame["share_of_confusions"], mass.flat[order] / mass.sum())
    np.testing.assert_allclose(frame["times_average"], mass.flat[order] / mass.sum() * 45)


def test_both_ways_and_rows_are_of_the_pair(probs, clusters):
    labels = np.random.default_rng(2).integers(10, size=300)
    texts = [f"row {i}" for i in range(300)]
    given = torch.from_numpy(probs)
    frame = confused_pairs(given, k=45, labels=labels, examples=texts, clusters=clusters)
    order = np.argsort(-probs, axis=1)
    for pair in frame.to_dict("records"):
        a, b = (clusters.class_names.index(pair[name]) for name in ("class_a", "class_b"))
        ways = ((a, b), (b, a))
        errors = [[i for i in range(300) if (labels[i], order[i, 0]) == way] for way in ways]
        close = [[i for i in range(300) if tuple(order[i, :2]) == way] for way in ways]
        assert [pair["a_as_b"], pair["b_as_a"]] == [len(rows) for rows in errors]
        assert [pair["a_then_b"], pair["b_then_a"]] == [len(rows) for rows in close]
        wrong = {*errors[0], *errors[1]}
        rows = {*wrong, *close[0], *close[1]}
        torn = {i: (i not in wrong, -probs[i, a] * probs[i, b]) for i in rows}
        assert pair["rows"] == sorted(torn, key=torn.__getitem__)[:3]
        assert pair["examples"] == [texts[i] for i in pair["rows"]]
        together = [a in members and b in members for members in clusters.classes]
        assert pair["cluster"] == (together.index(True) if any(together) else -1)


def test_clusters_know_the_pairs_that_they_were_found_by(probs, clusters):
    again = ClassClusters.from_dict(json.loads(json.dumps(clusters.to_dict())))
    alone = again.confused_pairs(4)
    whole = clusters.confused_pairs(4, probs, examples=range(300))
    shared = ["class_a", "class_b", "share_of_confusions", "times_average", "cluster"]
    assert alone.columns.tolist() == shared
    assert whole[shared].equals(alone)
    assert (whole["rows"] == whole["examples"]).all()
    old = {key: value for key, value in clusters.to_dict().items() if key != "pairs"}
    assert len(ClassClusters.from_dict(old).confused_pairs()) == 0
    with pytest.raises(InputError, match="predictions are not given"):
        again.confused_pairs(4, labels=[0] * 300)


def test_clusters_keep_so_many_pairs_that_a_file_stays_small():
    probs = np.random.default_rng(1).dirichlet(np.ones(60), size=100)
    clusters = ClassClusters.from_predictions(probs, n_clusters=2)
    mass = np.triu(confusion_mass(probs), 1)
    assert len(clusters.pairs) == 200
    first, second, share = clusters.pairs[-1]
    assert share == pytest.approx(np.sort(mass, axis=None)[-200] / mass.sum())
    assert first < second


IMAGES = np.random.default_rng(4).integers(0, 255, (300, 8, 6)).astype(np.uint8)


@pytest.mark.parametrize(
    ("images", "mode"),
    [
        (IMAGES, "L"),
        (IMAGES / 255, "L"),
        (IMAGES[:, None], "L"),
        (np.stack([IMAGES] * 3, axis=1), "RGB"),
        (np.stack([IMAGES] * 3, axis=3), "RGB"),
    ],
)
def test_images_are_small_pictures_also_of_a_part_of_the_table(probs, images, mode):
    table = confused_pairs(probs, k=5, examples=images)
    first = table.head(1)
    page = str(first._repr_html_())
    found = [base64.b64decode(part.partition('"')[0]) for part in page.split("base64,")[1:]]
    assert len(found) == len(first["rows"].to_list()[0]) == 3
    picture = Image.open(io.BytesIO(found[0]))
    assert (picture.mode, picture.size) == (mode, (6, 8))


def test_a_table_shows_what_names_and_texts_hold_as_text(probs):
    texts = ["<script>alert(1)</script> \u202e " + "long " * 30] * 300
    table = confused_pairs(probs, [f"<b>{i}" for i in range(10)], k=2, examples=texts)
    table["<i>mine"] = ["<i>", 3]
    page = str(table._repr_html_())
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;3" in page
    assert not re.search("<(script|b|i)>", page)
    assert "\u202e" not in page
    assert "…" in page
    assert f"{table['share_of_confusions'][0]:.2%}" in page
    assert "and 20 more pairs" in str(pd.concat([table] * 40)._repr_html_())


def test_many_classes_take_a_sketch():
    rng = np.random.default_rng(3)
    probs = np.full((40, 9000), 1e-9, dtype=np.float32)
    probs[np.arange(40), rng.integers(100, 9000, size=40)] = 0.1
    probs[:, [5, 8]] = 0.45
    probs /= probs.sum(1, keepdims=True)
    first = confused_pairs(probs, k=1).iloc[0]
    assert (first["class_a"], first["class_b"]) == ("5", "8")


def test_a_model_that_confuses_nothing_has_no_pairs():
    with pytest.warns(DataWarning, match="all predictions are 0 or 1"):
        assert len(confused_pairs(np.eye(4), k=3)) == 0
    late = np.concatenate([np.tile(np.eye(4), (100, 1)), [[0.5, 0.5, 0, 0]]])
    assert len(confused_pairs(late, k=3)) == 1  # and nothing is told


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
