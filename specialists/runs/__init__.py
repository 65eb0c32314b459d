"""A run folder: artifacts written whole or not at all, manifests that say what still holds."""

from specialists.runs.artifacts import (
    atomic_write,
    read_array,
    read_json,
    read_tensors,
    remove_leftovers,
    sha256,
    write_array,
    write_json,
    write_tensors,
    write_text,
)
from specialists.runs.folder import Run
from specialists.runs.manifests import (
    CODE_VERSION,
    describe_changes,
    finish,
    hash_files,
    is_done,
    manifest_key,
)
from specialists.runs.units import build_unit

__all__ = [
    "CODE_VERSION",
    "Run",
    "atomic_write",
    "build_unit",
    "describe_changes",
    "finish",
    "hash_files",
    "is_done",
    "manifest_key",
    "read_array",
    "read_json",
    "read_tensors",
    "remove_leftovers",
    "sha256",
    "write_array",
    "write_json",
    "write_tensors",
    "write_text",
]
