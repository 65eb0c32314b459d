"""How does an artifact reach the disk whole, or not at all?

It is written under a temporary name in its own folder, synced, and renamed over the old file: a
process killed at any moment leaves the old file or the new one, never half of one. Nothing here
can execute what it reads: arrays are read without pickle, tensors are safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specialists.errors import DamagedError
from specialists.files.disk import storage_faults, sync
from specialists.files.ownership import claim, is_output_folder, marked_kind
from specialists.files.reading import read_text_file, walk

if TYPE_CHECKING:
    import numpy as np

TEMPORARY = ".tmp-"
SETTLED_SECONDS = 1.0
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")  # UTF-8 has no form for one, JSON does

_hashes: dict[tuple[str, int, int, int, int], str] = {}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place on success.

    The temporary name keeps the suffix, since some writers add a missing one. On an error it is
    removed and ``path`` stays as it was. Missing folders are made. In a folder of results
    (:func:`~specialists.files.ownership.recording`) the name is written down first.

    Raises
    ------
    InputError
        If a file of somebody else is in the way, which is never replaced.
    StorageError
        If the machine cannot keep the file, whatever the writer inside raises then.
    OSError
        If the file may not be written there; it names ``path``.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> target = Path(folder.name, "words.txt")
    >>> with atomic_write(target) as temporary:
    ...     _ = temporary.write_text("mardi")
    >>> target.read_text()
    'mardi'
    >>> folder.cleanup()
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    with storage_faults(path), _called(path, temporary):
        claim(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _called(path: Path, temporary: Path) -> Iterator[None]:
    """What the system refuses for the temporary file, it refuses for ``path``."""
    try:
        yield
    except OSError as error:
        if str(error.filename) == str(temporary):
            error.filename = str(path)
        raise


def copy_file(source: str | Path, target: str | Path) -> None:
    """Put the content of one file at another place, on the disk once if its system can do that.

    Both names are then links to one file. :func:`atomic_write` puts a new file in the place of a
    name, so that nothing which is written there later changes the other.
    """
    with atomic_write(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # a system without links, another disk, or too many of them
            shutil.copyfile(source, temporary)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write strict JSON: no NaN, no infinity; NumPy scalars and arrays become numbers and lists."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def read_json(path: str | Path) -> Any:
    """What ``write_json`` wrote; a DamagedError if it is no longer JSON."""
    try:
        return json.loads(read_text_file(Path(path)), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # of the characters, or of the JSON
        raise damaged(path, str(error)) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write one array as .npy; object arrays are refused."""
    import numpy as np

    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_array_blocks(path: str | Path, blocks: Iterable[np.ndarray], n_rows: int) -> None:
    """Write an array of so many rows, which come in blocks, as .npy.

    The file is the one that :func:`write_array` writes of the whole, which is never in memory.
    """
    import numpy as np

    with atomic_write(path) as temporary, temporary.open("wb") as file:
        for i, block in enumerate(blocks):
            if i == 0:
                dtype, shape = np.lib.format.dtype_to_descr(block.dtype), (n_rows, *block.shape[1:])
                header = {"descr": dtype, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(block).data)


def read_array(path: str | Path, mmap: bool = True, writable: bool = False) -> np.ndarray:
    """The array of an .npy file; a DamagedError if it is no longer one.

    It is memory-mapped and read-only, or in memory with ``mmap=False``. A ``writable`` mapped array
    takes changes, which stay in memory.
    """
    import numpy as np

    try:
        if mmap:
            return np.lib.format.open_memmap(path, mode="c" if writable else "r")
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OverflowError, SyntaxError, TypeError, MemoryError):
        raise damaged(path, "no whole array of numbers") from None


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, or of the names and contents of all files in a folder.

    Output of this program that lies in the folder does not count. A file's hash is remembered as
    long as the file keeps its inode, size and times.
    """
    path = Path(path)
    if path.is_dir():
        return _folder_hash(path)
    status = path.stat()
    times = (status.st_mtime_ns, status.st_ctime_ns)
    identity = (os.path.abspath(path), status.st_ino, status.st_size, *times)
    if identity in _hashes:
        return _hashes[identity]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # A file changed within the clock's tick keeps its times, so fresh ones are not remembered.
    if time.time() - max(times) / 1e9 > SETTLED_SECONDS:
        _hashes[identity] = digest
    return digest


def forget_hashes() -> None:
    """Read every file again for its hash, as a new process does."""
    _hashes.clear()


def _folder_hash(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in walk(folder, lambda inner: not is_output_folder(inner)):
        if file.is_file():
            name = os.fsencode(file.relative_to(folder).as_posix())
            whole.update(name + f"\0{sha256(file)}\n".encode())
    return whole.hexdigest()


def damaged(path: str | Path, reason: str) -> DamagedError:
    """The error that a file of ours is no longer what was written."""
    fix = f"{making_again(path)} makes it again"
    return DamagedError("this file is damaged", where=path, got=reason, fix=fix)


def making_again(path: str | Path) -> str:
    """The command that makes a file of a run again."""
    run = next((folder for folder in Path(path).parents if marked_kind(folder) == "run"), "RUN")
    return f"`specialists run --out {run}`"


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
