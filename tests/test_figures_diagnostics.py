from dataclasses import replace

import numpy as np
import pytest

from specialists.clustering import ClassClusters, ClusterDiagnostics, compare
from specialists.figures.diagnostic_panels import diagnostic_panels, group_table
from specialists.figures.style import to_svg


@pytest.fixture
def diagnostics() -> ClusterDiagnostics:
    return ClusterDiagnostics(
        share_of_confusions=0.6,
        random_share=0.2,
        silhouettes=(0.5, 0.25, float("nan"), -0.1),
        stability=(0.9, 0.8),
        sizes=(2, 1),
        coverage=(1, 1, 0, 1),
    )


def test_each_clustering_is_a_row_and_each_diagnostic_a_panel(diagnostics):
    other = replace(diagnostics, stability=(), share_of_confusions=0.3)
    figure = diagnostic_panels({"first": diagnostics, "second": other})
    assert len(figure.axes) == 5
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["first", "second"]
    widths = [bar.get_width() for bar in figure.axes[0].patches]  # pyright: ignore
    assert widths == [60, 30]
    marks = np.asarray(figure.axes[0].collections[0].get_offsets())[:, 0]
    np.testing.assert_allclose(marks, [20, 20])
    silhouettes = np.asarray(figure.axes[1].collections[0].get_offsets())[:, 0]
    np.testing.assert_allclose(silhouettes, [0.5, 0.25, -0.1])
    assert "silhouette" in to_svg(figure, "diagnostics")


def test_each_diagnostic_is_drawn_at_its_values(diagnostics):
    panels = diagnostic_panels({"one": diagnostics}).axes
    stability = np.asarray(panels[2].collections[0].get_offsets())[:, 0]
    np.testing.assert_allclose(stability, diagnostics.stability)
    sizes = np.asarray(panels[3].collections[0].get_offsets())[:, 0]
    np.testing.assert_allclose(sizes, diagnostics.sizes)
    assert panels[3].get_xscale() == "log"
    dots = panels[4].collections[0]
    np.testing.assert_allclose(np.asarray(dots.get_offsets())[:, 0], [0, 1])
    areas = np.asarray(dots.get_sizes())  # pyright: ignore
    assert areas[1] > 2 * areas[0]


def test_many_points_are_drawn_as_range_middle_half_and_mean(diagnostics):
    many = tuple(np.linspace(-0.2, 0.6, 500))
    panel = diagnostic_panels({"one": replace(diagnostics, silhouettes=many)}).axes[1]
    spans = [np.asarray(line.get_xdata()) for line in panel.lines[:2]]
    np.testing.assert_allclose(spans, [[-0.2, 0.6], [0, 0.4]], atol=1e-9)
    mean = np.asarray(panel.collections[0].get_offsets())
    np.testing.assert_allclose(mean, [[0.2, 0]], atol=1e-9)


def test_clusterings_without_stability_or_silhouette_are_still_drawn(diagnostics):
    bare = replace(diagnostics, stability=(), silhouettes=(float("nan"),) * 4)
    assert "stability" in to_svg(diagnostic_panels({"bare": bare}), "bare")


def test_the_group_table_shows_the_largest_groups_of_a_comparison():
    clusters = ClassClusters(
        classes=((0, 1, 2), (3, 4)),
        core_classes=((0, 1, 2), (3, 4)),
        class_names=tuple("abcde"),
        method="balanced",
        matrix="correlation",
        share_of_confusions=(0.5, 0.2),
        total_share=0.7,
    )
    figure = group_table(compare(clusters, ["x", "x", "y", "y", "y"]), n_groups=1)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), [[1], [2]])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["y"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2"]
