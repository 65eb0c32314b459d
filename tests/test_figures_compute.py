"""Figures of accuracy against computing and of gains: names are read, nothing is moved wrongly."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from specialists.figures import ComputePoint, Gain, accuracy_against_compute, gain_along_axis


def point(family, mark, training, inference, top1):
    return ComputePoint(family, mark, training, inference, top1, (top1 - 0.004, top1 + 0.004))


POINTS = [
    point("generalist", "1/4", 1.2e11, 1.1e5, 0.36),
    point("generalist", "1x", 5.2e11, 5.4e5, 0.430),
    point("generalist", "2x", 1.2e12, 1.3e6, 0.448),
    point("generalist", "4x", 3.2e12, 3.4e6, 0.452),
    point("generalist_wide", "", 2.4e12, 1.45e6, 0.450),
    point("generalist_ensemble", "2", 1.04e12, 1.08e6, 0.441),
    point("generalist_ensemble", "3", 1.56e12, 1.62e6, 0.446),
    point("ensemble_paper", "n = 1", 1.5e12, 7.4e5, 0.441),
    point("ensemble_paper", "n = 3", 1.5e12, 1.2e6, 0.449),
    point("ensemble_paper", "all", 1.5e12, 6.4e6, 0.452),
    point("ensemble", "", 1.5e12, 1.4e6, 0.4555),
]


def test_no_mark_hides_another_and_all_lie_in_the_figure():
    figure = accuracy_against_compute(POINTS, {"ensemble_paper": "specialists, KL"})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for axes in figure.axes:
        boxes = {text.get_text(): Text.get_window_extent(text, renderer) for text in axes.texts}
        assert set(boxes) == {p.mark for p in POINTS if p.mark}
        for (a, first), (b, second) in itertools.combinations(boxes.items(), 2):
            assert not first.overlaps(second), (a, b)
        assert all(
            figure.bbox.containsx(b.x0) and figure.bbox.containsx(b.x1) for b in boxes.values()
        )
    names = [text.get_text() for text in figure.legends[0].texts]
    assert "specialists, KL" in names
    assert "generalist wide" in names


def test_a_model_that_was_given_has_no_place_on_the_axis_of_training():
    given = point("generalist", "1x", 0.0, 5.4e5, 0.43)
    left, right = accuracy_against_compute([given, *POINTS[1:]]).axes
    assert "1x" in [text.get_text() for text in right.texts]
    assert [text.get_text() for text in left.texts].count("1x") == 1  # the other one


@pytest.mark.parametrize("logarithmic", [True, False])
def test_gains_stand_at_their_places_in_points_with_their_intervals(logarithmic):
    gain = Gain(0.02, (0.01, 0.04))
    gains = {"generalist": [gain, gain], "generalist_wide": [None, gain]}
    figure = gain_along_axis([1.0, 8.0], ["one", "eight"], gains, "what", logarithmic)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "eight"]
    curves = {str(line.get_label()): line for line in axes.lines if line.get_marker() == "o"}
    assert list(curves) == ["over generalist", "over generalist wide"]
    assert np.asarray(curves["over generalist"].get_ydata()).tolist() == [2.0, 2.0]
    assert np.size(curves["over generalist wide"].get_xdata()) == 1
    assert np.asarray(curves["over generalist"].get_xdata()) == pytest.approx(
        [1.0, 8.0], abs=0.3, rel=0.05
    )
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert drawn.count([1.0, 4.0]) == 3
