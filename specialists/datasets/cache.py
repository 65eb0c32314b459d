"""Where do data sets lie that were built once? Under ``$XDG_CACHE_HOME/specialists``.

A built data set is a folder named by a hash of all that went into it (versions of the sources,
preprocessing, recipe), written whole under a temporary name and renamed. A folder that cannot be
read is built again; a cache that cannot be written costs time and no more.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from specialists.datasets.base import Dataset
from specialists.datasets.storage import load_dataset_folder, remove_dataset, save_dataset
from specialists.errors import DataError, DataWarning


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/specialists``, or ``~/.cache/specialists``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".cache"
    return base / "specialists"


def cached(name: str, key: Mapping[str, Any], build: Callable[[], Dataset]) -> Dataset:
    """The data set of this name and key, from the cache or from ``build()``."""
    told = json.dumps(key, sort_keys=True, default=str)
    folder = cache_folder() / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
    if folder.exists():
        try:
            return load_dataset_folder(folder, test_labels=True)
        except (DataError, ValueError, KeyError, TypeError, OSError):
            remove_dataset(folder)
    dataset = build()
    try:
        _store(dataset, folder)
    except OSError as error:
        message = f"the data set {name!r} could not be cached in {folder}: {error}"
        warnings.warn(message, DataWarning, stacklevel=2)
    return dataset


def _store(dataset: Dataset, folder: Path) -> None:
    temporary = folder.with_name(f".tmp-{secrets.token_hex(4)}-{folder.name}")
    try:
        save_dataset(dataset, temporary)
        os.rename(temporary, folder)
    except OSError:
        if not folder.exists():  # otherwise another process was first, with the same bytes
            raise
    finally:
        remove_dataset(temporary)
