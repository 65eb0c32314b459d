"""The rows of emoji names that ship, taken from those of all 4,342 emoji and symbols.

    python data/emoji/shipped.py PATH/emoji_names.tsv.gz specialists/datasets/emoji_names.tsv.gz

Taken are people and hands in each of five skin tones and without one, the flags of countries, and
clock faces, in one locale of each language: its own, or else the first. A validation name that also
trains is left out, and so is a test name that trains or validates. Columns and the order of the
rows stay as they are.
"""

import gzip
import sys
from pathlib import Path

SPLITS = ("train", "validation", "test")


def taken(lines: list[str]) -> list[str]:
    """The header, and the lines of the emoji that ship."""
    header, *rows = lines
    of = [row.partition("\t")[0] for row in rows]
    locale_of: dict[str, str] = {}
    for row in rows:
        _, locale, language, *_ = row.split("\t")
        if locale == language or language not in locale_of:
            locale_of[language] = locale
    toned = {emoji for emoji in of if len(emoji) == 2 and "\U0001f3fb" <= emoji[1] <= "\U0001f3ff"}
    plain = {emoji[0] for emoji in toned}
    kept = [
        row
        for row, emoji in zip(rows, of, strict=True)
        if emoji in toned or emoji in plain or is_flag(emoji) or is_clock(emoji)
    ]
    kept = [row for row in kept if row.split("\t")[1] in locale_of.values()]
    return [header, *without_repeats(kept)]


def without_repeats(rows: list[str]) -> list[str]:
    """The rows whose name no earlier split has, in small or capital letters."""
    names = {split: set() for split in SPLITS}
    for row in rows:
        *_, split, name = row.split("\t")
        names[split].add(name.lower())
    kept = []
    for row in rows:
        *_, split, name = row.split("\t")
        if not any(name.lower() in names[earlier] for earlier in SPLITS[: SPLITS.index(split)]):
            kept.append(row)
    return kept


def is_flag(emoji: str) -> bool:
    """Two regional indicators, the letters of a country's code."""
    return len(emoji) == 2 and all("\U0001f1e6" <= letter <= "\U0001f1ff" for letter in emoji)


def is_clock(emoji: str) -> bool:
    """A clock face at one of 24 half hours."""
    return len(emoji) == 1 and "\U0001f550" <= emoji <= "\U0001f567"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    text = gzip.decompress(source.read_bytes()).decode("utf-8")
    rows = "".join(f"{line}\n" for line in taken(text.removesuffix("\n").split("\n")))
    target.write_bytes(gzip.compress(rows.encode("utf-8"), 9, mtime=0))
