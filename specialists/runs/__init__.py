"""A run folder: artifacts written whole or not at all, manifests that say what still holds."""

from specialists.runs.artifacts import (
    atomic_write,
    copy_file,
    read_array,
    read_json,
    read_tensors,
    sha256,
    write_array,
    write_json,
    write_tensors,
    write_text,
)
from specialists.runs.folder import Run, claimed
from specialists.runs.manifests import (
    CODE_VERSION,
    describe_changes,
    finish,
    hash_files,
    is_done,
    manifest_key,
)
from specialists.runs.markers import COMPARISON, RUN, check_claimable, is_run_folder, kind_of
from specialists.runs.records import claim, recording
from specialists.runs.removal import clear, remove_leftovers
from specialists.runs.units import build_unit

__all__ = [
    "CODE_VERSION",
    "COMPARISON",
    "RUN",
    "Run",
    "atomic_write",
    "build_unit",
    "check_claimable",
    "claim",
    "claimed",
    "clear",
    "copy_file",
    "describe_changes",
    "finish",
    "hash_files",
    "is_done",
    "is_run_folder",
    "kind_of",
    "manifest_key",
    "read_array",
    "read_json",
    "read_tensors",
    "recording",
    "remove_leftovers",
    "sha256",
    "write_array",
    "write_json",
    "write_tensors",
    "write_text",
]
