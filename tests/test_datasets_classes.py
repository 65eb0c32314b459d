"""Identity of classes: one class has one name, whichever way and from whichever source."""

import tracemalloc
import unicodedata

import numpy as np
import pytest

from specialists.datasets.class_names import classes_of, classes_of_codes, labels_left_out
from specialists.datasets.text import hash_ngrams
from specialists.errors import DataError


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["10", "9", "1"], ("1", "9", "10")),
        (["10", "9", "007"], ("007", "10", "9")),
        (np.array([10, 9, -1]), ("-1", "9", "10")),
        (np.array([10.0, 9.0]), ("9", "10")),
        (np.array([True, False]), ("False", "True")),
        (np.array([b"cat", "größe".encode()]), ("cat", "größe")),
        ([1, True, "1"], ("1", "True")),
        (["NA", "None", "1e5", "1.0"], ("1.0", "1e5", "NA", "None")),
    ],
)
def test_labels_of_every_type_have_names_in_order(values, names):
    classes = classes_of(values)
    assert classes.names == names
    assert classes.notes == ()


@pytest.mark.parametrize("other", ["boot ", "\tboot", "boot\n"])
def test_labels_that_differ_in_white_space_are_one_class_and_told(other):
    classes = classes_of(["boot", other, "shoe"])
    assert classes.names == ("boot", "shoe")
    assert classes.labels.tolist() == [0, 0, 1]
    assert "labels of 1 rows made alike" in classes.notes[0]
    assert f"{other!r} is 'boot'" in classes.notes[0]


def test_another_form_of_a_label_is_told_in_ascii():
    note = classes_of(["cafe\u0301", "shoe"]).notes[0]
    shown = ascii("cafe\u0301")
    assert f"{shown} is 'caf\xe9'" in note


def test_two_unicode_forms_are_one_class_and_one_text():
    composed, apart = (unicodedata.normalize(form, "crème") for form in ("NFC", "NFD"))
    assert classes_of([apart, composed]).names == (composed,)
    rows = hash_ngrams([composed, apart], (1, 3), (1, 1))
    assert rows.row(0).tolist() == rows.row(1).tolist()


@pytest.mark.parametrize(
    "pair", [("Cat", "cat"), ("ﬁn", "fin"), ("a\u200bb", "ab"), ("1", "1.0"), ("-7", "-07")]
)
def test_names_that_look_alike_are_kept_apart_and_told(pair):
    classes = classes_of(list(pair))
    assert len(classes.names) == 2
    assert "2 classes look alike" in classes.notes[0]


def test_what_programs_write_for_no_label_is_a_class_and_told():
    classes = classes_of(["NaN", "pear", "NaN", "None", "null"])
    assert classes.names == ("NaN", "None", "null", "pear")
    told = "taken for a class: 'NaN' (2 of 5 rows), 'null' (1 of 5 rows); where it means no label"
    assert classes.notes == (f'{told}, set data.exclude_labels = ["NaN", "null"]',)


@pytest.mark.parametrize(
    "value", [["a"], {"a": 1}, None, 1.5, float("nan"), b"\xff", "\ud800", "", " "]
)
def test_what_is_no_name_is_refused(value):
    with pytest.raises(DataError, match="a label is") as error:
        classes_of(["a", value], "t.csv")
    assert "t.csv" in str(error.value)


def test_two_codes_of_one_name_are_kept_apart_and_told():
    classes = classes_of_codes(np.array([3, 0, 2, 1]), ["crane", "dog", "crane", "owl", "crane"])
    assert classes.names == ("crane [0]", "dog", "crane [2]", "owl")
    assert classes.labels.tolist() == [3, 0, 2, 1]
    assert "'crane' of the labels 0, 2" in classes.notes[0]


def test_a_code_without_a_name_is_refused():
    with pytest.raises(DataError, match=r"no name(?s:.*)labels 0 to 2, 2 names"):
        classes_of_codes(np.array([0, 2]), ["a", "b"])


def test_excluded_labels_are_named_as_their_classes_are():
    classes = classes_of(["two  words", "a", "a"])
    assert labels_left_out(classes, ["two words "])[0].tolist() == [True, False, False]
    with pytest.raises(DataError, match=r"'tow words', which is no label(?s:.*)'two words'"):
        labels_left_out(classes, ["tow words"])


def test_one_long_label_does_not_widen_the_others():
    values = ["x" * 20_000, *map(str, range(20_000))]
    tracemalloc.start()
    classes_of(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # an array of fixed width takes 1.6 GB
