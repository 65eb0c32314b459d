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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from specialists.config import DataConfig
from specialists.datasets.base import Dataset, Preprocessing, Split
from specialists.datasets.class_names import label_sets
from specialists.datasets.encoding import encode_text
from specialists.datasets.observations import same_input, units_of_chance
from specialists.datasets.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, check_every_class
from specialists.datasets.storage import cached
from specialists.datasets.text import clean

if TYPE_CHECKING:
    from pandas import DataFrame

MIN_STRINGS = 200
RECIPE = 3
SPLIT_SEED = 20150309
_KINDS = (
    *("territories", "languages", "scripts", "currency_names"),
    *("months", "days", "unit_display_names", "date_fields"),
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


def load_languages(config: DataConfig) -> Dataset:
    """The languages data set, from the cache if it was built before.

    ``config`` says the n-grams (default: characters 1 to 4, no words, case kept) and, with
    ``validation_fraction`` and ``test_fraction``, the shares of the concepts of each kind.

    Raises DataError: a language has no training or no validation string left.
    """
    import babel

    preprocessing = {
        "kind": "text",
        "char_ngrams": list(config.char_ngrams or (1, 4)),
        "word_ngrams": list(config.word_ngrams or (0, 0)),
        "lowercase": bool(config.lowercase),
    }
    fractions = (config.validation_fraction, config.test_fraction)
    key = {"babel": babel.__version__, "recipe": RECIPE}
    key |= {"preprocessing": preprocessing, "fractions": fractions}
    return cached("languages", key, lambda: _build(preprocessing, *fractions))


def own_strings() -> list[Row]:
    """Every string of every locale with each concept that it names, sorted.

    Left out: patterns with a ``{0}``, two- and three-letter codes, single characters, and strings
    with digits.
    """
    from babel import localedata

    rows = {
        Row(locale, kind, _key(kind, path), text.strip())
        for locale in filter(_LOCALE.fullmatch, localedata.locale_identifiers())
        for kind, data in _own_data(locale).items()
        for path, text in (_leaves(data, ()) if kind in _KINDS else ())
        if _is_word(text.strip())
    }
    return sorted(rows, key=lambda row: (row.locale, row.kind, row.key, row.text))


def _own_data(locale: str) -> Mapping[str, Mapping]:
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
    # Digits are mostly years in the names of old currencies, alike in every language.
    if "{" in text or _CODE.fullmatch(text) or any(map(str.isdecimal, text)):
        return False
    return len(text) > 1 and any(map(str.isalpha, text))


def _build(
    preprocessing: Preprocessing, validation_fraction: float, test_fraction: float
) -> Dataset:
    import babel

    rows = own_strings()
    parts = _held_out(rows, validation_fraction, test_fraction)
    locales, texts, strings = _distinct(rows, parts, preprocessing["lowercase"])
    valid = label_sets(strings["text"].to_numpy(), strings["label"].to_numpy(), len(texts))

    def split(part: int) -> Split:
        there = strings.loc[strings["part"] == part]
        columns = (there[name].to_numpy(dtype=np.int64) for name in ("text", "label", "unit"))
        ids, labels, units = map(torch.tensor, columns)
        shown = tuple(texts[i] for i in ids.tolist())
        return Split(encode_text(preprocessing, shown), labels, valid[ids], shown, groups=units)

    train, validation, test = map(split, (TRAIN, VALIDATION, TEST))
    names = class_names(locales)
    check_every_class(names, train.labels.numpy(), validation.labels.numpy())
    named = {"training": train, "validation": validation, "test": test}
    units = ", ".join(f"{split.n_groups} {part}" for part, split in named.items())
    notes = (
        f"{len(names)} of {len({row.locale for row in rows})} locales have at least {MIN_STRINGS} "
        f"strings; {len(strings)} strings in all",
        f"{(strings['part'] == LEFT_OUT).sum()} held-out strings left out: in some language they "
        "also name a concept of training (or, in the test split, of validation)",
        f"units of chance, concepts (held-out ones that share a string are one): {units}",
    )
    source = {
        "package": f"Babel {babel.__version__}",
        "data": "Unicode CLDR names, each locale file's own strings",
        "licence": "BSD-3-Clause (Babel), Unicode License (CLDR)",
    }
    splits = (train, validation, test)
    return Dataset("languages", "text", names, *splits, preprocessing, notes, source)


def _distinct(
    rows: Sequence[Row], parts: np.ndarray, lowercase: bool
) -> tuple[list[str], list[str], DataFrame]:
    """Locales with enough strings, texts as the network sees them, and a row a string of a locale.

    A row has a label, the index of its text, a part and a unit. A string of several concepts lies
    in the earliest part. The part is LEFT_OUT where the same text lies in an earlier one, in
    whichever locale. Strings of one unit name the same concept, or hang together by strings that
    name several.
    """
    from pandas import DataFrame

    locales, labels = np.unique([row.locale for row in rows], return_inverse=True)
    texts, ids = np.unique(clean([row.text for row in rows], lowercase), return_inverse=True)
    concepts = same_input([(row.kind, row.key) for row in rows])
    strings = DataFrame({"label": labels, "text": ids, "part": parts, "unit": concepts})
    strings = strings.iloc[np.lexsort((parts, ids, labels))]
    new = ~strings.duplicated(["label", "text"])
    enough = np.bincount(strings["label"][new], minlength=len(locales)) >= MIN_STRINGS
    used = enough[strings["label"]]
    strings, new = strings[used], new[used]
    earlier = strings.groupby("text")["part"].transform("min") < strings["part"]
    strings = strings.assign(part=strings["part"].mask(earlier, LEFT_OUT))
    strings["unit"] = _units(*(strings[name].to_numpy() for name in ("text", "unit", "part")))
    strings["label"] = (np.cumsum(enough) - 1)[strings["label"]]
    return locales[enough].tolist(), texts.tolist(), strings[new]


def _units(text_ids: np.ndarray, concepts: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Units of chance, of each part for itself: no concept and no text lies in two."""
    units = np.full(len(parts), -1)
    for part in (TRAIN, VALIDATION, TEST):
        rows = parts == part
        units[rows] = units.max() + 1 + units_of_chance(text_ids[rows], concepts[rows])[0]
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


def class_names(locales: Sequence[str]) -> tuple[str, ...]:
    """Readable names.

    Examples
    --------
    >>> class_names(["de", "zh_Hant"])
    ('de (German)', 'zh_Hant (Chinese, Traditional)')
    """
    english, names = _own_data("en"), []
    for locale in locales:
        language, _, script = locale.partition("_")
        words = [english["languages"].get(language, language)]
        words += [english["scripts"].get(script, script)] if script else []
        names.append(f"{locale} ({', '.join(words)})")
    return tuple(names)
