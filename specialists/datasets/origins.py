"""Where do the rows lie that a saved data set does not hold?

    SPLIT.inputs.json        files, a folder of images or a function; their sha256
    SPLIT.inputs.rows.npy    the number of each row there

Files that changed since are refused: what was learned from them would no longer be what they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specialists import files
from specialists.datasets.array_files import map_array
from specialists.datasets.base import Preprocessing
from specialists.datasets.factory import called
from specialists.datasets.fetched_rows import FetchedRows, Origin
from specialists.datasets.object_rows import rows_again
from specialists.datasets.raw_rows import ImageFiles, MappedArrays, RawRows, fetched_rows
from specialists.errors import DataError

AGAIN = "put it back, or prepare the data again"


def save_origin(rows: FetchedRows, folder: Path, name: str) -> None:
    """Write where the rows of the split ``name`` lie."""
    files.write_array(_numbers(folder, name), rows.index.numpy())
    about = {
        "origin": dict(rows.origin or {}),
        "sha256": {path: files.sha256(path) for path in _paths(rows.origin or {})},
        "numbers": files.sha256(_numbers(folder, name)),
        "shape": list(rows.shape),
    }
    files.write_json(origin_file(folder, name), about)


def open_origin(
    folder: Path,
    name: str,
    preprocessing: Preprocessing,
    texts: Sequence[str] | None,
    opened: dict[str, RawRows],
) -> FetchedRows:
    """The rows of a split that :func:`save_origin` wrote; nothing but headers is read.

    ``texts`` are the names of image files. What other splits have ``opened`` is used again.

    Raises
    ------
    DataError
        If files are gone or have changed.
    InputError
        If nobody vouches for the function that gives the rows.
    """
    file = origin_file(folder, name)
    about = files.read_json(file)
    index = files.read_array(_numbers(folder, name), mmap=False)
    origin, shape = about["origin"], about["shape"]
    if "images" in origin:
        raw: RawRows = ImageFiles(Path(origin["images"]), texts or (), tuple(shape[1:]), origin)
        return fetched_rows(raw, preprocessing)
    for path, digest in about["sha256"].items():
        _check_unchanged(Path(path), digest, file)
    key = str(sorted(origin.items()))
    if key not in opened:
        opened[key] = _opened(origin, preprocessing, folder)
    return fetched_rows(opened[key], preprocessing, index)


def input_shape(folder: Path, name: str) -> tuple[int, ...]:
    """The shape of the inputs of a saved split, not of texts; no row is read."""
    file = origin_file(folder, name)
    if file.is_file():
        return tuple(files.read_json(file)["shape"])
    return files.read_array(folder / f"{name}.inputs.npy").shape


def origin_file(folder: Path, name: str) -> Path:
    """What says where the rows of a split lie; it is there only if they lie elsewhere."""
    return folder / f"{name}.inputs.json"


def _numbers(folder: Path, name: str) -> Path:
    return folder / f"{name}.inputs.rows.npy"


def _paths(origin: Origin) -> list[str]:
    return [*origin.get("arrays", ()), *([origin["images"]] if "images" in origin else [])]


def _opened(origin: Origin, preprocessing: Preprocessing, folder: Path) -> RawRows:
    if "factory" in origin:
        files.check_trusted(origin["factory"], origin["options"], folder)
        given = called(origin["factory"], {**origin["seed"], **origin["options"]})
        return rows_again(given, origin, preprocessing)
    arrays = [np.asarray(map_array(Path(path))) for path in origin["arrays"]]
    rows = MappedArrays(arrays, origin)
    return rows.with_channels() if preprocessing["kind"] == "images" else rows


def _check_unchanged(path: Path, digest: str, file: Path) -> None:
    if not path.exists():
        what = "a file is gone whose rows are read in place"
        raise DataError(what, where=path, fix=f"{AGAIN}; data.in_place = false keeps a copy")
    if path.stat().st_mtime > file.stat().st_mtime and files.sha256(path) != digest:
        what = "a file has changed whose rows are read in place"
        raise DataError(what, where=path, got=f"changed after {file}", fix=AGAIN)
