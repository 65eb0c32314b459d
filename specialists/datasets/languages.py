"""Which language is this short string? 239 classes from the CLDR data inside Babel.

Strings: names of territories, languages, scripts, currencies, months, days, units and date fields
that a locale's own file holds (nothing inherited), for locales of the form language or
language_Script with at least 200 strings. Whole concepts (a kind and a key, such as the currency
CHF) are held out, so that validation and test ask for words never seen; a held-out string that
also names a training concept is left out. Many strings are right in several languages: every row
carries all of them. The concepts held out are the same whatever the seed, so results compare. The
strings of one concept, in whatever language, are one unit of chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from specialists.datasets.base import Dataset, Ragged, Split
from specialists.datasets.cache import cached
from specialists.datasets.classes import label_sets
from specialists.datasets.encoding import encode_text
from specialists.datasets.observations import units_of_chance
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, check_every_class
from specialists.datasets.text import clean

MIN_STRINGS = 200
RECIPE = 3
SPLIT_SEED = 20150309
_KINDS = (
    "territories",
    "languages",
    "scripts",
    "currency_names",
    "months",
    "days",
    "unit_display_names",
    "date_fields",
)
_LOCALE = re.compile(r"[a-z]{2,3}(_[A-Z][a-z]{3})?")
_CODE = re.compile(r"[A-Za-z]{2,3}")


@dataclass(frozen=True)
class Row:
    """One string of one locale, and the concept (kind and key) that it names."""

    locale: str
    kind: str
    key: str
    text: str


def load_languages(config: Any) -> Dataset:
    """The languages data set, from the cache if it was built before.

    Parameters
    ----------
    config : DataConfig
        Its n-grams (default: characters 1 to 4, no words, case kept) and its
        ``validation_fraction`` and ``test_fraction``, shares of the concepts of each kind.

    Raises
    ------
    DataError
        A language has no training or no validation string left.
    """
    import babel

    preprocessing = {
        "kind": "text",
        "char_ngrams": list(config.char_ngrams or (1, 4)),
        "word_ngrams": list(config.word_ngrams or (0, 0)),
        "lowercase": bool(config.lowercase),
    }
    fractions = (config.validation_fraction, config.test_fraction)
    key = {
        "babel": babel.__version__,
        "recipe": RECIPE,
        "preprocessing": preprocessing,
        "fractions": fractions,
    }
    return cached("languages", key, lambda: _build(preprocessing, *fractions))


def own_strings() -> list[Row]:
    """Every string of every locale with each concept that it names, sorted.

    Left out: patterns with a ``{0}``, two- and three-letter codes, single characters, and strings
    with digits.
    """
    from babel import localedata

    locales = sorted(filter(_LOCALE.fullmatch, localedata.locale_identifiers()))
    rows = {row for locale in locales for row in _locale_rows(locale, _own_data(locale))}
    return sorted(rows, key=lambda row: (row.locale, row.kind, row.key, row.text))


def _own_data(locale: str) -> Mapping[str, Any]:
    """A locale's file without what it inherits.

    Babel keeps one cache for data with and without inheritance, so that this call would spoil
    later ones and be spoiled by earlier ones: it runs on an empty cache, which is then put back.
    """
    from babel import localedata

    with localedata._cache_lock:
        kept = dict(localedata._cache)
        localedata._cache.clear()
        try:
            return localedata.load(locale, merge_inherited=False)
        finally:
            localedata._cache.clear()
            localedata._cache.update(kept)


def _locale_rows(locale: str, data: Mapping[str, Any]) -> Iterator[Row]:
    for kind in _KINDS:
        for path, found in _leaves(data.get(kind, {}), ()):
            text = found.strip()
            if _is_word(text):
                yield Row(locale, kind, _key(kind, path), text)


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, Mapping):
        for key, below in node.items():
            yield from _leaves(below, (*path, str(key)))


def _key(kind: str, path: Sequence[str]) -> str:
    """Forms and widths of one thing (Mon, Monday) are one concept."""
    if kind in ("months", "days"):
        return path[-1]
    if kind == "date_fields":
        return path[0].removesuffix("-short").removesuffix("-narrow")
    return path[0]


def _is_word(text: str) -> bool:
    if "{" in text or _CODE.fullmatch(text):
        return False
    if any(character.isdecimal() for character in text):
        return False  # mostly years in the names of old currencies, alike in every language
    return len(text) > 1 and any(character.isalpha() for character in text)


def _build(
    preprocessing: Mapping[str, Any], validation_fraction: float, test_fraction: float
) -> Dataset:
    rows = own_strings()
    n_locales = len({row.locale for row in rows})
    parts = _held_out(rows, validation_fraction, test_fraction)
    strings = _distinct(rows, parts, preprocessing["lowercase"])
    valid = label_sets(strings.text_ids, strings.labels, len(strings.texts))
    train, validation, test = (
        _split(strings, valid, np.flatnonzero(strings.parts == part), preprocessing)
        for part in (TRAIN, VALIDATION, TEST)
    )
    names = class_names(strings.locales)
    check_every_class(names, train.labels.numpy(), validation.labels.numpy())
    n_seen = int((strings.parts == LEFT_OUT).sum())
    notes = (
        f"{len(strings.locales)} of {n_locales} locales have at least {MIN_STRINGS} strings; "
        f"{len(strings.labels)} strings in all",
        f"{n_seen} held-out strings left out: in some language they also name a concept of "
        "training (or, in the test split, of validation)",
        "units of chance, concepts (held-out ones that share a string are one): "
        + ", ".join(
            f"{len(split.units.unique())} {part}"
            for part, split in (("training", train), ("validation", validation), ("test", test))
        ),
    )
    return Dataset(
        "languages", "text", names, train, validation, test, preprocessing, notes, _source()
    )


@dataclass(frozen=True)
class _Strings:
    """Distinct strings of the locales that have enough of them.

    ``labels``, ``text_ids``, ``parts`` and ``units`` have one entry a string of a locale. A part is
    LEFT_OUT where the same text lies in an earlier one, in whichever locale. Strings of one unit
    name the same concept, or hang together by strings that name several.
    """

    locales: tuple[str, ...]
    texts: tuple[str, ...]
    labels: np.ndarray
    text_ids: np.ndarray
    parts: np.ndarray
    units: np.ndarray


def _distinct(rows: Sequence[Row], concept_parts: np.ndarray, lowercase: bool) -> _Strings:
    """Strings as the network sees them; one of several concepts lies in the earliest part."""
    locales, labels = np.unique([row.locale for row in rows], return_inverse=True)
    shown = clean([row.text for row in rows], lowercase)
    texts, text_ids = np.unique(shown, return_inverse=True)
    order = np.lexsort((concept_parts, text_ids, labels))
    labels, text_ids, parts = labels[order], text_ids[order], concept_parts[order]
    concepts = _concepts(rows)[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (labels[1:] != labels[:-1]) | (text_ids[1:] != text_ids[:-1])
    enough = np.bincount(labels[new], minlength=len(locales)) >= MIN_STRINGS
    used = enough[labels]
    first = np.full(len(texts), TEST)
    np.minimum.at(first, text_ids[used], parts[used])
    parts[(first[text_ids] < parts) | ~used] = LEFT_OUT
    units = _units(text_ids, concepts, parts)
    kept, number = new & used, np.cumsum(enough) - 1
    return _Strings(
        locales=tuple(locales[enough].tolist()),
        texts=tuple(texts.tolist()),
        labels=number[labels[kept]],
        text_ids=text_ids[kept],
        parts=parts[kept],
        units=units[kept],
    )


def _concepts(rows: Sequence[Row]) -> np.ndarray:
    """The number of the concept of every row, int64 (n,)."""
    seen: dict[tuple[str, str], int] = {}
    return np.array([seen.setdefault((row.kind, row.key), len(seen)) for row in rows])


def _units(text_ids: np.ndarray, concepts: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Units of chance, of each part for itself: no concept and no text lies in two."""
    units = np.full(len(parts), -1)
    for part in (TRAIN, VALIDATION, TEST):
        rows = parts == part
        found = units_of_chance(text_ids[rows], concepts[rows], "a concept")[0]
        units[rows] = units.max() + 1 + found
    return units


