"""Files written whole or not at all; lists and manifests say whose they are, and what holds."""

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
from specialists.runs.disk import storage_error, storage_faults
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
from specialists.runs.sealed import check_file, read_sealed, write_sealed
from specialists.runs.trust import EVERYTHING, NOTHING, Trust, check_trusted, trusting, vouched

__all__ = [
    "CODE_VERSION",
    "COMPARISON",
    "EVERYTHING",
    "NOTHING",
    "RUN",
    "Trust",
    "atomic_write",
    "check_claimable",
    "check_file",
    "check_trusted",
    "claim",
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
    "read_sealed",
    "read_tensors",
    "recording",
    "remove_leftovers",
    "sha256",
    "storage_error",
    "storage_faults",
    "trusting",
    "vouched",
    "write_array",
    "write_json",
    "write_sealed",
    "write_tensors",
    "write_text",
]
