"""What is shown of users' names does nothing, and is otherwise what it was."""

import csv
import io

import numpy as np
import pytest
from hostile_names import NAMES, acting, acts

from specialists.clustering import ClassClusters, cluster_classes, compare
from specialists.errors import InputError
from specialists.escaping import cell, markdown, one_line, printable, readable


def test_of_all_characters_those_that_act_are_escaped_and_no_others():
    characters = list(map(chr, range(0x110000)))
    shown = [c.encode("unicode_escape").decode() if acts(c) else c for c in characters]
    assert printable("".join(characters)) == "".join(shown)


@pytest.mark.parametrize(
    "text", ["🏳️‍🌈 👩🏽‍🚀", "क्‍ष", "می‌خواهم", "שָׁלוֹם\u200f!", "\\x1b", "a\tb\nc", ""]
)
def test_scripts_emoji_and_layout_stay_as_they_are(text):
    assert printable(text) == text


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_is_utf_8_without_control_characters(name):
    for shown in (printable(name), one_line(name), cell(name), markdown(name)):
        assert shown.encode().decode() == shown
        assert acting(shown) == set()
        assert printable(shown) == shown


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("👋🏿", "waving hand sign + dark skin"),
        ("🇰🇬", "flag KG"),
        ("👩🏽‍🚀", "woman + medium skin + rocket"),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "waving black flag + region GBENG",
        ),
        ("❤️", "heavy black heart"),
        ("\U0003fffd", "U+3FFFD"),
    ],
)
def test_symbols_that_a_font_may_lack_are_told_in_words(name, words):
    assert readable(name) == f"{name} {words}"


@pytest.mark.parametrize("name", [*NAMES, "", "C++", "-", "日", "क्‍ष", "1️⃣", "class 3", "\u200d"])
def test_a_name_that_can_be_read_stays_as_it_is(name):
    assert readable(name) == name


def test_symbols_are_told_in_words_to_people_and_stay_as_they_are_in_files():
    names = ["👋🏿", "🇰🇬", "👋", "🇰🇿"]
    clusters = ClassClusters.from_predictions(np.eye(4) * 0.7 + 0.075, names, n_clusters=2)
    assert "👋🏿 waving hand sign + dark skin" in clusters.to_text()
    assert clusters.to_dict()["class_names"] == names
    assert "🇰🇬 flag KG" in clusters._repr_html_()


def test_white_space_of_a_cell_is_one_space():
    assert cell(" a\r\n\t b\x0b\u2028c ") == "a b c"


@pytest.mark.parametrize(
    "number", ["-1", "+3.5e2", "-.5", "+1.", "-1E-9", "0", "12.5", "-", "+", "=", "@", "a=b", "3-4"]
)
def test_a_number_and_what_is_no_formula_stays_as_it_is(number):
    assert cell(number) == number


@pytest.mark.parametrize(
    "formula", ["=1", "=A1", "+A1", "-A1", "@SUM(A1)", "-1+2", "+49-30", "--1", " =1", "-٣", "\n=1"]
)
def test_what_a_spreadsheet_would_compute_gets_an_apostrophe(formula):
    assert cell(formula) == "'" + formula.strip()


def test_cells_come_back_from_a_table_of_tabs():
    table = "\t".join(map(cell, NAMES))
    assert next(csv.reader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)) == [
        cell(name) for name in NAMES
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b\n# c", r"a\|b # c"),
        ("<img src=x>", r"\<img src=x\>"),
        ("[a](http://x)", r"\[a\](http://x)"),
        ("`a` *b* my_data", r"\`a\` \*b\* my_data"),
        ("a\\|b", r"a\\\|b"),
    ],
)
def test_markdown_is_shown_as_plain_text(text, shown):
    assert markdown(text) == shown


def test_a_message_shows_what_it_quotes():
    told = str(InputError("no such class", where="\x1b[2J", got="\ud800"))
    assert told == "no such class\n  where: \\x1b[2J\n  got: \\ud800"


def test_a_listing_of_clusters_names_every_class_and_is_written_as_utf_8():
    clusters = cluster_classes(np.eye(len(NAMES)), 2, class_names=NAMES)
    text = clusters.to_text()
    assert acting(text) == set()
    assert all(one_line(name) in text for name in NAMES if len(name) < 99)
    assert ClassClusters.from_dict(clusters.to_dict()).class_names == NAMES


def test_known_groups_are_shown_escaped():
    clusters = cluster_classes(np.eye(2), 1, class_names=["a", "b"])
    assert r"\x1b[31mred 1, \ud800 1" in compare(clusters, ["\x1b[31mred", "\ud800"]).to_text()
