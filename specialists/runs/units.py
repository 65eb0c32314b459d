"""Results inside a stage that stand alone: each specialist, each tuning trial, each control.

A unit is a folder with a manifest of its own. One that holds is kept; one that was interrupted
goes on from its checkpoint, unless what it depends on has changed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from specialists.errors import DamagedError
from specialists.runs.artifacts import read_json, write_json
from specialists.runs.manifests import CODE_VERSION, finish, is_done

STARTED = ".started.json"


def build_unit(folder: Path, key: Mapping[str, Any], build: Callable[[Path], None]) -> bool:
    """Run ``build(folder)`` unless what lies there holds for ``key``.

    Parameters
    ----------
    folder : Path
    key : mapping
        JSON-able: everything that the result depends on.
    build : callable
        Writes the unit into the folder; may find its own checkpoint there.

    Returns
    -------
    bool
        Whether anything had to be done.
    """
    key = {"code": CODE_VERSION, **key}
    marker = folder / STARTED
    if is_done(folder, key) is None:
        marker.unlink(missing_ok=True)  # of a process killed between manifest and here
        return False
    if not _is_same_attempt(marker, key):
        shutil.rmtree(folder, ignore_errors=True)
        write_json(marker, key)
    build(folder)
    finish(folder, key)
    marker.unlink()
    return True


def _is_same_attempt(marker: Path, key: Mapping[str, Any]) -> bool:
    try:
        return marker.is_file() and read_json(marker) == _plain(key)
    except DamagedError:
        return False


def _plain(key: Mapping[str, Any]) -> Any:
    import json

    return json.loads(json.dumps(key))
