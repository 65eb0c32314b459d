"""Splits: stratified, seeded, equal inputs on one side, every class covered or refused."""

import numpy as np
import pytest

from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, plan_splits
from specialists.errors import DataError


def plan(labels, groups=None, given=None, seed=0, min_examples=1, **changes):
    labels = np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    given = np.full(len(labels), TRAIN) if given is None else np.asarray(given)
    names = changes.pop("names", [f"class {i}" for i in range(int(labels.max()) + 1)])
    settings = {"validation_fraction": 0.1, "test_fraction": 0.15, **changes}
    return plan_splits(
        labels, names, groups, given, min_examples=min_examples, seed=seed, **settings
    )


def test_each_class_gives_its_share_to_each_split():
    made = plan(np.repeat([0, 1, 2], [100, 40, 200]))
    for label, size in enumerate((100, 40, 200)):
        parts = made.parts[made.labels == label]
        assert (parts == TEST).sum() == round(0.15 * size)
        assert (parts == VALIDATION).sum() == round(0.1 * size)


def test_the_seed_decides_the_split():
    labels = np.repeat([0, 1], 50)
    assert np.array_equal(plan(labels, seed=1).parts, plan(labels, seed=1).parts)
    assert not np.array_equal(plan(labels, seed=1).parts, plan(labels, seed=2).parts)


@pytest.mark.parametrize("seed", range(5))
def test_equal_inputs_never_lie_on_both_sides(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 6, 600)
    groups = generator.integers(0, 250, 600)  # most groups hold several labels
    made = plan(labels, groups, seed=seed)
    for group in np.unique(groups):
        assert len(set(made.parts[groups == group])) == 1
    for part in (TRAIN, VALIDATION, TEST):
        assert len(made.rows(part)) > 0


def test_a_class_whose_inputs_are_all_shared_is_still_covered():
    labels = np.concatenate([np.zeros(60, int), np.ones(3, int)])
    groups = np.concatenate([np.arange(60), [0, 1, 2]])
    for seed in range(10):
        made = plan(labels, groups, seed=seed)
        for part in (TRAIN, VALIDATION):
            assert set(made.labels[made.parts == part]) == {0, 1}


def test_three_rows_are_enough_for_a_class():
    made = plan(np.repeat([0, 1, 2], 3), test_fraction=0.34)
    for part in (TRAIN, VALIDATION, TEST):
        assert made.labels[made.parts == part].tolist() == [0, 1, 2]


def test_rare_classes_are_left_out_and_counted():
    made = plan(np.repeat([0, 1, 2, 3], [30, 4, 30, 19]), min_examples=20)
    assert made.class_names == ("class 0", "class 2")
    assert (made.parts == LEFT_OUT).sum() == 23
    assert "2 classes with fewer than 20 rows left out (23 rows): class 1, class 3" in made.notes[0]


def test_one_row_is_not_rows():
    made = plan(np.repeat([0, 1, 2], [30, 1, 30]), min_examples=20)
    assert made.notes[0] == "1 class with fewer than 20 rows left out (1 row): class 1"


def test_given_splits_are_kept_and_only_validation_is_cut():
    given = np.tile([TRAIN] * 8 + [TEST] * 2, 20)
    made = plan(np.repeat([0, 1], 100), given=given)
    assert np.array_equal(made.parts == TEST, given == TEST)
    assert (made.parts == VALIDATION).sum() == 16


def test_shuffled_test_labels_do_not_move_any_other_row():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 60)
    given = np.where(generator.random(180) < 0.2, TEST, TRAIN)
    shuffled = labels.copy()
    shuffled[given == TEST] = generator.permutation(labels[given == TEST])
    first, second = plan(labels, given=given), plan(shuffled, given=given)
    assert np.array_equal(first.parts, second.parts)
    assert first.class_names == second.class_names


@pytest.mark.parametrize("copies", [1, 30])
def test_a_class_of_one_input_is_left_out_and_counted(copies):
    made = plan([0] * 20 + [1] * 20 + [2] * copies, groups=[*range(40), *[40] * copies])
    assert made.class_names == ("class 0", "class 1")
    assert (made.parts[40:] == LEFT_OUT).all()
    told = "1 class with too few different inputs for a training and a validation row left out"
    assert made.notes[-1] == f"{told} ({copies} row{'s' * (copies > 1)}): class 2"


def test_classes_of_equal_rows_alone_are_refused():
    with pytest.raises(DataError, match=r"fewer than two classes(?s:.*)different inputs"):
        plan([0] * 20 + [1] * 20, groups=[*range(20), *[20] * 20])


def test_rare_classes_that_only_the_test_split_has_are_left_out():
    labels = np.concatenate([np.repeat([0, 1], 40), np.arange(2, 302)])
    given = np.where(np.arange(380) % 4 == 0, TEST, TRAIN)
    made = plan(labels, given=given, min_examples=20)
    assert made.class_names == ("class 0", "class 1")
    assert "300 classes with fewer than 20 rows left out (300 rows)" in made.notes[0]


def test_the_cure_for_hundreds_of_unseen_classes_cures():
    labels = np.concatenate([np.repeat([0, 1], 40), np.repeat(np.arange(2, 302), 5)])
    given = np.full(len(labels), TRAIN)
    given[80:] = np.where(labels[80:] % 2, TEST, VALIDATION)
    given[[0, 1, 40, 41]] = [TEST, VALIDATION] * 2
    with pytest.raises(DataError, match=r"data.min_examples = 6, which keeps 2 classes"):
        plan(labels, given=given)
    assert plan(labels, given=given, min_examples=6).class_names == ("class 0", "class 1")


def test_the_cure_for_an_unseen_label_covers_classes_without_validation_rows():
    labels, given = np.repeat([0, 1, 2, 3], 20), np.full(80, TRAIN)
    given[[0, 20]] = VALIDATION
    given[60:] = TEST
    with pytest.raises(DataError, match=r'exclude_labels = \["class 2", "class 3"\]'):
        plan(labels, given=given)


def test_a_label_that_training_writes_in_another_case_is_told():
    labels, given = np.repeat([0, 1, 2], 30), np.full(90, TRAIN)
    given[60:] = TEST
    with pytest.raises(DataError, match="in training there are 'dog' for 'Dog'"):
        plan(labels, names=["cat", "dog", "Dog"], given=given)


def test_test_labels_that_training_never_saw_are_refused_by_name():
    told = r"training never saw(?s:.*)data.exclude_labels = \[\"class 2\"\]"
    with pytest.raises(DataError, match=told):
        plan([0] * 9 + [1] * 9 + [2] * 9, given=[TRAIN] * 18 + [TEST] * 9)


def test_one_class_is_refused():
    with pytest.raises(DataError, match="fewer than two classes"):
        plan([0] * 50)


def test_without_a_test_share_the_data_are_refused():
    with pytest.raises(DataError, match="test split is empty"):
        plan(np.repeat([0, 1], 20), test_fraction=0.0)


@pytest.mark.parametrize("seed", range(20))
def test_classes_that_share_nearly_all_inputs_are_covered_whenever_it_is_possible(seed):
    """Each class has eight inputs, nearly all of which it shares with others."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(12), 8)
    groups = np.concatenate([generator.choice(60, 8, replace=False) for _ in range(12)])
    made = plan(labels, groups, seed=seed)
    for part in (TRAIN, VALIDATION):
        assert set(made.labels[made.parts == part]) == set(range(12))
