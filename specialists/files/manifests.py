"""Does a result on disk still hold, and if not, why?

A folder's ``manifest.json`` is written last, when everything else is in place. It records the key
that the result depends on (the sha256 of every input, the part of the configuration, the version of
the code) and the sha256 of every output. A result holds when the key is the same today and every
recorded output is still there unchanged. Files that hold times or unfinished work are not recorded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, cast

from specialists.errors import DamagedError, listed
from specialists.files.artifacts import read_json, sha256
from specialists.files.cleaned import removed_digest, removed_files
from specialists.files.ownership import MANIFEST, recorded_outputs, written_names
from specialists.files.sealed import read_sealed, write_sealed
from specialists.version import __version__

CODE_VERSION = __version__
NAMED_CHANGES = 3

_UNRECORDED_PREFIXES = ("timing", "checkpoint", ".")
_ABSENT = object()


class Manifest(TypedDict):
    """What a manifest holds. Only ``outputs`` is in each; a key may name more than the others."""

    code: str
    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]


def manifest_key(inputs: Mapping[str, str], config: Mapping[str, object]) -> dict[str, object]:
    """What a result depends on: hashes of inputs by path, configuration, and the code's version."""
    return _through_json({"inputs": dict(inputs), "config": dict(config), "code": CODE_VERSION})


def hash_files(folder: str | Path, patterns: Iterable[str]) -> dict[str, str]:
    """The sha256 of every recorded file below ``folder`` that a glob pattern names, by path.

    Where there is a manifest, a file that it does not record is somebody else's. A file that was
    removed on purpose has the SHA-256 that it had.
    """
    folder, patterns = Path(folder), tuple(patterns)
    found = {file for pattern in patterns for file in folder.glob(pattern) if _is_recorded(file)}
    outputs = cache(recorded_outputs)
    digests = {file: sha256(file) for file in found if _is_result(file, folder, outputs)}
    digests |= dict(pair for pattern in patterns for pair in removed_files(folder, pattern))
    return {file.relative_to(folder).as_posix(): digests[file] for file in sorted(digests)}


