"""How are the bytes of a file of text read: compressed or not, in which encoding, as which lines?

UTF-8, or UTF-16 and UTF-32 with a byte order mark. What cannot be read is told with its line.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from pathlib import Path

from specialists.errors import DataError

LARGEST = 2**30  # bytes that any .gz may grow to; beyond them, RATIO times its own size
RATIO = 200
_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"pk\x03\x04": "a zip archive, as Excel's .xlsx are",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel (.xls)",
    b"par1": "Parquet",
    b"sqlite format 3": "a database of SQLite",
    b"<!doctype": "a web page: the download gave a page instead of the file",
    b"<html": "a web page: the download gave a page instead of the file",
    b"version https://git-lfs": "a pointer of Git LFS: `git lfs pull` fetches the file itself",
}
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")  # in no text but that of UTF-16
_OTHER_FIX = "save or download the table itself, as .csv or .tsv in UTF-8, or as .parquet"
_MARKS = (  # those of UTF-32 begin like those of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def suffix(path: Path) -> str:
    """The kind of file that a name ends in, in lower case and without ``.gz``.

    Examples
    --------
    >>> suffix(Path("titles.CSV.GZ"))
    'csv'
    """
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def stem(path: Path) -> str:
    """The name of a file without its kind and ``.gz``.

    Examples
    --------
    >>> stem(Path("data/titles.v2.CSV.GZ"))
    'titles.v2'
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return name.rpartition(".")[0] or name


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed if it is gzip.

    Raises DataError: a folder, a file that may not be read, or a damaged or absurdly large .gz.
    """
    if path.is_dir():
        raise DataError("this is a folder, not a file", where=path)
    try:
        content = path.read_bytes()
        if not content.startswith(_GZIP) and path.suffix.lower() != ".gz":
            return content
        limit = max(LARGEST, RATIO * len(content))
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            content = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("the file cannot be read", where=path, got=error) from error
    if len(content) > limit:
        what = "the compressed file is too large to be read"
        fix = "decompress it, if it is meant to be so large"
        raise DataError(what, where=path, got=f"more than {limit:,} bytes", fix=fix)
    return content


def read_text(path: Path) -> str:
    """The content of a file as text.

    Raises DataError: as :func:`read_bytes`, or bytes that are no text, with the line of the first.
    """
    content = read_bytes(path)
    for start, kind in _OTHERS.items():
        if content.lstrip()[:64].lower().startswith(start):
            raise DataError("the file is no text of a table", where=path, got=kind, fix=_OTHER_FIX)
    mark, encoding = next((m for m in _MARKS if content.startswith(m[0])), (b"", "utf-8"))
    content, what = content.removeprefix(mark), "the file cannot be read as text"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if control := None if mark else _CONTROL.search(content):
            what, got = "the file is no text of a table", f"the byte 0x{control[0].hex()}"
            raise DataError(what, where=path, got=got, fix=_OTHER_FIX) from error
        line = content[: error.start].decode(encoding, "replace").count("\n") + 1
        where = f"{path}, line {line}"
        got = f"byte 0x{content[error.start]:02x}, which is no {encoding.upper()} there"
        fix = "save it as UTF-8" + ", for instance with `iconv -f LATIN1 -t UTF-8`" * (not mark)
        raise DataError(what, where=where, got=got, expected="UTF-8", fix=fix) from error
    before, nul, _ = text.partition("\0")
    if nul:
        where = f"{path}, line {before.count(chr(10)) + 1}"
        expected = "UTF-8, or UTF-16 with a byte order mark"
        raise DataError(what, where=where, got="a NUL character", expected=expected)
    return text


def lines(text: str) -> list[str]:
    r"""The lines of a text; blank ones too, but nothing after the last line break.

    Examples
    --------
    >>> lines("a\r\n\nb\n"), lines("\n"), lines("")
    (['a', '', 'b'], [''], [])
    """
    if not text:
        return []
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
