"""Where do data sets lie that were built once? Under ``$XDG_CACHE_HOME/specialists``.

A built data set is a folder named by a hash of all that went into it (versions of the sources,
preprocessing, recipe), written whole under a temporary name and renamed. Its manifest holds
checksums: a folder that is damaged is told and built again. A cache that cannot be written, or has
no home, costs time and no more.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from specialists.datasets.base import Dataset
from specialists.datasets.storage import load_dataset_folder, remove_dataset, save_dataset
from specialists.errors import DataWarning
from specialists.runs import CODE_VERSION, finish, is_done, manifest_key

log = logging.getLogger(__name__)


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
    described = json.dumps({**key, "code": CODE_VERSION}, sort_keys=True, default=str)
    folder = base / f"{name}-{hashlib.sha256(described.encode()).hexdigest()[:16]}"
    manifest = manifest_key({}, {"key": described})
    if os.path.exists(folder):  # False where it may not be looked at
        reason = is_done(folder, manifest)
        if reason is None:
            return load_dataset_folder(folder, test_labels=True)
        log.warning(f"the cached data set {folder} is damaged ({reason}): it is built again")
        remove_dataset(folder)
    dataset, temporary = build(), folder.with_name(f".tmp-{secrets.token_hex(4)}-{folder.name}")
    try:
        save_dataset(dataset, temporary)
        finish(temporary, manifest)
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
