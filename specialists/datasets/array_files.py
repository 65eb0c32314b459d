"""How are the arrays of .npz and .npy files read, which others made?

An array is read when it is asked for, so that others in the file neither cost nor matter. Its
header is checked first: the type must be plain, and the shape must fit the bytes that there are.
Arrays of Python objects are refused: reading them would mean executing them. So is what is larger
than the memory, unless it is an .npy file of inputs, which is memory-mapped.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from specialists.datasets.naming import did_you_mean, existing
from specialists.errors import DataError
from specialists.runtime import memory

ARRAY_SUFFIXES = (".npz", ".npy")
APART = (
    'save inputs as .npy, which is read a batch at a time: data.arrays = {x = "x.npy", y = "y.npy"}'
)
_NUMPY = b"\x93NUMPY"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class ArrayFile(Mapping[str, np.ndarray]):
    """Arrays by name, each read when it is asked for."""

    path: Path  # for messages
    members: Mapping[str, tuple[Path, str | None]]  # file of each array, its name in an archive
    others: tuple[str, ...] = ()  # members of the archive that are no arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def __getitem__(self, name: str) -> np.ndarray:
        """Read an array.

        Raises DataError: there is none of this name, it is damaged, or it holds something else than
        numbers or strings.
        """
        self.check(name)
        return _read(*self.members[name], self.where(name))

    def mapped(self, name: str) -> np.ndarray:
        """The array of an .npy file memory-mapped; one in an archive is read.

        Raises DataError: as for reading it.
        """
        self.check(name)
        path, member = self.members[name]
        return self[name] if member else map_array(path)

    def check(self, name: str) -> None:
        """Raise a DataError where there is no array of this name."""
        if name not in self:
            got, fix = f"the arrays {', '.join(self)}", did_you_mean(name, self)
            raise DataError(f"no array {name!r}", where=self.path, got=got, fix=fix)

    def where(self, name: str) -> str:
        """An array as messages name it."""
        path, member = self.members[name]
        return f"{path}, array {name!r}" if member else str(path)


def open_arrays(path: Path) -> ArrayFile:
    """The arrays of an .npz file; an .npy file is one array called ``x``.

    Raises DataError: the file is of another format, or damaged.
    """
    if path.is_dir():
        raise DataError("a folder is no file of arrays", where=path, expected=".npz or .npy")
    with path.open("rb") as file:
        start = file.read(len(_NUMPY))
    if start == _NUMPY:
        return ArrayFile(path, {"x": (path, None)})
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # on damaged bytes it may raise anything
        got, what = _format_of(start, error), "the file holds no plain NumPy arrays"
        raise DataError(what, where=path, got=got, expected=".npz or .npy") from error
    arrays = {name.removesuffix(".npy"): (path, name) for name in names if name.endswith(".npy")}
    if not arrays:
        raise DataError("an archive without arrays", where=path, expected="members called NAME.npy")
    return ArrayFile(path, arrays, tuple(name for name in names if not name.endswith(".npy")))


def map_array(path: Path) -> np.ndarray:
    """The array of an .npy file, memory-mapped.

    Raises DataError: there is none, it is damaged, or it holds something else than numbers or
    strings.
    """
    try:
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size, str(path))
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DataError("no such file", where=path) from None
    except DataError:
        raise
    except Exception as error:  # on damaged bytes NumPy may raise anything
        raise _unreadable(error, str(path)) from error


def open_apart(paths: Mapping[str, str]) -> ArrayFile:
    """Arrays in a file each, by their role.

    Raises DataError: a file does not exist, or holds several arrays.
    """
    members: dict[str, tuple[Path, str | None]] = {}
    for role, path in paths.items():
        arrays = open_arrays(existing(path))
        if len(arrays) > 1:
            what = "a file of several arrays where one is wanted"
            where = f"data.arrays, {role} = {path}"
            fix = "name the file alone, as data.arrays, and the arrays in data.keys"
            raise DataError(what, where=where, got=f"the arrays {', '.join(arrays)}", fix=fix)
        members[role] = next(iter(arrays.members.values()))
    return ArrayFile(Path(next(iter(paths.values()))), members)


def _format_of(start: bytes, error: Exception) -> str:
    known = {
        b"\x1f\x8b": "a gzip file, which has to be unpacked",
        b"\x80": "a pickle, which cannot be read without executing it",
        b"PK": f"a damaged or truncated archive ({error})",
    }
    formats = (known[magic] for magic in known if start.startswith(magic))
    return next(formats, f"a file that begins with {start!r}") if start else "an empty file"


def _read(path: Path, member: str | None, where: str) -> np.ndarray:
    try:
        if member is None:
            with path.open("rb") as file:
                _check_memory(_check_header(file, path.stat().st_size, where), where)
                file.seek(0)
                return np.lib.format.read_array(file, allow_pickle=False)
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(member)
            if info.flag_bits & 1:
                raise DataError("an encrypted member", where=where, fix="save it without password")
            with archive.open(info) as stream:
                _check_memory(_check_header(stream, info.file_size, where), where)
            with archive.open(info) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
    except DataError:
        raise
    except MemoryError as error:
        raise _too_large(where, str(error)) from error
    except Exception as error:  # on damaged bytes NumPy and zipfile may raise anything
        raise _unreadable(error, where) from error


def _unreadable(error: Exception, where: str) -> DataError:
    got = str(error) or type(error).__name__
    fix = "the file is damaged; save or download it again"
    return DataError("an array cannot be read", where=where, got=got, fix=fix)


def _check_memory(n_bytes: int, where: str) -> None:
    if n_bytes > memory():
        needed, there = (f"{n / 2**30:,.1f} GiB" for n in (n_bytes, memory()))
        raise _too_large(where, f"{needed}, and {there} of memory")


def _too_large(where: str, got: str) -> DataError:
    what = "an array that is read whole does not fit into the memory"
    return DataError(what, where=where, got=got, fix=f"{APART}, or give fewer rows")


def _check_header(stream: IO[bytes], size: int, where: str) -> int:
    """The bytes of an array of numbers or strings of its size.

    Anything else is refused before memory is asked for.
    """
    shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    n_bytes = size - stream.tell()
    _check_type(dtype, where)
    if any(n < 0 for n in shape) or (dtype.itemsize == 0 and math.prod(shape) > 0):
        raise DataError("an impossible header", where=where, got=f"{dtype} of shape {shape}")
    needed = math.prod(shape) * dtype.itemsize
    if needed != n_bytes:
        what, got = "an array of another size than its header says", f"{n_bytes:,} bytes of data"
        expected = f"{needed:,} for {dtype} of shape {shape}"
        fix = "the file may be cut off; save it again, one array a file"
        raise DataError(what, where=where, got=got, expected=expected, fix=fix)
    return needed


def _check_type(dtype: np.dtype[Any], where: str) -> None:
    if dtype.hasobject:
        what = "an array is ragged or holds Python objects"
        got = "dtype object, which cannot be read without executing it"
        expected = "numbers or strings of one shape"
        fix = "store rows of equal length, and strings as dtype U"
        raise DataError(what, where=where, got=got, expected=expected, fix=fix)
    if dtype.kind == "V":
        what = "an array of records"
        got = f"the fields {', '.join(dtype.names)}" if dtype.names else f"dtype {dtype}"
        fix = "store every field as an array of its own, or all as one of shape [n, d]"
        raise DataError(what, where=where, got=got, expected="numbers or strings", fix=fix)
