"""How a string becomes numbers: hashed n-grams of characters and words, without a loop.

All strings are laid end to end as one array of symbols (code points, or hashes of words). The
n-gram that starts at symbol i gets the 64-bit state

    h_1(i) = (salt + a_i + 1) K,    h_n(i) = (h_{n-1}(i) + a_{i+n-1} + 1) K   (mod 2^64)

and is then mixed by the finaliser of splitmix64 (Steele, Lea, Flood, "Fast splittable
pseudorandom number generators", 2014), of which 31 bits are kept. Every bit of the result is
good, so a model may take ``value & (n_buckets - 1)``. Nothing depends on the process or machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from specialists.datasets.base import Ragged
from specialists.datasets.class_names import normal_form

_START, _END = 0x110000, 0x110001
_MULTIPLIER = np.uint64(0x9E6C63D0676A9A99)
_CHARACTERS, _WORDS = 0x243F6A8885A308D3, 0x13198A2E03707344


def hash_ngrams(
    texts: Sequence[str],
    char_ngrams: Sequence[int] = (1, 4),
    word_ngrams: Sequence[int] = (0, 0),
    lowercase: bool = False,
) -> Ragged:
    """Hash every n-gram of every string.

    Strings are brought to Unicode normal form C, and runs of white space count as one space.
    N-grams of two and more characters also see a marker at either end of the string, so that a
    prefix differs from an infix. Words are maximal runs of letters, marks and digits.

    Parameters
    ----------
    char_ngrams, word_ngrams : (int, int)
        Shortest and longest n-gram; (0, 0) for none.
    lowercase : bool
        Lower the case first.

    Returns
    -------
    Ragged of int32 in [0, 2**31), one row a string
        The n-grams of a row by length, then by position; repeated ones are kept.

    Examples
    --------
    >>> hash_ngrams(["ab", ""], (1, 2)).lengths.tolist()  # a, b, ^a, ab, b$; ^$
    [5, 1]
    """
    cleaned = clean(texts, lowercase)
    points, lengths = _code_points(cleaned)
    pieces: list[tuple[np.ndarray, np.ndarray]] = []
    if char_ngrams[1] > 0:
        pieces += _character_windows(points, lengths, char_ngrams)
    if word_ngrams[1] > 0:
        words, word_counts = _words(points, lengths)
        starts = _starts(word_counts)
        for n, states in _rolling(words, word_ngrams, _WORDS):
            counts = np.maximum(word_counts - n + 1, 0)
            pieces.append((states[_ranges(starts, counts)], counts))
    return _interleave(pieces, len(cleaned))


def clean(texts: Sequence[str], lowercase: bool) -> list[str]:
    """What the n-grams see: Unicode normal form C, white space one space, perhaps lower case."""
    cleaned = [normal_form(text) for text in texts]
    return [text.lower() for text in cleaned] if lowercase else cleaned


def _code_points(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    flat = "".join(texts).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(flat, dtype=np.uint32).astype(np.uint64), lengths


def _character_windows(
    points: np.ndarray, lengths: np.ndarray, ngrams: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    padded_lengths, pieces = lengths + 2, []
    starts = _starts(padded_lengths)
    symbols = np.empty(int(padded_lengths.sum()), dtype=np.uint64)
    symbols[starts] = _START
    symbols[starts + padded_lengths - 1] = _END
    symbols[_ranges(starts + 1, lengths)] = points
    for n, states in _rolling(symbols, ngrams, _CHARACTERS):
        # A marker by itself says nothing.
        first, counts = (starts + 1, lengths) if n == 1 else (starts, padded_lengths - n + 1)
        counts = np.maximum(counts, 0)
        pieces.append((states[_ranges(first, counts)], counts))
    return pieces


def _rolling(symbols: np.ndarray, ngrams: Sequence[int], salt: int):
    """Yield (n, int32 hashes of the n-gram that starts at each symbol)."""
    shortest, longest = max(ngrams[0], 1), ngrams[1]
    states = np.full(len(symbols), np.uint64(salt))
    for n in range(1, longest + 1):
        if len(symbols) < n:
            return
        states = states[: len(symbols) - n + 1] + symbols[n - 1 :] + np.uint64(1)
        states *= _MULTIPLIER
        if n >= shortest:
            yield n, _mixed(states ^ np.uint64(n))


def _mixed(states: np.ndarray) -> np.ndarray:
    states = states ^ (states >> np.uint64(30))
    states *= np.uint64(0xBF58476D1CE4E5B9)
    states ^= states >> np.uint64(27)
    states *= np.uint64(0x94D049BB133111EB)
    states ^= states >> np.uint64(31)
    return (states >> np.uint64(33)).astype(np.int32)


def _words(points: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash of every word, and the number of words in each string."""
    inside = np.zeros(len(points) + 1, dtype=bool)
    kinds, which = np.unique(points, return_inverse=True)
    is_letter = [unicodedata.category(chr(point))[0] in "LMN" for point in kinds.tolist()]
    inside[:-1] = np.asarray(is_letter, dtype=bool)[which]
    rows = np.repeat(np.arange(len(lengths)), lengths)
    begins = inside[:-1].copy()
    begins[1:] &= ~inside[:-2] | (rows[1:] != rows[:-1])
    at = np.flatnonzero(begins)
    if not len(at):
        return np.empty(0, dtype=np.uint64), np.zeros(len(lengths), dtype=np.int64)
    positions = np.arange(len(points)) - at[np.maximum(np.cumsum(begins) - 1, 0)]
    n_powers = int(positions.max(initial=0)) + 1
    powers = np.multiply.accumulate(np.full(n_powers, _MULTIPLIER, dtype=np.uint64))
    terms = (points + np.uint64(1)) * powers[np.maximum(positions, 0)]
    terms[~inside[:-1]] = 0
    return np.add.reduceat(terms, at), np.bincount(rows[at], minlength=len(lengths))


def _interleave(pieces: Sequence[tuple[np.ndarray, np.ndarray]], n_rows: int) -> Ragged:
    """Join several raggeds row by row."""
    totals = np.sum([np.zeros(n_rows, np.int64), *(counts for _, counts in pieces)], axis=0)
    values, at = np.empty(int(totals.sum()), dtype=np.int32), _starts(totals)
    for piece, counts in pieces:
        values[_ranges(at, counts)] = piece
        at += counts
    return Ragged.from_lengths(values, totals)


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.cumsum(lengths) - lengths


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``concatenate([arange(s, s + c) for s, c in zip(starts, counts)])``."""
    shift = np.repeat(starts - _starts(counts), counts)
    return np.arange(len(shift), dtype=np.int64) + shift
