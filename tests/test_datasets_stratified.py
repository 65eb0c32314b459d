"""The draw of groups: the same chance for all, classes in proportion, repairs that are counted."""

import numpy as np
import pytest
from test_datasets_admission_rows import validated

from specialists.datasets.admission_rows import hold_out_admission_rows
from specialists.datasets.splits import TEST, TRAIN, VALIDATION, plan_splits
from specialists.datasets.stratified import draw_groups

SIZES = (1, 2, 3, 5, 10, 30)
SEEDS = 150


def grouped(groups_of_size, n_classes, seed=0):
    """Labels and groups of rows, and size of each group: half have one label, half several."""
    generator = np.random.default_rng(seed)
    sizes = np.repeat(SIZES, groups_of_size)
    first = generator.integers(0, n_classes, len(sizes))
    spread = np.where(np.arange(len(sizes)) % 2, 0, n_classes)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = (first[groups] + (generator.random(len(groups)) * spread[groups]).astype(int)) % (
        n_classes
    )
    return labels, groups, sizes


def alike(*of_a_class, n_classes=100):
    """Classes of equal make-up: inputs with these many rows."""
    sizes = np.tile(of_a_class, n_classes)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return groups // len(of_a_class), groups, sizes


def heavy():
    """Two classes with an input that holds most of their rows, and 300 classes of one row."""
    sizes = np.array([30, 30, *[1] * 320])
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return np.concatenate([[0] * 30, [1] * 30, [0, 1] * 10, np.arange(2, 302)]), groups, sizes


DATA = {
    "random": grouped((80, 40, 40, 24, 16, 8), 30),
    "one class": grouped((40, 40, 40, 40, 40, 40), 1),
    "as many classes as groups": grouped((60, 60, 30, 20, 10, 10), 190),
    "pairs": alike(1, 2),
    "fours": alike(1, 1, 1, 3),
    "heavy": heavy(),
}


def draws(labels, groups, fraction, n=SEEDS):
    """Which groups are drawn, bool of shape (n, n_groups)."""
    first = np.unique(groups, return_index=True)[1]
    return np.stack(
        [
            draw_groups(labels, groups, fraction, 0, 0, np.random.default_rng(seed)).held[first]
            for seed in range(n)
        ]
    )


def off(held, fraction):
    """Distance of a mean from ``fraction``, in standard errors of independent draws."""
    return abs(held.mean() - fraction) / np.sqrt(fraction * (1 - fraction) / held.size)


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("fraction", [0.1, 0.15, 0.5])
def test_groups_of_every_size_have_the_same_chance(data, fraction):
    labels, groups, sizes = DATA[data]
    held = draws(labels, groups, fraction)
    n_labels = np.bincount(np.unique(np.stack([groups, labels]), axis=1)[0])
    for size in np.unique(sizes):
        for chosen in (sizes == size, (sizes == size) & (n_labels > 1)):
            assert not chosen.any() or off(held[:, chosen], fraction) < 4
    single = held.mean(0)
    assert (abs(single - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / SEEDS)).all()


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_about_the_wanted_share_of_the_rows_is_drawn(data, fraction):
    labels, groups, sizes = DATA[data]
    rows = draws(labels, groups, fraction) @ sizes
    independent = np.sqrt(fraction * (1 - fraction) * (sizes**2).sum())
    assert abs(rows.mean() - fraction * sizes.sum()) < 4 * independent / np.sqrt(SEEDS)
    assert rows.std() < 0.9 * independent


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_classes_keep_their_proportions_better_than_by_chance(fraction):
    labels, groups, sizes = grouped((1200, 100, 40, 10, 4, 2), 30)
    rows = np.zeros((len(sizes), 30))
    np.add.at(rows, (groups, labels), 1)
    counts = draws(labels, groups, fraction, 60) @ rows
    independent = fraction * (1 - fraction) * (rows**2).sum(0)
    assert counts.var(0).sum() < 0.5 * independent.sum()


def test_without_copies_every_class_gives_its_share_to_a_row():
    labels = np.random.default_rng(0).integers(0, 12, 500)
    counts = np.bincount(labels)
    for held in draws(labels, np.arange(500), 0.15, 20):
        assert (abs(np.bincount(labels[held], minlength=12) - 0.15 * counts) < 1).all()


def test_large_groups_of_different_sizes_can_be_drawn_in_many_ways():
    sizes = np.arange(40, 140)
    groups = np.repeat(np.arange(100), sizes)
    held = draws(np.arange(len(groups)) % 20, groups, 0.5, 20)
    assert len(np.unique(held, axis=0)) == 20


def test_repairs_are_counted():
    labels = np.repeat(np.arange(30), 3)
    rare = draw_groups(labels, np.arange(90), 0.1, 1, 1, np.random.default_rng(0))
    assert (rare.held.sum(), rare.added, rare.returned) == (30, 21, 0)
    alone = draw_groups(np.arange(30), np.arange(30), 0.5, 0, 1, np.random.default_rng(0))
    assert (alone.held.sum(), alone.added, alone.returned) == (0, 0, 15)
    assert rare.notes("x") == ["rows added to x, so that no class is left without rows: 21"]
    told = "rows drawn for x but put back, so that no class is left without rows: 15"
    assert alone.notes("x") == [told]


def test_a_repair_takes_any_group_not_the_smallest():
    sizes = np.array([1, 9] * 10)
    groups = np.repeat(np.arange(20), sizes)
    labels = groups // 2
    added = [
        draw_groups(labels, groups, 0.01, 1, 1, np.random.default_rng(i)).held for i in range(40)
    ]
    large = np.stack(added)[:, np.flatnonzero(np.diff(groups, prepend=-1))][:, 1::2]
    assert off(large, 0.5) < 4


def test_a_repair_takes_no_other_class_its_last_group():
    labels, groups = np.array([0, 0, 1]), np.array([7, 8, 8])
    for seed in range(40):
        made = draw_groups(labels, groups, 0.5, 1, 1, np.random.default_rng(seed))
        assert made.held.tolist() == [True, False, False]


def ambiguous():
    """Twenty classes of 40 inputs of their own, and inputs of several rows and labels."""
    generator = np.random.default_rng(1)
    sizes = np.repeat(SIZES, (800, 60, 40, 30, 20, 10))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.where(groups < 800, groups % 20, generator.integers(0, 20, len(groups)))
    return labels, groups, sizes


def test_ambiguous_inputs_are_tested_and_validated_as_often_as_others():
    labels, groups, sizes = ambiguous()
    given, names = np.full(len(labels), TRAIN), tuple(map(str, range(20)))
    settings = {"min_examples": 1, "validation_fraction": 0.1, "test_fraction": 0.15}
    plans = [plan_splits(labels, names, groups, given, **settings, seed=s) for s in range(60)]
    first = np.unique(groups, return_index=True)[1]
    for part, fraction in ((TEST, 0.15), (VALIDATION, 0.1)):
        held = np.stack([plan.parts[first] == part for plan in plans])
        for size in SIZES:
            assert off(held[:, sizes == size], fraction) < 4


def test_ambiguous_inputs_are_in_the_gate_as_often_as_others():
    labels, groups, sizes = ambiguous()
    rows = validated(labels, groups)
    drawn = (hold_out_admission_rows(rows, 0.5, seed).admission for seed in range(60))
    gates = [admission.inputs.flatten().numpy() for admission in drawn]  # type: ignore[union-attr]
    held = np.stack([np.isin(np.arange(len(sizes)), admission) for admission in gates])
    for size in SIZES:
        assert off(held[:, sizes == size], 0.5) < 4