def _held_out(rows: Sequence[Row], validation_fraction: float, test_fraction: float) -> np.ndarray:
    """Part of every row: concepts of each kind are dealt out to test, validation and training."""
    generator = np.random.default_rng(SPLIT_SEED)
    part_of: dict[tuple[str, str], int] = {}
    for kind in _KINDS:
        concepts = sorted({(row.kind, row.key) for row in rows if row.kind == kind})
        n_test = round(test_fraction * len(concepts))
        n_held = n_test + round(validation_fraction * len(concepts))
        parts = np.full(len(concepts), TRAIN)
        parts[:n_held] = VALIDATION
        parts[:n_test] = TEST
        part_of.update(zip(concepts, generator.permutation(parts).tolist(), strict=True))
    return np.array([part_of[row.kind, row.key] for row in rows])


def _split(
    strings: _Strings, valid: Ragged, index: np.ndarray, preprocessing: Mapping[str, Any]
) -> Split:
    ids = strings.text_ids[index]
    texts = tuple(strings.texts[i] for i in ids.tolist())
    return Split(
        inputs=encode_text(preprocessing, texts),
        labels=torch.from_numpy(strings.labels[index].astype(np.int64)),
        valid=valid[torch.from_numpy(ids.astype(np.int64))],
        texts=texts,
        groups=torch.from_numpy(strings.units[index]),
    )


def class_names(locales: Sequence[str]) -> tuple[str, ...]:
    """Readable names.

    Examples
    --------
    >>> class_names(["de", "zh_Hant"])
    ('de (German)', 'zh_Hant (Chinese, Traditional)')
    """
    english = _own_data("en")
    names = []
    for locale in locales:
        language, _, script = locale.partition("_")
        told = english["languages"].get(language, language)
        if script:
            told += f", {english['scripts'].get(script, script)}"
        names.append(f"{locale} ({told})")
    return tuple(names)


def _source() -> dict[str, str]:
    import babel

    return {
        "package": f"Babel {babel.__version__}",
        "data": "Unicode CLDR names, each locale file's own strings",
        "licence": "BSD-3-Clause (Babel), Unicode License (CLDR)",
    }
