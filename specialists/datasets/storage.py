"""How a data set lies on disk: plain .npy files that are memory-mapped when they are read back.

    dataset.json                          names, kind, classes, preprocessing, notes
    SPLIT.inputs.npy [.inputs.offsets]    offsets of ragged inputs; several tensors by name are the
                                          fields of records; admission.* may be missing
    SPLIT.inputs.json .inputs.rows.npy    instead: where inputs lie that are read in place
    SPLIT.labels.npy [.valid .valid.offsets]
    SPLIT.texts.npy .texts.offsets.npy    UTF-8 bytes, for people to read
    SPLIT.rows.npy                        lines or rows of the user's file; may be missing
    SPLIT.groups.npy                      units of chance; may be missing
    SPLIT.weights.npy .predictions.npy    how many rows each one counts as, what a generalist
                                          says of it; may be missing

The labels of the test split lie in files of their own, so that every stage before the evaluation
can be kept from reading them. The same data set gives the same bytes.

A data set that ships is built once and kept under ``$XDG_CACHE_HOME/specialists``, in a folder
named by a hash of all that went into it (versions of the sources, preprocessing, recipe), written
whole under a temporary name and renamed. A damaged folder is reported and built again. Without a
cache that can be written the data set is built each time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists import files
from specialists.datasets.base import Dataset, Inputs, NamedTensors, Preprocessing, Ragged, Split
from specialists.datasets.fetched_rows import FetchedRows, block_rows
from specialists.datasets.origins import open_origin, origin_file, save_origin
from specialists.datasets.raw_rows import RawRows
from specialists.errors import DataError, DataWarning
from specialists.files.manifests import MANIFEST, read_manifest

log = logging.getLogger(__name__)
FORMAT = 1
HIDDEN = -1
KEYS = {"name", "kind", "class_names", "rows", "preprocessing", "notes", "source"}
ABOUT = "dataset.json"
TEST_LABELS = ("test.labels.", "test.valid.")
_SPLITS = ("train", "validation", "admission", "test")
_PARTS = ("inputs", "labels", "valid", "texts", "rows", "groups", "weights", "predictions")
_FILES = [f"{s}.{p}{o}.npy" for s in _SPLITS for p in _PARTS for o in ("", ".offsets")]
_FILES += [f"{s}.inputs.{kind}" for s in _SPLITS for kind in ("json", "rows.npy")]


def save_dataset(dataset: Dataset, folder: str | Path) -> None:
    """Write ``dataset`` to ``folder``, ``dataset.json`` last.

    Files of another data set that lay there before are removed.

    Raises
    ------
    InputError
        If a file that would be read as a part of the data set is somebody else's.
    """
    folder = Path(folder)
    files.claim(*(folder / name for name in (*_FILES, ABOUT)))  # also those that this one lacks
    _remove(folder, _FILES)
    for name, split in dataset.splits.items():
        _save_split(split, folder, name)
    about = {
        "format": FORMAT,
        "name": dataset.name,
        "kind": dataset.kind,
        "class_names": list(dataset.class_names),
        "rows": {name: len(split) for name, split in dataset.splits.items()},
        "groups": {name: split.n_groups for name, split in dataset.splits.items()},
        "preprocessing": dict(dataset.preprocessing),
        "notes": list(dataset.notes),
        "source": dict(dataset.source),
    }
    files.write_json(folder / ABOUT, about)


def remove_dataset(folder: str | Path) -> None:
    """Remove what :func:`save_dataset` may have written, and the folder if it is then empty."""
    folder = Path(folder)
    _remove(folder, (*_FILES, ABOUT, MANIFEST))
    with suppress(OSError):
        folder.rmdir()


def load_dataset_folder(folder: str | Path, test_labels: bool = False) -> Dataset:
    """Read what :func:`save_dataset` wrote, memory-mapped.

    Without ``test_labels``, ``test.labels`` is -1 everywhere, ``test.valid`` is None, and their
    files are not opened.

    Raises
    ------
    DataError
        No data set lies there, or one written by another version.
    """
    folder = Path(folder)
    about = read_about(folder)
    _check_files(folder, test_labels)
    opened: dict[str, RawRows] = {}
    how = about["preprocessing"]
    splits = {
        name: _load_split(folder, name, name != "test" or test_labels, how, opened)
        for name in (
            "train",
            "validation",
            "test",
            *(["admission"] if "admission" in about["rows"] else []),
        )
    }
    return Dataset(
        name=about["name"],
        kind=about["kind"],
        class_names=tuple(about["class_names"]),
        preprocessing=about["preprocessing"],
        notes=tuple(about["notes"]),
        source=about["source"],
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        admission=splits.get("admission"),
    )


def read_about(folder: Path) -> dict[str, Any]:
    """What ``dataset.json`` says; a DataError without one, or where another version wrote it."""
    if not (folder / ABOUT).exists():
        raise DataError("no data set here", where=folder, fix="run prepare-data first")
    about = files.read_json(folder / ABOUT)
    version = about.get("format") if isinstance(about, dict) else None
    if version != FORMAT or not about.keys() >= KEYS:
        what = "this data set was written by another version, or is damaged"
        got, expected = f"format {version}", f"format {FORMAT} with {', '.join(sorted(KEYS))}"
        fix = "remove the folder and prepare the data again"
        raise DataError(what, where=folder / ABOUT, got=got, expected=expected, fix=fix)
    return about


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _check_files(folder: Path, test_labels: bool) -> None:
    """Compare what is read with what the folder's manifest, if it has one, recorded."""
    if not (folder / MANIFEST).is_file():
        return
    for name, digest in read_manifest(folder)["outputs"].items():
        if test_labels or not name.startswith(TEST_LABELS):
            files.check_file(folder / name, digest)


