"""How are trained weights read that another program wrote, without executing anything?

A file is safetensors, or what ``torch.save`` made of a state dict or of a checkpoint that holds one
(``state_dict``, ``model_state_dict``, ``model`` ..., beside optimiser states and whatever else). A
folder is one that ``save_pretrained`` of Hugging Face wrote, in one file or in shards, or that of a
model of this package. Tensors stay mapped to their files, so that they cost no memory twice.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specialists.errors import InputError
from specialists.files import read_tensors

WEIGHTS_KEY = "generalist.weights"
EXPECTED = (
    "safetensors, what torch.save made of a state dict or a checkpoint, or a save_pretrained folder"
)
CONTAINERS = ("state_dict", "model_state_dict", "model", "module", "network", "net", "weights")
WHOLE_FILES = ("model.safetensors", "weights.safetensors", "pytorch_model.bin")
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
CHUNK = 1 << 20
_MAGIC = {
    b"<": "a web page or XML: the download gave a page instead of the file",
    b"version https://git-lfs": "a pointer of Git LFS: `git lfs pull` fetches the file itself",
    b"\x89HDF": "HDF5, as Keras writes it",
    b"GGUF": "GGUF, whose numbers are quantised",
    b"\x93NUMPY": "a NumPy array",
}


@dataclass(frozen=True)
class ForeignWeights:
    """What a file or folder of weights holds.

    ``states`` is everything in it that may be a state dict, by where it stands there ("" for the
    whole), the likeliest first; ``entries`` are the other entries of a checkpoint.
    """

    path: Path
    states: Mapping[str, Mapping[str, Tensor]]
    entries: Mapping[str, object] = field(default_factory=dict)


def read_foreign(path: Path) -> ForeignWeights:
    """Read a file or folder of weights.

    Raises
    ------
    InputError
        If it is missing, damaged, holds no tensors, or could only be read by executing it.
    """
    if path.is_dir():
        return ForeignWeights(path, {"": _read_folder(path)})
    if not path.is_file():
        raise InputError("no such file of weights", where=WEIGHTS_KEY, got=path, expected=EXPECTED)
    content = _read_file(path)
    if not isinstance(content, Mapping):
        raise _without_state(path, type(content).__name__)
    states = dict(sorted(_states(content), key=lambda state: _rank(state[0])))
    if not states:
        entries = ", ".join(map(str, list(content)[:10])) or "none"
        raise _without_state(path, f"no tensors under the entries {entries}")
    rest = {k: v for k, v in content.items() if isinstance(k, str) and not isinstance(v, Tensor)}
    return ForeignWeights(path, states, rest)


def _without_state(path: Path, got: str) -> InputError:
    return InputError("this file holds no state dict", where=path, got=got, expected=EXPECTED)


def holds_weights(folder: Path) -> bool:
    """Whether a folder has a file of weights under one of the usual names."""
    return any((folder / name).is_file() for name in (*WHOLE_FILES, *INDICES))


def _rank(entry: str) -> int:
    first = entry.partition(".")[0]
    return CONTAINERS.index(first) if first in CONTAINERS else len(CONTAINERS)


def _states(content: Mapping[Any, Any], entry: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every entry that holds tensors by name, with its dotted name."""
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if tensors:
        yield entry, tensors
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Mapping) and entry.count(".") < 2:
            yield from _states(value, f"{entry}.{key}" if entry else key)


def _read_file(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(64)
    try:
        if path.suffix == ".safetensors" or head[8:9] == b"{":
            return read_tensors(path)
        return _load(path)
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        reasons = [what for magic, what in _MAGIC.items() if head.lstrip().startswith(magic)]
        reasons += ["an empty file"] * (not head) + [_reason(error)]
        raise InputError(
            "this file of weights cannot be read as plain tensors",
            where=path,
            got=reasons[0],
            expected=EXPECTED,
            fix="torch.save(network.state_dict(), file) writes nothing but tensors; a file that "
            "is damaged has to be fetched again",
        ) from None


def _load(path: Path) -> Any:
    in_zip = zipfile.is_zipfile(path)
    if in_zip:
        _check_sums(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=in_zip)


def _check_sums(path: Path) -> None:
    """Compare the check sums that torch.save writes and torch.load does not look at."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile("a compressed archive, which torch.save does not write")
            with archive.open(member) as file:
                while member.CRC and file.read(CHUNK):  # 0: torch.save was told to write none
                    pass


def _reason(error: Exception) -> str:
    """What is there in place of plain tensors, without the advice of PyTorch to execute it."""
    called = re.search(r"GLOBAL (\S+)", str(error))
    if called:
        return f"a pickle that calls {called[1]}, which would have to be executed"
    first = "" if "Weights only" in str(error) else str(error).partition("\n")[0]
    return f"a file that gives {type(error).__name__}{': ' * bool(first)}{first[:200]}"


def _read_folder(folder: Path) -> dict[str, Tensor]:
    for name in (*WHOLE_FILES, *INDICES):
        file = folder / name
        if file.is_file():
            shards = _shards(file) if name in INDICES else [file]
            return {k: v for shard in shards for k, v in _tensors(shard).items()}
    names = sorted(path.name for path in folder.iterdir())
    raise InputError(
        "this folder holds no weights",
        where=folder,
        got=", ".join(names[:10]) or "an empty folder",
        expected=", ".join((*WHOLE_FILES, *INDICES)),
        fix=f"name the file of weights itself in {WEIGHTS_KEY}",
    )


def _shards(index: Path) -> list[Path]:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    shards = content.get("weight_map") if isinstance(content, dict) else None
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise InputError("this index of shards names no files of its folder", where=index)
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(names)} shards of these weights are missing",
            where=index,
            got=f"no {', '.join(missing[:5])}",
        )
    return [index.parent / name for name in names]


def _tensors(path: Path) -> dict[str, Tensor]:
    content = _read_file(path)
    if isinstance(content, Mapping) and all(isinstance(v, Tensor) for v in content.values()):
        return dict(content)
    raise _without_state(path, type(content).__name__)
