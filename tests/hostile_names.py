"""Names that a file of a user may hold, and what of them must not leave the program."""

import unicodedata

NAMES = (
    "\x1b[31mred",
    "a\x00b",
    '=HYPERLINK("http://x")',
    "-1",
    "<script>alert(1)</script>",
    "a|b",
    "$x_1$",
    "]]>",
    "\ud800",
    "\u202eevil",
    "L" * 20_000,
    'in="line" id="text_1" & co',
)
DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def acts(character: str) -> bool:
    """Whether a character does something to a terminal, or has no form in UTF-8 or XML."""
    return (
        (unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t")
        or unicodedata.bidirectional(character) in DIRECTIONS
        or character in "\ufffe\uffff"
    )


def acting(text: str) -> set[str]:
    """The characters of ``text`` that must not leave the program."""
    return {character for character in text if acts(character)}
