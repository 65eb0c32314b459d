from dataclasses import replace

import numpy as np
import pytest

from specialists.clustering import ClassClusters, ClusterDiagnostics, compare
from specialists.figures.diagnostics import diagnostic_panels, group_table
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
    assert widths == [0.6, 0.3]
    silhouettes = np.asarray(figure.axes[1].collections[0].get_offsets())[:, 0]
    np.testing.assert_allclose(silhouettes, [0.5, 0.25, -0.1])
    assert "silhouette" in to_svg(figure, "diagnostics")


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
