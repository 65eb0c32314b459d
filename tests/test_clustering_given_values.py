"""Predictions, labels and examples in the forms that callers hold them in."""

import numpy as np
import pandas as pd
import pytest
import torch

from pipelines.known_predictions import read_predictions
from specialists.clustering import ClassClusters, cluster_classes, confused_pairs
from specialists.errors import DataWarning, InputError

LETTERS = ["d", "a", "c", "b"]
TRUTH = np.random.default_rng(1).integers(4, size=200)
WAYS = ["class_a", "class_b", "a_as_b", "b_as_a", "rows"]


@pytest.fixture
def probs():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 4)) + np.eye(4)[TRUTH]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def counted(probs, names, labels):
    """Wrong rows each way, by the places of the classes."""
    table = confused_pairs(probs, names, labels=labels)
    at = {str(name): i for i, name in enumerate(range(4) if names is None else names)}
    pairs = [[at[str(name)] for name in table[column]] for column in WAYS[:2]]
    return list(zip(*pairs, *(table[column].tolist() for column in WAYS[2:]), strict=True))


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (LETTERS, TRUTH.tolist()),
        (LETTERS, TRUTH.astype(float)),
        (LETTERS, torch.from_numpy(TRUTH)),
        (LETTERS, np.array(LETTERS)[TRUTH]),
        (LETTERS, [LETTERS[i] for i in TRUTH]),
        (LETTERS, pd.Series(np.array(LETTERS)[TRUTH], index=range(500, 700), dtype="category")),
        (["1", "2", "3", "4"], TRUTH + 1),
        ([1, 2, 3, 4], TRUTH + 1),
        ([1, 2, 3, 4], TRUTH),
        (np.array([1.0, 2.0, 3.0, 4.5]), np.array([1.0, 2.0, 3.0, 4.5])[TRUTH]),
        ([1.0, 2.0, 3.0, 4.5], np.array(["1.0", "2.0", "3.0", "4.5"])[TRUTH]),
        ([30, 10, 40, 20], [str((30, 10, 40, 20)[i]) for i in TRUTH]),
        (None, [str(i) for i in TRUTH]),
        ([3, 2, 1, 0], [str(3 - i) for i in TRUTH]),
        (pd.Series(LETTERS, index=[3, 2, 1, 0]), TRUTH),
    ],
)
def test_labels_count_as_numbers_or_as_names_of_any_type(probs, names, labels):
    expected = counted(probs, None, TRUTH)
    assert sum(there + back for _, _, there, back, _ in expected) > 50
    assert counted(probs, names, labels) == expected


@pytest.mark.parametrize("names", [["cat", "ant", "dog", "bee"], [7, 3, 9, 1]])
def test_columns_of_a_table_are_found_by_the_names_of_the_classes(probs, names):
    frame = pd.DataFrame(probs, columns=names)[sorted(names)]
    expected, found = (ClassClusters.from_predictions(p, names, 2) for p in (probs, frame))
    assert (found.classes, found.class_names) == (expected.classes, expected.class_names)
    for table in (confused_pairs(frame, names), confused_pairs(frame, clusters=expected)):
        assert table["rows"].tolist() == confused_pairs(probs, names)["rows"].tolist()
        first = confused_pairs(probs, names)["class_a"]
        assert table["class_a"].map(str).tolist() == first.map(str).tolist()
    known = read_predictions(frame, names)
    assert known.class_names == tuple(map(str, names))
    assert known.probs is not None
    assert np.array_equal(known.probs, probs)
    square = frame.T @ frame
    square.index = square.columns
    known = read_predictions(square, names)
    assert known.matrix is not None
    assert np.allclose(known.matrix, probs.T @ probs)


def test_columns_of_other_names_stand_as_the_names_do_or_are_refused(probs):
    expected = ClassClusters.from_predictions(probs, LETTERS, 2)
    for columns in (["p0", "p1", "p2", "p3"], None):
        frame = pd.DataFrame(probs, columns=columns)
        assert ClassClusters.from_predictions(frame, LETTERS, 2).classes == expected.classes
    unnamed = ClassClusters.from_predictions(pd.DataFrame(probs), [3, 2, 1, 0], 2)
    assert unnamed.class_names == ("3", "2", "1", "0")
    assert unnamed.classes == expected.classes
    for wrong in (["d", "a", "c", "x"], ["d", "a", "c", "c"]):
        with pytest.raises(InputError, match=r"other classes than class_names(?s:.*)no columns b"):
            ClassClusters.from_predictions(pd.DataFrame(probs, columns=wrong), LETTERS)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([*TRUTH[:-1], 4], "got: 4\n"),
        ([*TRUTH[:-1], -1], "got: -1\n"),
        (TRUTH + 0.5, "got: .*0.5"),
        ([*TRUTH[:-1], np.nan], "got: nan\n"),
        (["a", "e"] * 100, "got: 'e'\n"),
        (pd.Series([*LETTERS * 49, "a", "b", "c", None], dtype=object), "got: (None|nan)\n"),
        (pd.Series([0, "a"] * 100), "no classes"),
        (np.eye(4)[TRUTH], "no single column"),
        (pd.Series([[1]] * 200), "no classes"),
        ((i for i in TRUTH), "no rows"),
    ],
)
def test_labels_that_are_no_classes_are_refused(probs, labels, told):
    with pytest.raises(InputError, match=told) as caught:
        confused_pairs(probs, LETTERS, labels=labels)
    assert "where: labels" in str(caught.value)