def _save_split(split: Split, folder: Path, name: str) -> None:
    texts = None if split.texts is None else _bytes(split.texts)
    values = (split.inputs, split.labels, split.valid, texts, split.rows, split.groups)
    values = (*values, split.weights, split.predictions)
    for part, rows in zip(_PARTS, values, strict=True):
        if isinstance(rows, Ragged):
            files.write_array(folder / f"{name}.{part}.offsets.npy", rows.offsets.numpy())
            rows = rows.values
        if isinstance(rows, FetchedRows):
            _save_fetched(rows, folder, f"{name}.{part}.npy", name)
        elif isinstance(rows, NamedTensors):
            files.write_array(folder / f"{name}.{part}.npy", rows.records())
        elif rows is not None:
            files.write_array(folder / f"{name}.{part}.npy", rows.contiguous().numpy())


def _save_fetched(rows: FetchedRows, folder: Path, file: str, name: str) -> None:
    if rows.origin is not None:
        save_origin(rows, folder, name)
        return
    size = block_rows(rows, len(rows))
    blocks = (rows[start : start + size].numpy() for start in range(0, len(rows), size))
    files.write_array_blocks(folder / file, blocks, len(rows))


def _load_split(
    folder: Path, name: str, labelled: bool, how: Preprocessing, opened: dict[str, RawRows]
) -> Split:
    texts = _ragged(folder, f"{name}.texts")
    names = None if texts is None else _strings(texts)
    if origin_file(folder, name).is_file():
        inputs: Inputs = open_origin(folder, name, how, names, opened)
    else:
        inputs = _inputs(folder / f"{name}.inputs.npy")
        offsets = _optional(folder / f"{name}.inputs.offsets.npy")
        if offsets is not None and isinstance(inputs, Tensor):
            inputs = Ragged(inputs, offsets)
    hidden = torch.full((len(inputs),), HIDDEN)
    return Split(
        inputs=inputs,
        labels=_mapped(folder / f"{name}.labels.npy") if labelled else hidden,
        valid=_ragged(folder, f"{name}.valid") if labelled else None,
        texts=names,
        rows=_optional(folder / f"{name}.rows.npy"),
        groups=_optional(folder / f"{name}.groups.npy"),
        weights=_optional(folder / f"{name}.weights.npy"),
        predictions=_optional(folder / f"{name}.predictions.npy"),
    )


def _inputs(path: Path) -> Tensor | NamedTensors:
    array = _array(path)
    return NamedTensors.of_records(array) if array.dtype.names else torch.from_numpy(array)


def _ragged(folder: Path, name: str) -> Ragged | None:
    values = _optional(folder / f"{name}.npy")
    return None if values is None else Ragged(values, _mapped(folder / f"{name}.offsets.npy"))


def _optional(path: Path) -> Tensor | None:
    return _mapped(path) if path.exists() else None


def _mapped(path: Path) -> Tensor:
    return torch.from_numpy(_array(path))


def _array(path: Path) -> np.ndarray:
    """Writable, since PyTorch has no read-only tensors; the file itself never changes."""
    if not path.exists():
        what = "a file of the data set is missing"
        raise DataError(what, where=path, fix="prepare the data again")
    return files.read_array(path, writable=True)


def _bytes(texts: tuple[str, ...]) -> Ragged:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    flat = np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()
    return Ragged.from_lengths(flat, np.array([len(text) for text in encoded], dtype=np.int64))


def _strings(rows: Ragged) -> tuple[str, ...]:
    flat, bounds = rows.values.numpy().tobytes(), pairwise(rows.offsets.tolist())
    return tuple(flat[start:end].decode("utf-8", "surrogatepass") for start, end in bounds)


def cache_folder() -> Path | None:
    """``$XDG_CACHE_HOME/specialists`` or ``~/.cache/specialists``; None if there is no home."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(home):
        return Path(home) / "specialists"
    try:
        return Path.home() / ".cache" / "specialists"
    except RuntimeError:
        return None


def cached(name: str, key: Mapping[str, object], build: Callable[[], Dataset]) -> Dataset:
    """The data set of this name and key, from the cache or from ``build()``."""
    base = cache_folder()
    if base is None:
        message = f"the data set {name!r} is not cached: no home folder; set XDG_CACHE_HOME"
        warnings.warn(message, DataWarning, stacklevel=2)
        return build()
    described = json.dumps({**key, "code": files.CODE_VERSION}, sort_keys=True, default=str)
    folder = base / f"{name}-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    manifest = files.manifest_key({}, {"key": described})
    if os.path.exists(folder):  # False where it may not be looked at
        reason = files.is_done(folder, manifest)
        if reason is None:
            return load_dataset_folder(folder, test_labels=True)
        log.warning(f"the cached data set {folder} is damaged ({reason}): it is built again")
        remove_dataset(folder)
    dataset, temporary = build(), folder.with_name(f".tmp-{secrets.token_hex(4)}-{folder.name}")
    try:
        save_dataset(dataset, temporary)
        files.finish(temporary, manifest)
        os.rename(temporary, folder)
    except OSError as error:
        if not os.path.exists(folder):  # otherwise another process was first, with the same bytes
            reason = str(error).partition("\n")[0]
            message = f"the data set {name!r} could not be cached in {folder}: {reason}"
            warnings.warn(message, DataWarning, stacklevel=2)
    finally:
        with suppress(OSError):
            remove_dataset(temporary)
    return dataset
