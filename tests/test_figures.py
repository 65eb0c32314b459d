"""Figures carry the data they are given, stay readable and fit into one page."""

import itertools
import re
import xml.dom.minidom

import hostile_names
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from specialists.evaluation import knowledge_transfer
from specialists.evaluation.scores import Bin
from specialists.figures import (
    CostPoint,
    accuracy_against_cost,
    class_changes,
    cluster_overview,
    correlation_from_covariance,
    correlation_matrix,
    gain_by_coverage,
    gain_per_cluster,
    reliability_diagrams,
    to_svg,
    training_curves,
    transfer_figure,
)
from specialists.figures.clusters import MAX_ROWS, cluster_order
from specialists.figures.style import shorten

COSTS = [
    CostPoint("generalist", 1e5, 0.50, (0.49, 0.51)),
    CostPoint("generalist_continued", 1e5, 0.505, (0.495, 0.515)),
    CostPoint("ensemble", 2.3e5, 0.53, (0.52, 0.54)),
    CostPoint("generalist_wide", 2.2e5, 0.531, (0.521, 0.541)),
    CostPoint("ensemble_paper", 2.1e5, 0.529, (0.52, 0.539)),
    CostPoint("generalist_ensemble", 5e5, 0.53, (0.52, 0.54)),
    CostPoint("ensemble_all", 9e5, 0.533, (0.523, 0.543)),
    CostPoint("student", 3e4, 0.48, (0.47, 0.49)),
    CostPoint("student_hard_labels", 3e4, 0.478, (0.468, 0.488)),
]


def _bins(n=15):
    full = [Bin(i / n, (i + 1) / n, 10, (i + 0.5) / n, 0.5) for i in range(n - 1)]
    return [*full, Bin(1 - 1 / n, 1.0, 0, None, None)]


def _history(epochs):
    return [{"epoch": e, "train_loss": 2 / e, "validation_loss": 2.5 / e} for e in range(1, epochs)]


def _said(names):
    """A teacher, its students and the labels, a row a class; students err elsewhere."""
    right = torch.eye(len(names)).mul(5).log_softmax(1)
    students = {"student": right.roll(1, 0), names[0]: right.flip(0)}
    return right, students, torch.arange(len(names))


def _figures():
    names = [f"<class> & {j} $x_1$" for j in range(9)]
    changes = [None, 0.0, 0.2, -0.1, *[0.05] * 5]
    return {
        "matrix": correlation_matrix(np.eye(9), [[0, 1], [4, 5, 6]], names),
        "clusters": cluster_overview([names[:4], names[4:]], [0.1, 0.3], [0.02, 0.04]),
        "gains": gain_per_cluster(names[:2], [0.1, -0.1], [(0.05, 0.15), (-0.2, 0.01)]),
        "coverage": gain_by_coverage([0, 1, 2], [5, 100, 30], [-0.1, 0.02, 0.0], "ensemble"),
        "cost": accuracy_against_cost(COSTS),
        "reliability": reliability_diagrams({"generalist": _bins(), "student": _bins()}),
        "classes": class_changes(names, {"ensemble": changes}, "generalist"),
        "transfer": transfer_figure(knowledge_transfer(*_said(names), class_names=names)),
        "training": training_curves(
            {"generalist": [_history(9)], "specialists": [_history(4)] * 3}
        ),
    }


@pytest.fixture(scope="module")
def figures():
    return _figures()


@pytest.fixture(scope="module")
def pictures(figures):
    return {name: to_svg(figure, f"{name} <b> & so on") for name, figure in figures.items()}


def _texts(svg):
    document = xml.dom.minidom.parseString(svg.replace("xlink:href", "href"))
    return ["".join(_words(node)) for node in document.getElementsByTagName("text")]


def _words(node):
    if node.nodeType == node.TEXT_NODE:
        return [node.data]
    return [word for child in node.childNodes for word in _words(child)]


def test_every_figure_is_well_formed_and_refers_to_nothing_outside(pictures):
    for svg in pictures.values():
        assert _texts(svg)
        assert "http" not in svg
        assert svg.startswith('<svg role="img" aria-label="')


def test_identifiers_are_unique_across_the_page(pictures):
    identifiers = [i for svg in pictures.values() for i in set(re.findall(r' id="([^"]+)"', svg))]
    assert len(identifiers) == len(set(identifiers))


def test_references_inside_a_figure_have_their_target(pictures):
    for svg in pictures.values():
        used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
        assert used <= set(re.findall(r' id="([^"]+)"', svg))


def test_the_same_data_draw_the_same_figure(pictures):
    again = {name: to_svg(figure, f"{name} <b> & so on") for name, figure in _figures().items()}
    assert again == pictures


def test_names_are_shown_literally(pictures):
    assert any("<class> & 0 $x_1$" in text for text in _texts(pictures["clusters"]))