def test_labels_that_are_numbers_and_other_names_are_numbers_with_a_warning(probs):
    some = np.maximum(TRUTH, 1)  # 1 to 3 of the names 1 to 4
    with pytest.warns(DataWarning, match="names of other classes") as caught:
        found = counted(probs, ["1", "2", "3", "4"], some)
    assert caught[0].filename == __file__
    assert found == counted(probs, None, some)
    assert counted(probs, ["1", "2", "3", "4"], some.astype(str)) == counted(probs, None, some - 1)


TEXTS = [f"row {i}" for i in range(200)]


@pytest.mark.parametrize("index", [range(5000, 5200), range(199, -1, -1), list("ab") * 100])
def test_examples_of_a_series_or_table_are_taken_by_position(probs, index):
    expected = confused_pairs(probs, examples=TEXTS)["examples"].tolist()
    series = pd.Series(TEXTS, index=index)
    assert confused_pairs(probs, examples=series)["examples"].tolist() == expected
    table = confused_pairs(probs, examples=pd.DataFrame({"x": range(200), "y": TEXTS}, index=index))
    for rows, texts in zip(table["rows"], table["examples"], strict=True):
        assert texts == [f"x: {row}, y: row {row}" for row in rows]


def test_a_wide_row_is_a_short_text(probs):
    wide = pd.DataFrame(np.zeros((200, 64), dtype=int))
    text = confused_pairs(probs, k=1, examples=wide)["examples"].tolist()[0][0]
    assert text.startswith("0: 0, 1: 0, ")
    assert text.endswith("7: 0 and 56 more")


@pytest.mark.parametrize("examples", [iter(TEXTS), set(TEXTS)])
def test_examples_without_an_order_are_refused(probs, examples):
    with pytest.raises(InputError, match="where: examples"):
        confused_pairs(probs, examples=examples)


@pytest.mark.parametrize("k", [0, -1, 2.5, "a", None, True])
def test_the_number_of_pairs_is_positive_and_whole(probs, k):
    clusters = ClassClusters.from_predictions(probs)
    for given in ({}, {"probs": probs}):
        with pytest.raises(InputError, match="a whole number of at least 1"):
            clusters.confused_pairs(k, **given)
    with pytest.raises(InputError, match="where: k"):
        confused_pairs(probs, k=k)
    assert len(clusters.confused_pairs(int(1e3))) == 6


def test_the_columns_of_a_table_name_the_classes(probs):
    table = pd.DataFrame(probs, columns=LETTERS, index=range(7, 207))
    assert ClassClusters.from_predictions(table).class_names == tuple(LETTERS)
    assert ClassClusters.from_predictions(table, "wxyz").class_names == tuple("wxyz")
    named = ClassClusters.from_predictions(probs, LETTERS)
    assert ClassClusters.from_predictions(table).classes == named.classes
    pd.testing.assert_frame_equal(confused_pairs(table), confused_pairs(probs, LETTERS))
    clusters = ClassClusters.from_predictions(probs, "wxyz")
    assert clusters.confused_pairs(2, table).class_a.isin(list("wxyz")).all()


def test_lists_of_lists_are_an_array(probs):
    assert ClassClusters.from_predictions(probs.tolist()) == ClassClusters.from_predictions(probs)
    assert confused_pairs(probs.tolist(), k=2).equals(confused_pairs(probs, k=2))


@pytest.mark.parametrize(
    "wrong",
    [[[0.5, 0.5], [1.0]], [["a", "b"]] * 3, pd.DataFrame({"a": ["x", "y"], "b": [0.5, 1]}), [0.5]],
)
def test_what_is_no_matrix_of_numbers_is_refused(wrong):
    for call in (ClassClusters.from_predictions, confused_pairs):
        with pytest.raises(InputError, match="matrix"):
            call(wrong)


def test_two_classes_of_one_name_are_refused(probs):
    calls = (
        lambda: ClassClusters.from_predictions(probs, ["a", "b", "a", "c"]),
        lambda: ClassClusters.from_predictions(pd.DataFrame(probs, columns=list("abac"))),
        lambda: cluster_classes(np.cov(probs.T), class_names=["a", "b", "a", "c"]),
        lambda: confused_pairs(probs, ["a", "b", "a", "c"]),
        lambda: confused_pairs(probs, [1, "1", 2, 3]),
    )
    for call in calls:
        with pytest.raises(InputError, match="the same name") as caught:
            call()
        assert "where: class_names" in str(caught.value)
