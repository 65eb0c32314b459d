"""How a data set lies on disk: plain .npy files that are memory-mapped when they are read back.

    dataset.json                          names, kind, classes, preprocessing, notes
    SPLIT.inputs.npy [.inputs.offsets]    offsets where the inputs are ragged; gate.* may be missing
    SPLIT.labels.npy [.valid .valid.offsets]
    SPLIT.texts.npy .texts.offsets.npy    UTF-8 bytes, for people to read
    SPLIT.rows.npy                        lines or rows of the user's file; may be missing
    SPLIT.groups.npy                      units of chance; may be missing

The labels of the test split lie in files of their own, so that every stage before the evaluation
can be kept from reading them. The same data set gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.base import Dataset, Inputs, Ragged, Split
from specialists.errors import DataError
from specialists.runs import check_file, claim, read_array, read_json, write_array, write_json
from specialists.runs.manifests import MANIFEST, read_manifest

FORMAT = 1
HIDDEN = -1
KEYS = {"name", "kind", "class_names", "rows", "preprocessing", "notes", "source"}
ABOUT = "dataset.json"
TEST_LABELS = ("test.labels.", "test.valid.")
_SPLITS = ("train", "validation", "gate", "test")
_PARTS = ("inputs", "labels", "valid", "texts", "rows", "groups")
_FILES = [f"{s}.{p}{o}.npy" for s in _SPLITS for p in _PARTS for o in ("", ".offsets")]


def save_dataset(dataset: Dataset, folder: str | Path) -> None:
    """Write ``dataset`` to ``folder``, ``dataset.json`` last.

    Files of another data set that lay there before are removed.

    Raises
    ------
    InputError
        If a file that would be read as a part of the data set is somebody else's.
    """
    folder = Path(folder)
    claim(*(folder / name for name in (*_FILES, ABOUT)))  # also those that this one lacks
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
    write_json(folder / ABOUT, about)


def remove_dataset(folder: str | Path) -> None:
    """Remove what :func:`save_dataset` may have written, and the folder if it is then empty."""
    folder = Path(folder)
    _remove(folder, (*_FILES, ABOUT, MANIFEST))
    with suppress(OSError):
        folder.rmdir()


def load_dataset_folder(folder: str | Path, test_labels: bool = False) -> Dataset:
    """Read what :func:`save_dataset` wrote, memory-mapped.

    Parameters
    ----------
    folder : path
    test_labels : bool
        False: ``test.labels`` is -1 everywhere, ``test.valid`` is None, and their files are not
        opened.

    Raises
    ------
    DataError
        No data set lies there, or one written by another version.
    """
    folder = Path(folder)
    if not (folder / ABOUT).exists():
        raise DataError("no data set here", where=folder, fix="run prepare-data first")
    about = read_json(folder / ABOUT)
    _check_files(folder, test_labels)
    found = about.get("format") if isinstance(about, dict) else None
    if found != FORMAT or not about.keys() >= KEYS:
        raise DataError(
            "this data set was written by another version, or is damaged",
            where=folder / ABOUT,
            got=f"format {found}",
            expected=f"format {FORMAT} with {', '.join(sorted(KEYS))}",
            fix="remove the folder and prepare the data again",
        )
    splits = {
        name: _load_split(folder, name, name != "test" or test_labels)
        for name in ("train", "validation", "test", *(["gate"] if "gate" in about["rows"] else []))
    }
    return Dataset(
        name=about["name"],
        kind=about["kind"],
        class_names=tuple(about["class_names"]),
        preprocessing=about["preprocessing"],
        notes=tuple(about["notes"]),
        source=about["source"],
        **splits,
    )


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _check_files(folder: Path, test_labels: bool) -> None:
    """Compare what is read with what the folder's manifest, if it has one, recorded."""
    if not (folder / MANIFEST).is_file():
        return
    for name, digest in read_manifest(folder)["outputs"].items():
        if test_labels or not name.startswith(TEST_LABELS):
            check_file(folder / name, digest)


def _save_split(split: Split, folder: Path, name: str) -> None:
    texts = None if split.texts is None else _bytes(split.texts)
    values = (split.inputs, split.labels, split.valid, texts, split.rows, split.groups)
    for part, rows in zip(_PARTS, values, strict=True):
        if isinstance(rows, Ragged):
            write_array(folder / f"{name}.{part}.offsets.npy", rows.offsets.numpy())
            rows = rows.values
        if rows is not None:
            write_array(folder / f"{name}.{part}.npy", rows.contiguous().numpy())


def _load_split(folder: Path, name: str, labelled: bool) -> Split:
    inputs: Inputs = _mapped(folder / f"{name}.inputs.npy")
    offsets, texts = (
        _optional(folder / f"{name}.inputs.offsets.npy"),
        _ragged(folder, f"{name}.texts"),
    )
    inputs = inputs if offsets is None else Ragged(inputs, offsets)
    hidden = torch.full((len(inputs),), HIDDEN)
    return Split(
        inputs=inputs,
        labels=_mapped(folder / f"{name}.labels.npy") if labelled else hidden,
        valid=_ragged(folder, f"{name}.valid") if labelled else None,
        texts=None if texts is None else _strings(texts),
        rows=_optional(folder / f"{name}.rows.npy"),
        groups=_optional(folder / f"{name}.groups.npy"),
    )


def _ragged(folder: Path, name: str) -> Ragged | None:
    values = _optional(folder / f"{name}.npy")
    return None if values is None else Ragged(values, _mapped(folder / f"{name}.offsets.npy"))


def _optional(path: Path) -> Tensor | None:
    return _mapped(path) if path.exists() else None


def _mapped(path: Path) -> Tensor:
    """Writable, since PyTorch has no read-only tensors; the file itself never changes."""
    if not path.exists():
        what = "a file of the data set is missing"
        raise DataError(what, where=path, fix="prepare the data again")
    return torch.from_numpy(read_array(path, writable=True))


def _bytes(texts: tuple[str, ...]) -> Ragged:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    flat = np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()
    return Ragged.from_lengths(flat, np.array([len(text) for text in encoded], dtype=np.int64))


def _strings(rows: Ragged) -> tuple[str, ...]:
    flat, bounds = rows.values.numpy().tobytes(), pairwise(rows.offsets.tolist())
    return tuple(flat[start:end].decode("utf-8", "surrogatepass") for start, end in bounds)
