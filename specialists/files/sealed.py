"""Has this JSON file, or a file that it vouches for, changed since it was written?

A sealed file holds the SHA-256 of its own content in canonical JSON, under ``sha256``, and often
those of other files, by name. It shows damage and mixed parts. It is no signature: whoever changes
a file on purpose can seal it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specialists.errors import DamagedError
from specialists.files.artifacts import making_again, read_json, sha256, write_json

SEAL = "sha256"


def fingerprint(value: object) -> str:
    """SHA-256 of a JSON-able value in canonical form: sorted keys, no white space.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_sealed(path: str | Path, content: Mapping[str, object]) -> None:
    """Write a JSON object with the fingerprint of its own content; read it by `read_sealed`."""
    write_json(path, {**content, SEAL: fingerprint(content)})


def read_sealed(path: str | Path) -> dict[str, Any]:
    """What `write_sealed` wrote, without its seal.

    Raises a DamagedError if that has changed, a FileNotFoundError if there is no such file.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get(SEAL), str):
        raise DamagedError(
            "this file has no checksum",
            where=path,
            expected="a JSON object that this version wrote; older versions wrote none",
            fix=_cure(path),
        )
    seal = content.pop(SEAL)
    if fingerprint(content) != seal:
        raise DamagedError(
            "this file is damaged or was changed by hand",
            where=path,
            got="another checksum than the one it holds",
            fix=_cure(path),
        )
    return content


def check_file(path: Path, digest: object) -> None:
    """Raise a DamagedError unless the file is there and has this SHA-256."""
    if not path.is_file():
        raise DamagedError("a file is missing", where=path, fix=_cure(path))
    if sha256(path) != digest:
        raise DamagedError(
            "this file is damaged, or is not the one that was written with its description",
            where=path,
            got="another checksum than the recorded one",
            fix=_cure(path),
        )


def _cure(path: str | Path) -> str:
    return f"copy it again from where it came, or make it again: {making_again(path)}"
