"""Pictures of clusters: what is written under the pointer, where, and beside what chance gives."""

import html
import re

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from specialists.clustering import ClassClusters
from specialists.covariance import PredictionCovariance, PredictionSketch
from specialists.figures import HoverArea, Picture, picture_of_confusions, picture_of_shares
from specialists.figures.style import one_panel

AREA = re.compile(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"><title>')


def predicted(n_classes: int, n_families: int = 4) -> np.ndarray:
    random = np.random.default_rng(0)
    family = np.arange(n_classes) % n_families
    true = random.integers(0, n_classes, 20 * n_classes)
    scores = random.normal(size=(len(true), n_classes)) + 3.0 * (family[true][:, None] == family)
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def found(probs: np.ndarray, names: list[str] | None = None) -> ClassClusters:
    return ClassClusters.from_predictions(probs, names, n_clusters=4)


def titles(picture: Picture) -> list[str]:
    return [html.unescape(t) for t in re.findall("<title>(.*?)</title>", picture.to_html(), re.S)]


def test_words_lie_where_the_drawing_is():
    figure, axes = one_panel(3.0)
    axes.set_xlim(0, 10)
    axes.set_ylim(5, 0)
    axes.add_patch(Rectangle((2, 1), 3, 2, color="#123456"))
    page = Picture(
        figure, "a picture", [HoverArea(axes, (2, 5), (1, 3), "a <b>\n\x1b c")]
    ).to_html()
    x, y, width, height = map(float, AREA.findall(page)[0])
    path = re.search(r'<path d="([^"]*)"[^>]*#123456', page)
    corners = np.array(re.findall(r"([\d.]+) ([\d.]+)", path[1] if path else ""), dtype=float)
    drawn = [*corners.min(axis=0), *np.ptp(corners, axis=0)]
    np.testing.assert_allclose([x, y, width, height], drawn, atol=0.11)
    assert "<title>a &lt;b&gt;\n\\x1b c</title>" in page
    assert page.rstrip().endswith("</g></svg>")
    assert page.count("<svg") == 1


def test_a_picture_needs_nothing_else_and_is_plain_where_no_html_is_shown():
    picture = picture_of_shares(found(predicted(12)))
    page = picture._repr_html_()
    assert not re.search("<script|https?:|@import", page)
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_beside_every_share_stands_that_of_random_classes():
    names = [f"<{j}>" for j in range(12)]
    clusters = found(predicted(12), names)
    picture = picture_of_shares(clusters)
    said = titles(picture)
    assert len(said) == 3 * clusters.n_clusters  # on each of three panels
    for m in range(clusters.n_clusters):
        share, random = clusters.share_of_confusions[m], clusters.random_shares[m]
        words = f"{share:.2%} of all confusions; as many random classes {random:.2%}"
        (text,) = {text for text in said if text.startswith(f"cluster {m}: ")}
        assert words in text
        assert ", ".join(clusters.names(m)) in text
    assert f"random clusters of the same sizes {clusters.random_share:.1%}" in picture.to_html()


def test_only_the_clusters_with_most_are_shown():
    clusters = ClassClusters.from_predictions(predicted(200, 50), n_clusters=60)
    assert len({text.split(":")[0] for text in titles(picture_of_shares(clusters))}) == 40


def test_pairs_are_told_on_both_sides_with_their_cluster():
    probs = predicted(12)
    clusters = found(probs, [f"class {j}" for j in range(12)])
    picture = picture_of_confusions(clusters, PredictionCovariance(12).update(probs))
    said = titles(picture)
    a, b, share = clusters.pairs[0]
    times = share * 12 * 11 / 2
    together = [m for m in range(4) if {a, b} <= set(clusters.classes[m])]
    text = f"class {a} \N{LEFT RIGHT ARROW} class {b}\n{share:.2%} of all confusions, "
    text += f"{times:.1f} times the average pair\nboth in cluster {together[0]}"
    assert said.count(text) == 2
    assert sum(t.startswith("cluster ") for t in said) == 4
    assert not [t for t in said if " 0." in t and "times" in t]  # below average
    place = [(area.x[0], area.y[0]) for area in picture.areas if area.text == text]
    order = [j for members in clusters.classes for j in members]
    assert sorted(place) == sorted(
        [(order.index(a), order.index(b)), (order.index(b), order.index(a))]
    )


@pytest.mark.parametrize("streaming", [PredictionCovariance, PredictionSketch])
def test_many_classes_share_areas_that_a_pointer_can_tell_apart(streaming):
    probs = predicted(200, 50)
    clusters = found(probs)
    picture = picture_of_confusions(clusters, streaming(200).update(probs))
    pairs = [area for area in picture.areas if "average pair" in area.text]
    assert 200 < len(pairs) <= 1000
    assert len({(area.x, area.y) for area in pairs}) == len(pairs)
    assert min(area.x[1] - area.x[0] for area in pairs) == pytest.approx(200 / 72)
    assert pairs[0].text.startswith(f"{clusters.pairs[0][0]} ")
