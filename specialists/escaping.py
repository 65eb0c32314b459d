r"""How do names and texts of users leave the program, so that they do nothing but be read?

A class name may hold whatever a file held: an escape sequence that recolours a terminal, a
direction override that reverses a line, half of a surrogate pair that no encoding takes, a formula
that a spreadsheet computes. Data stay as they are; what is shown goes through one of these.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

# Line feed and tab lay text out. Also refused, as XML refuses them: U+FFFE and U+FFFF.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_FORMULA = re.compile(r"[=+\-@].")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_LOOKS = "\u200d\ufe0e\ufe0f\U000e007f"  # join or vary the symbols beside them
_TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
_SKINS = {chr(0x1F3FB + i): f"{tone} skin" for i, tone in enumerate(_TONES)}
_MARKDOWN = re.compile(r"[\\`*\[\]<>|]")


def printable(text: str) -> str:
    r"""``text`` with control characters as visible escapes; line feeds and tabs stay.

    Every script and every emoji stays as it is. Escaped are the controls of ASCII and Latin-1,
    direction overrides and isolates, lone surrogates, U+FFFE and U+FFFF.

    Examples
    --------
    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    >>> print(printable("\ud800 and \u202e, but ع and ж"))
    \ud800 and \u202e, but ع and ж
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    r"""The same on one line: every run of white space is one space.

    Examples
    --------
    >>> one_line(" a\r\n  b\x1b")
    'a b\\x1b'
    """
    return printable(" ".join(text.split()))


def cell(value: object) -> str:
    """One line for a table that a spreadsheet may open: an apostrophe before what it would compute.

    That is what begins with ``=``, ``+``, ``-`` or ``@`` and is no plain number.

    Examples
    --------
    >>> [cell(value) for value in ("=1+1", "-x", "@a", "-", "-1", "+3.5e2", 7)]
    ["'=1+1", "'-x", "'@a", '-', '-1', '+3.5e2', '7']
    """
    text = one_line(str(value))
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def markdown(text: str) -> str:
    r"""One line of plain text in Markdown: it opens no tag, link, code or table cell.

    Examples
    --------
    >>> print(markdown("a|b <script>\nmy_data"))
    a\|b \<script\> my_data
    """
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def markdown_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are Markdown: a column of text, then columns of numbers.

    Examples
    --------
    >>> print(markdown_rows(["model", "top-1"], [["`student`", "41.2"]]))
    | model | top-1 |
    | --- | ---: |
    | `student` | 41.2 |
    """
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def readable(name: str) -> str:
    """``name``, and what it shows in words if it is symbols that a font may lack.

    That is a name with no letter or digit, and with more than ASCII. The words are those of
    Unicode; a symbol newer than Python's table of them is told by its number.

    Examples
    --------
    >>> [readable(name) for name in ("👋🏿", "🇰🇬", "C++", "日", "❤️")]
    ['👋🏿 waving hand sign + dark skin', '🇰🇬 flag KG', 'C++', '日', '❤️ heavy black heart']
    """
    if name.isascii() or any(map(str.isalnum, name)) or printable(name) != name:
        return name
    words = " + ".join(_symbols_in_words(name))
    return f"{name} {words}" if words else name


def _symbols_in_words(name: str) -> Iterator[str]:
    seen = (character for character in name if character not in _LOOKS)
    for kind, run in itertools.groupby(seen, _spelling):
        if kind:  # a region in letters that have their own places in Unicode
            yield f"{kind} {''.join(unicodedata.name(letter)[-1] for letter in run)}"
        else:
            yield from (_SKINS.get(c) or _unicode_name(c) for c in run)


def _spelling(character: str) -> str:
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return "flag"
    return "region" if "\U000e0061" <= character <= "\U000e007a" else ""


def _unicode_name(character: str) -> str:
    return unicodedata.name(character, "").lower() or f"U+{ord(character):04X}"