def finish(
    folder: str | Path, key: Mapping[str, object], outside: Iterable[str | Path] = ()
) -> None:
    """Declare a result complete: hash its outputs and write the manifest.

    Parameters
    ----------
    folder : path
        Everything that its list says we wrote is an output; without a list, everything in it. The
        manifest itself, hidden files and files named ``timing*``, ``checkpoint*`` or ``*.tmp`` are
        none. Of a folder inside that has a manifest of its own, only that manifest is recorded.
    key : mapping
        JSON-able, see `manifest_key`.
    outside : paths, optional
        Outputs that lie elsewhere.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    outputs = {file.relative_to(folder).as_posix(): sha256(file) for file in _outputs(folder)}
    for file in outside:
        outputs[Path(os.path.relpath(file, folder)).as_posix()] = sha256(file)
    content = {**dict(sorted(_through_json(key).items())), "outputs": dict(sorted(outputs.items()))}
    write_sealed(folder / MANIFEST, content)


def is_done(folder: str | Path, key: Mapping[str, object]) -> str | None:
    """None if the result in ``folder`` holds for ``key``, else the reason in words.

    Returns
    -------
    str or None
        For instance "missing", "config changed: generalist.epochs 6 -> 8", "input
        prepare-data/train.labels.npy changed", "output weights.safetensors is gone".
    """
    folder = Path(folder)
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        return "missing"
    except DamagedError:
        return f"{MANIFEST} cannot be read"
    recorded = {name: value for name, value in manifest.items() if name != "outputs"}
    return _key_change(recorded, _through_json(key)) or _output_change(folder, manifest["outputs"])


def read_manifest(folder: str | Path) -> Manifest:
    """What `finish` wrote, or a version before this one.

    Raises a DamagedError if that has changed, a FileNotFoundError if there is no manifest.
    """
    file = Path(folder) / MANIFEST
    manifest = read_json(file)
    older = isinstance(manifest, dict) and manifest.get("code", CODE_VERSION) != CODE_VERSION
    if not older:
        manifest = read_sealed(file)
    recorded = (manifest.get("outputs"), manifest.get("inputs", {}))
    if not all(isinstance(part, dict) for part in recorded):
        raise DamagedError("this manifest does not record files by name", where=file)
    return cast(Manifest, manifest)


def file_change(file: Path, digest: str) -> str | None:
    """What happened to a file since its SHA-256 was recorded: "is gone", "changed", or nothing.

    Nothing if it was removed on purpose.
    """
    if not file.is_file():
        return None if removed_digest(file) == digest else "is gone"
    return None if sha256(file) == digest else "changed"


def describe_changes(old: object, new: object) -> str:
    """What differs between two JSON-able values, in words; empty if nothing does.

    Examples
    --------
    >>> describe_changes({"generalist": {"epochs": 6}}, {"generalist": {"epochs": 8}, "seed": 1})
    'generalist.epochs 6 -> 8, seed nothing -> 1'
    """
    return listed(_changes(_through_json(old), _through_json(new)), NAMED_CHANGES)


def _is_recorded(file: Path) -> bool:
    hidden_or_timed = file.name.startswith(_UNRECORDED_PREFIXES)
    return file.is_file() and not hidden_or_timed and file.suffix != ".tmp"


def _is_result(file: Path, top: Path, outputs: Callable[[Path], Mapping | None]) -> bool:
    """Whether every manifest above records what lies below it: the file, or the one before."""
    for folder in file.parents:
        if not folder.is_relative_to(top):
            break
        names = outputs(folder)
        if names is not None and file != folder / MANIFEST:
            if file.relative_to(folder).as_posix() not in names:
                return False
            file = folder / MANIFEST
    return True


def _outputs(folder: Path, inner: Path | None = None) -> Iterator[Path]:
    names = written_names(folder)
    for path in sorted((inner or folder).iterdir()):
        if path.is_dir():
            if recorded_outputs(path) is not None:
                yield path / MANIFEST
            elif not path.is_symlink():
                yield from _outputs(folder, path)
        elif names is not None and path.relative_to(folder).as_posix() not in names:
            continue  # somebody else's
        elif _is_recorded(path) and path != folder / MANIFEST:
            yield path


def _through_json(key: object) -> Any:
    """A key as it reads back from JSON."""
    return json.loads(json.dumps(key))


def _key_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    if old.get("code") != new.get("code"):
        return f"code version {old.get('code')} -> {new.get('code')}"
    for name in sorted((old.keys() | new.keys()) - {"code", "inputs"}):
        changes = list(_changes(old.get(name, _ABSENT), new.get(name, _ABSENT)))
        if changes:
            return f"{name} changed: {listed(changes, NAMED_CHANGES)}"
    old, new = old.get("inputs", {}), new.get("inputs", {})
    changes = [f"{name} is gone" for name in sorted(old.keys() - new.keys())]
    changes += [f"{name} changed" for name in sorted(old.keys() & new) if old[name] != new[name]]
    changes += [f"{name} is new" for name in sorted(new.keys() - old.keys())]
    return f"input {listed(changes, NAMED_CHANGES)}" if changes else None


def _output_change(folder: Path, outputs: dict[str, str]) -> str | None:
    for name, recorded in outputs.items():
        file = folder / name
        change = file_change(file, recorded)
        if change is not None:
            return f"output {name} {change}"
        inner = recorded_outputs(file.parent) if file.name == MANIFEST else None
        change = _output_change(file.parent, inner or {})
        if change is not None:
            return f"{change} (in {Path(name).parent.as_posix()})"
    return None


def _changes(old: object, new: object, name: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{name}.{key}" if name else key
            yield from _changes(old.get(key, _ABSENT), new.get(key, _ABSENT), inner)
    elif old != new:
        yield f"{name} {_shown(old)} -> {_shown(new)}".strip()


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