def test_a_figure_is_xml_that_shows_names_whatever_they_are():
    names = list(hostile_names.NAMES)
    n = len(names)
    drawn = [
        correlation_matrix(np.eye(n), [[0, 1], [4, 5, 6]], names),
        cluster_overview([[name] for name in names], [0.1] * n, [0.0] * n),
        gain_per_cluster(names, [0.1] * n, [(0.05, 0.15)] * n),
        class_changes(names, {"ensemble": [0.1] * n}, "generalist"),
    ]
    for figure in drawn:
        svg = to_svg(figure, names[0] + names[4])
        assert hostile_names.acting(svg) == set()
        words = "\n".join(_texts(svg))
        for shown in (r"\x1b[31mred", "<script>", "$x_1$", "]]>", r"\ud800", 'in="line" id="'):
            assert shown in words


def test_scripts_that_the_fonts_lack_are_left_to_the_browser():
    svg = to_svg(cluster_overview([["ᏣᎳᎩ", "한국어", "ગુજરાતી"]], [0.2], [0.1]), "scripts")
    assert "ᏣᎳᎩ" in svg


@pytest.mark.parametrize(
    ("high", "shown"),
    [
        (1.35e5, {"105k", "120k", "135k"}),
        (1e6, {"100k", "200k", "500k", "1M"}),
        (1e8, {"1M", "10M"}),
    ],
)
def test_an_axis_of_costs_has_ticks_enough_to_read(high, shown):
    points = [CostPoint(name, x, 0.5, (0.4, 0.6)) for name, x in (("a", 1e5), ("b", high))]
    figure = accuracy_against_cost(points)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    told = {label.get_text() for x, label in ticks if low <= x <= high}
    assert shown <= told
    assert len(told) <= 6
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))


def test_every_model_is_labelled_and_no_label_hides_another():
    figure = accuracy_against_cost(COSTS)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = figure.axes[0].texts
    assert sorted(label.get_text() for label in labels) == sorted(
        point.name.replace("_", " ") for point in COSTS
    )
    boxes = [_text_box(label, canvas) for label in labels]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_models_that_are_the_same_point_share_a_label():
    names = ("generalist", "generalist_ensemble", "generalist_ensemble_same_inference")
    points = [CostPoint(n, 1e5, 0.5 + 0.1 * (n != "generalist"), (0.4, 0.8)) for n in names]
    shown = [label.get_text() for label in accuracy_against_cost(points).axes[0].texts]
    both = "generalist ensemble and\ngeneralist ensemble same inference"
    assert sorted(shown) == ["generalist", both]


def test_a_label_above_an_interval_has_a_line_to_its_own_dot():
    """The default run's: of three models of one cost one name has no place beside its dot."""
    found = {
        "generalist": (8.22e5, 0.9106), "student": (8.14e5, 0.9101),
        "student_hard_labels": (8.14e5, 0.9117), "ensemble": (1.016e6, 0.9182),
        "generalist_ensemble": (1.64e6, 0.9138), "generalist_ensemble_deferred": (9.7e5, 0.9134),
    }  # fmt: skip
    points = [CostPoint(n, x, y, (y - 0.005, y + 0.005)) for n, (x, y) in found.items()]
    figure = accuracy_against_cost(points)
    canvas, axes = FigureCanvasAgg(figure), figure.axes[0]
    canvas.draw()
    for label in axes.texts:
        assert isinstance(label, Annotation)
        dot, box = axes.transData.transform(label.xy), _text_box(label, canvas)
        far = max(box.x0 - dot[0], dot[0] - box.x1, box.y0 - dot[1], dot[1] - box.y1)
        assert (label.arrow_patch is not None) == (far > 5 + box.height)
    assert any(label.arrow_patch for label in axes.texts if isinstance(label, Annotation))


