"""Hashed n-grams: what is hashed, that bits are good, that nothing depends on the batch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from specialists.datasets.augmentation import drop_ngrams
from specialists.datasets.text import hash_ngrams


def naive_counts(text, ngrams):
    """Number of n-grams of a string with a marker at either end, markers alone left out."""
    total = 0
    for n in range(ngrams[0], ngrams[1] + 1):
        total += len(text) if n == 1 else max(len(text) + 2 - n + 1, 0)
    return total


@pytest.mark.parametrize("ngrams", [(1, 1), (1, 4), (2, 5), (3, 3)])
@pytest.mark.parametrize("text", ["", "a", "ab", "mardi", "тәуір", "𐴌𐴗"])
def test_a_row_has_every_ngram_of_its_string(text, ngrams):
    assert hash_ngrams([text], ngrams).lengths.tolist() == [naive_counts(text, ngrams)]


def test_rows_do_not_depend_on_their_neighbours():
    texts = ["lundi", "", "два слова", "x", "lundi"]
    together = hash_ngrams(texts, (1, 4), (1, 2))
    for i, text in enumerate(texts):
        assert together.row(i).tolist() == hash_ngrams([text], (1, 4), (1, 2)).row(0).tolist()


def test_equal_ngrams_share_a_hash_and_others_do_not():
    rows = hash_ngrams(["abc", "xab"], (2, 2))
    first, second = (set(rows.row(i).tolist()) for i in range(2))
    assert len(first & second) == 1  # only "ab": ^a, bc, c$ against ^x, xa, b$


def test_a_prefix_differs_from_an_infix():
    rows = hash_ngrams(["ab", "xabx"], (3, 3))
    assert not set(rows.row(0).tolist()) & set(rows.row(1).tolist())


def test_the_same_characters_of_another_length_hash_differently():
    by_length = [set(hash_ngrams(["aaaaaa"], (n, n)).row(0).tolist()) for n in range(1, 5)]
    assert len(set().union(*by_length)) == sum(map(len, by_length))


def test_words_are_runs_of_letters_marks_and_digits():
    assert hash_ngrams(["card, please? 24h", "?!", ""], (0, 0), (1, 1)).lengths.tolist() == [
        3,
        0,
        0,
    ]


def test_word_bigrams_keep_their_order():
    rows = hash_ngrams(["are you", "you are"], (0, 0), (1, 2))
    assert set(rows.row(0)[:2].tolist()) == set(rows.row(1)[:2].tolist())
    assert rows.row(0)[2] != rows.row(1)[2]


def test_case_is_kept_unless_asked_otherwise():
    kept, folded = (hash_ngrams(["Mai", "mai"], (1, 3), lowercase=fold) for fold in (False, True))
    assert kept.row(0).tolist() != kept.row(1).tolist()
    assert folded.row(0).tolist() == folded.row(1).tolist()


def test_hashes_are_nonnegative_and_their_low_bits_are_even():
    generator = np.random.default_rng(0)
    texts = ["".join(map(chr, generator.integers(97, 123, 12))) for _ in range(4000)]
    values = np.unique(hash_ngrams(texts, (3, 4)).values.numpy())
    assert values.dtype == np.int32
    assert values.min() >= 0
    counts = np.bincount(values & 1023, minlength=1024)
    expected = len(values) / 1024
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - 1023) < 6 * np.sqrt(2 * 1023)


def test_another_process_gives_the_same_hashes():
    code = (
        "from specialists.datasets.text import hash_ngrams;"
        "print(hash_ngrams(['mardi gras'], (1, 4), (1, 2)).values.tolist())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(hash_ngrams(["mardi gras"], (1, 4), (1, 2)).values.tolist())


def test_the_hashes_of_this_version_are_fixed():
    assert hash_ngrams(["ab"], (1, 2)).values.tolist() == [
        1556014920,
        448954600,
        1839258173,
        638432273,
        1625078029,
    ]


def test_no_strings_give_no_rows():
    assert len(hash_ngrams([], (1, 4), (1, 2))) == 0


def test_dropping_keeps_rows_apart_and_about_the_right_share():
    rows = hash_ngrams(["some words to drop from"] * 200, (1, 4))
    dropped = drop_ngrams(rows, torch.Generator().manual_seed(0), rate=0.25)
    assert len(dropped) == 200
    assert int(dropped.offsets[-1]) == dropped.values.numel()
    assert dropped.values.numel() / rows.values.numel() == pytest.approx(0.75, abs=0.01)
    for i in range(200):
        assert set(dropped.row(i).tolist()) <= set(rows.row(i).tolist())


def test_dropping_nothing_changes_nothing():
    rows = hash_ngrams(["a", "", "bc"], (1, 2))
    kept = drop_ngrams(rows, torch.Generator().manual_seed(0), rate=0.0)
    assert torch.equal(kept.values, rows.values)
    assert torch.equal(kept.offsets, rows.offsets)
