"""What the paper's experiments compute: matched logits, overlapping subsets, averaged teachers."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.reproduce.cpu_plan import PaperPlan
from pipelines.reproduce.kept_training import mean_of
from pipelines.reproduce.lessons import Lesson
from pipelines.reproduce.logit_matching import (
    MatchedLogits,
    centred,
    exact_gradient,
    gradient_2,
    gradient_3,
    gradient_4,
    relative_difference,
)
from pipelines.reproduce.overlapping_subsets import nearest_subsets
from pipelines.reproduce.paper_data import PaperData
from pipelines.reproduce.paper_specialists import (
    _by_coverage,
    _by_few_and_many,
    _conditional,
    _coverage,
    _relative,
)
from pipelines.reproduce.paper_tables import share_line
from pipelines.reproduce.reproduction import Reproduction
from pipelines.reproduce.temperature_curves import _alike, _best_of, _saved
from pipelines.reproduce.ten_models import _gain, _kept, _over_labels
from pipelines.reproduce.unseen_classes import _line
from specialists.calibration import Calibration
from specialists.config import Recipe
from specialists.figures import Curve, curves_in_panels
from specialists.losses import DistillationLoss
from specialists.networks import NetworkSpec
from specialists.specialist import Specialist
from specialists.training import TrainingCost

SPEC = NetworkSpec("any", 10)


def unnamed_rows() -> Reproduction:
    """An experiment whose test rows are drawn one by one."""
    data = SimpleNamespace(dataset=SimpleNamespace(test=SimpleNamespace(groups=None)))
    return Reproduction(Path(), cast(PaperData, data), PaperPlan(), (0, 1))


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return (centred(4 * torch.randn(2, 50, 10, generator=generator).double())).unbind()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0, 1000.0])
def test_equation_2_is_the_gradient_at_every_temperature(logits, temperature):
    z, v = logits
    exact = exact_gradient(z, v, temperature)
    torch.testing.assert_close(gradient_2(z, v, temperature), exact, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("approximate", [gradient_3, gradient_4])
def test_equations_3_and_4_are_limits_of_first_order(logits, approximate):
    z, v = logits
    far = [
        relative_difference(approximate(z, v, t), exact_gradient(z, v, t)).median()
        for t in (1000.0, 10_000.0)
    ]
    assert float(far[0]) < 0.02
    assert float(far[0] / far[1]) == pytest.approx(10, rel=0.05)


def test_matched_logits_are_the_limit_of_the_distillation_loss(logits):
    z, v = (tensor + 7 * i for i, tensor in enumerate(logits, start=1))
    z = z.requires_grad_()
    soft, matched = DistillationLoss(10_000.0, 1.0)(z, v), MatchedLogits()(z, v)
    assert matched.item() == pytest.approx(soft.item(), rel=1e-3)
    grown, limit = (torch.autograd.grad(loss, z)[0] for loss in (soft, matched))
    torch.testing.assert_close(limit.double(), grown, rtol=0.02, atol=1e-5)


def planted(n_groups=4, size=5, n=4000, seed=0):
    """Log-probabilities of a model that confuses classes i and j of the same group."""
    rng = np.random.default_rng(seed)
    group = rng.integers(n_groups, size=n)
    scores = rng.normal(size=(n, n_groups * size))
    scores[np.arange(n_groups * size) // size == group[:, None]] += 5
    return torch.from_numpy(scores).log_softmax(1)


def test_the_subsets_are_the_groups_of_classes_that_are_confused():
    subsets = nearest_subsets(planted(), 4, 5, seed=0)
    assert sorted(map(sorted, subsets)) == [list(range(5 * g, 5 * g + 5)) for g in range(4)]


def test_subsets_may_overlap_and_leave_classes_out():
    subsets = nearest_subsets(planted(), 6, 7, seed=0)
    counts = np.bincount(np.concatenate(subsets), minlength=20)
    assert {len(set(subset)) for subset in subsets} == {7}
    assert counts.max() > 1
    assert len(set(counts.tolist())) > 1


def specialist(*classes):
    subset, nothing = torch.tensor(classes), TrainingCost()
    return Specialist(nn.Identity(), subset, Calibration(0.0), nothing)


def test_conditional_accuracy_asks_about_a_specialists_classes_alone():
    log_probs = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.4, 0.5, 0.1]]).log()
    labels = torch.tensor([2, 2, 0])
    # {0, 2}: right about both rows of class 2 but the second, and about the third; {0, 1}: wrong.
    assert _conditional(log_probs, labels, [specialist(0, 2), specialist(0, 1)]) == 2 / 4
    assert _coverage(labels, [specialist(0, 2), specialist(0, 1)]).tolist() == [1, 1, 2]


def test_the_relative_change_is_of_the_rows_that_were_right():
    before, after = np.array([1, 1, 0, 0], bool), np.array([1, 1, 1, 0], bool)
    everywhere, nowhere = np.ones(4, bool), np.array([0, 0, 0, 1], bool)
    assert _relative([(before, after)] * 2, [everywhere, nowhere]) == [pytest.approx(50), None]


class Always(nn.Module):
    def __init__(self, probs):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([probs]).log() + 3)

    def forward(self, x):
        return self.logits * torch.ones(len(x), 1)


@pytest.mark.parametrize(("mean", "expected"), [("arithmetic", 0.5), ("geometric", 0.5)])
def test_networks_are_averaged_as_distributions(mean, expected):
    ask = mean_of([Always([0.9, 0.1]), Always([0.1, 0.9])], mean)
    torch.testing.assert_close(ask(torch.zeros(2, 1)).exp(), torch.full((2, 2), expected))


def test_the_means_differ_where_one_network_is_sure():
    sure, unsure = Always([0.99, 0.01]), Always([0.3, 0.7])
    arithmetic, geometric = (
        float(mean_of([sure, unsure], mean)(torch.zeros(1, 1)).exp()[0, 0])
        for mean in ("arithmetic", "geometric")
    )
    assert arithmetic == pytest.approx(0.645)
    root = math.sqrt(0.99 * 0.3), math.sqrt(0.01 * 0.7)
    assert geometric == pytest.approx(root[0] / sum(root))


@pytest.mark.parametrize(
    ("taught", "reached"), [([62.0, 64.0], True), ([61.8, 63.8], True), ([61.7, 63.7], False)]
)
def test_what_is_kept_of_a_clear_gain_is_a_share_of_it(taught, reached):
    gain = _gain([60.0, 62.0], [62.0, 64.0], (0.01, 0.03))
    kept = _kept([60.0, 62.0], taught, gain, (0.5, 1.2))
    assert kept.overall == pytest.approx(100 * (sum(taught) - 122) / 4)
    assert gain.values == [2, 2]
    assert (gain.interval, gain.reached) == ((1, 3), True)
    assert kept.values == [100 * (t - o) / 2 for t, o in zip(taught, (60, 62), strict=True)]
    assert kept.reached is reached


def test_a_taught_network_is_held_to_labels_alone_trained_as_long():
    line = _over_labels([90.0, 91.0], [90.5, 91.7], (0.002, 0.011))
    assert (line.mean, line.reached) == (pytest.approx(0.6), True)
    assert line.interval == pytest.approx((0.2, 1.1))
    assert not _over_labels([90.5, 91.7], [90.0, 91.0], (-0.011, 0.002)).reached


def test_a_share_of_all_seeds_is_that_of_their_means_and_a_seed_without_gain_has_none():
    line = share_line("kept", ("86%", "so"), [1.0, 1.0], [3.0, -1.0], 0.9, (0.2, 2.0))
    assert line.values == [pytest.approx(100 / 3), None]
    assert line.reached is True
    assert line.cells()[2:4] == ("100% [20, 200]", "33%, \N{EN DASH}")


@pytest.mark.parametrize(
    ("coverage", "gains", "reached"),
    [
        ([1, 2, 3, 12], [100 / 3, 100], True),
        ([3, 3, 2, 1], [100, 100 / 3], False),
        ([0, 0, 3, 3], [None, 100], None),
    ],
)
def test_three_or_more_specialists_are_compared_with_one_or_two(coverage, gains, reached):
    before = np.array([1, 1, 1, 0, 1, 0, 0, 0], bool)
    after = np.array([1, 1, 1, 1, 1, 0, 1, 0], bool)
    of_row = np.repeat(coverage, 2)
    many = 50 if reached is not None else 1  # so many rows of each kind that it is clear
    pairs = [(np.tile(before, many), np.tile(after, many))] * 2
    lines = _by_few_and_many(unnamed_rows(), pairs, [np.tile(of_row, many)] * 2)
    assert [line.values for line in lines[:2]] == [
        [None if gain is None else pytest.approx(gain)] * 2 for gain in gains
    ]
    assert lines[-1].reached is reached
    if reached is not None:
        few, more = gains
        assert lines[2].values == [pytest.approx(more - few)] * 2
        low, high = lines[2].interval or (0, 0)
        assert low < more - few < high


class Marked:
    """A model with some errors of 100 test rows, and others among validation rows."""

    def __init__(self, n_errors, n_validation):
        self.n_errors, self.n_validation = n_errors, n_validation

    def right(self, split="test"):
        return np.arange(100) >= self.n_errors

    def errors(self, split="test"):
        return self.n_errors if split == "test" else self.n_validation


def test_the_best_fitting_temperature_is_held_to_the_best_of_the_others_by_validation():
    errors = {1: (30, 3), 2.5: (7, 1), 4: (5, 2), 8: (18, 2), 20: (16, 3), math.inf: (0, 0)}
    of: Any = {t: Marked(*each) for t, each in errors.items()}
    work = SimpleNamespace(
        plan=SimpleNamespace(curve_widths=(30, 800)),
        test_labels=np.zeros(100),
        drawn_means=lambda *rights: [right[0].mean() + np.zeros(3) for right in rights],
        interval=lambda drawn: (drawn.min(), drawn.max()),
    )
    line = _saved(cast(Any, work), of)
    assert line.values == [11]
    assert line.interval == pytest.approx((11, 11))
    assert (line.figure.partition(":")[0], line.reached) == ("30 units", True)
    best = _best_of(30, of, "so")
    assert (best.values, best.reached, best.how) == ([2.5], True, "so; validation digits choose T")
    assert _best_of(30, {1: of[2.5], 4: of[4]}, "so").reached is False


def test_table_4_counts_rows_by_the_specialists_of_their_class_over_all_seeds():
    before, after = np.array([1, 1, 0, 0, 1], bool), np.array([1, 1, 1, 0, 0], bool)
    coverage = np.array([0, 1, 1, 1, 12])
    rows = _by_coverage([(before, after)] * 2, [coverage] * 2).splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [cells[0][1:4], cells[1][1:4], cells[10][1:4]] == [
        ["2", "+0", "+0.0%"],
        ["6", "+2", "+100.0%"],
        ["2", "-2", "-100.0%"],
    ]
    assert cells[1][4:] == ["141,993", "+1,421", "+3.4%"]
    assert cells[10][0] == "10 or more"
    assert cells[10][4:] == ["9,082", "+324", "+14.1%"]
    assert cells[5][1] == "0"


@pytest.mark.parametrize(
    ("values", "goal", "reached"),
    [
        ([130, 135], "133 to 300: fewer", None),
        ([133, 135], "133 to 300", True),
        ([300, 300], "133 to 300", True),
        ([300, 301], "133 to 300", False),
    ],
)
def test_sizes_are_reached_within_a_factor_of_one_and_a_half(values, goal, reached):
    line = _line("errors", "200", values, "so", 200)
    assert (line.goal, line.reached) == (goal, reached)


def test_temperatures_above_8_are_alike_if_few_errors_lie_between_them():
    errors = {
        30: {1: 900, 12: 800, 40: 500, math.inf: 10},
        300: {1: 300, 8: 300, 12: 100, 40: 120, math.inf: 400},
        800: {1: 300, 8: 300, 12: 100, 40: 121, math.inf: 400},
    }
    lines = _alike(errors, 10_000, "so")
    assert [line.values for line in lines] == [[20], [21]]
    assert [line.reached for line in lines] == [True, False]


def test_nothing_is_said_to_be_kept_of_a_gain_that_is_not_clear():
    gain = _gain([60.0], [60.1], (-0.01, 0.02))
    kept = _kept([60.0], [60.1], gain, (-3, 5))
    assert gain.reached is False
    assert (kept.reached, kept.interval, kept.values) == (None, None, ())
    assert "null" in kept.goal
    assert kept.cells()[2:4] == ("\N{EN DASH}", "")


def test_fewer_rows_are_read_more_often_but_in_fewer_steps():
    shares = (1.0, 0.3, 0.1, 0.03, 0.01)
    lessons = [Lesson("any", SPEC, Recipe(epochs=40), 0, share=share) for share in shares]
    assert [lesson.passes for lesson in lessons] == [1, 2, 3, 6, 10]
    steps = [lesson.passes * lesson.share for lesson in lessons]
    assert steps == sorted(steps, reverse=True)
    assert lessons[0].length == "40 epochs"
    assert lessons[3].length == "240 passes over 3% of the rows of each class"


def test_a_curve_has_one_colour_in_all_panels_and_a_level_no_points():
    curves = [Curve("soft", [1, 4, 16], [3, 1, 2]), Curve("hard", [], [5])]
    figure = curves_in_panels({"a": curves, "b": curves[::-1]}, "T", "errors", {1: "1", 4: "4"})
    first, second = (
        {line.get_label(): line for line in axes.lines} for axes in figure.axes if axes.lines
    )
    colours = [[line.get_color() for line in axes.lines] for axes in figure.axes[:2]]
    assert colours[0] == colours[1][::-1]
    assert len(set(colours[0])) == 2
    soft, hard = figure.axes[0].lines
    assert np.asarray(soft.get_xdata()).tolist() == [1, 4, 16]
    assert hard.get_linestyle() == "--"
    assert np.asarray(hard.get_ydata()).tolist() == [5, 5]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "4"]
    assert len(first) == len(second) == 2