def test_no_label_lies_on_a_long_interval_or_leaves_the_frame():
    """As many models as `languages` has, at costs of a kind, whose intervals fill the figure."""
    costs = (2.221, 6.397, 5.422, 9.954, 2.221, 6.389, 8.886, 6.664, 5.1, 0.5631, 0.5631)
    tops = (603, 605, 605, 605, 603, 604, 607, 607, 607, 581, 581)
    names = [*(point.name for point in COSTS), "generalist_ensemble_same_inference"]
    names.append("generalist_ensemble_deferred")
    points = [
        CostPoint(name, 1e5 * cost, top1 / 1000, (top1 / 1000 - 0.024, top1 / 1000 + 0.024))
        for name, cost, top1 in zip(names, costs, tops, strict=True)
    ]
    figure = accuracy_against_cost(points)
    canvas, axes = FigureCanvasAgg(figure), figure.axes[0]
    canvas.draw()
    boxes = [_text_box(label, canvas) for label in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(frame.contains(*box.min) and frame.contains(*box.max) for box in boxes)
    for point in points:
        ends = [(point.inference_flops, 100 * end) for end in point.interval]
        bar = Bbox(axes.transData.transform(ends))
        assert not any(bar.overlaps(box) for box in boxes), point.name


def _text_box(label, canvas):
    return Text.get_window_extent(label, canvas.get_renderer())


def test_classes_come_in_the_order_of_their_first_cluster():
    assert cluster_order([[3, 1], [1, 0]], 5) == ([3, 1, 0, 2, 4], [2, 1])


def test_correlation_of_a_class_that_is_never_predicted_is_zero():
    covariance = np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    expected = [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert correlation_from_covariance(covariance) == pytest.approx(np.array(expected))


def test_the_matrix_shows_correlations_in_cluster_order():
    correlation = np.eye(3)
    correlation[0, 2] = correlation[2, 0] = 0.4
    shown = correlation_matrix(correlation, [[0, 2], [1]], ["a", "b", "c"])
    pixels = np.asarray(shown.axes[0].images[0].get_array())
    assert pixels.tolist() == [[0, 0.4, 0], [0.4, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ((20, 20, 2, 2, 2, 2), ["0", "1", "2 to 3", "4 to 5"]),
        ((20, 20, 2, 2, 2), ["0", "1", "2 to 4"]),
        ((30, 30, 1), ["0", "1 to 2"]),
        ((1, 60), ["0 to 1"]),
    ],
)
def test_clusters_too_thin_for_a_tick_share_one_that_names_them_all(sizes, shown):
    stops, n = np.cumsum([0, *sizes]), 100
    clusters = [list(range(a, b)) for a, b in itertools.pairwise(stops.tolist())]
    axes = correlation_matrix(np.eye(n), clusters, [str(j) for j in range(n)]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == shown


@pytest.mark.parametrize("n", [3, 20, 40])
@pytest.mark.parametrize("name", ["x", "a rather long name of a class"])
def test_names_beside_the_matrix_stay_in_the_picture_and_apart(n, name):
    figure = correlation_matrix(np.eye(n), [[0, 1], [2]], [f"{name} {j}" for j in range(n)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [_text_box(label, canvas) for label in figure.axes[0].get_yticklabels()]
    assert min(box.x0 for box in boxes) >= 0
    centres = [(box.y0 + box.y1) / 2 for box in boxes]
    heights = [box.y1 - box.y0 for box in boxes]
    assert -np.diff(centres).max() > 0.7 * max(heights)
    assert min(float(label.get_fontsize()) for label in figure.axes[0].get_yticklabels()) >= 8


def test_thousands_of_classes_stay_a_small_picture():
    n = 2320
    clusters = [list(range(k, k + 40)) for k in range(0, n, 40)]
    figure = correlation_matrix(np.eye(n, dtype=np.float32), clusters, [str(j) for j in range(n)])
    svg = to_svg(figure, "large")
    assert len(svg) < 400_000
    assert len(_texts(svg)) < 60


@pytest.mark.parametrize("n", [3, 200])
def test_many_clusters_are_cut_to_the_extremes(n):
    gains = list(np.linspace(-0.1, 0.1, n))
    intervals = [(g - 0.01, g + 0.01) for g in gains]
    figure = gain_per_cluster([f"c{m}" for m in range(n)], gains, intervals)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == min(n, MAX_ROWS)
    assert shown[0] == f"c{n - 1}"
    assert shown[-1] == "c0"


def test_each_cluster_is_marked_with_the_share_of_as_many_random_classes():
    figure = cluster_overview([["a", "b"], ["c"], ["d"]], [0.1, 0.3, 0.2], [0.02, 0.04, 0.01])
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "0"]
    assert [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)] == [30, 20, 10]
    marks = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(marks, [[4, 0], [1, 1], [2, 2]])


def test_gains_are_blue_losses_red_and_the_unclear_grey():
    figure = gain_per_cluster(
        ["up", "flat", "down"], [0.2, 0.0, -0.2], [(0.1, 0.3), (-0.1, 0.1), (-0.3, -0.1)]
    )
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [p.get_color() for p in points] == ["#0072B2", "#767676", "#D55E00"]


def test_classes_without_change_are_not_drawn():
    names = [f"c{j}" for j in range(5)]
    figure = class_changes(names, {"student": [None, 0.0, 0.1, -0.2, 0.3]}, "generalist")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["c4", "c2", "c3"]


def test_a_history_may_start_before_training():
    start = [{"epoch": 0, "train_loss": None, "validation_loss": 1.0}]
    figure = training_curves({"continued": [start + _history(4)]})
    curve = next(line for line in figure.axes[0].lines if line.get_color() == "#0072B2")
    assert list(np.asarray(curve.get_xdata())) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "shown"), [("a  b\nc", "a b c"), ("abcdefghijkl", "abcdefghi…"), ("$5", r"\$5")]
)
def test_long_names_are_shortened_on_one_line(text, shown):
    assert shorten(text, 10) == shown
