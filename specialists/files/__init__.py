"""Files written whole or not at all; lists and manifests say whose they are, and what holds."""

from specialists.files.artifacts import (
    atomic_write,
    copy_file,
    read_array,
    read_json,
    sha256,
    write_array,
    write_array_blocks,
    write_json,
    write_text,
)
from specialists.files.disk import disk_use, storage_error, storage_faults
from specialists.files.manifests import (
    CODE_VERSION,
    describe_changes,
    finish,
    hash_files,
    is_done,
    manifest_key,
)
from specialists.files.ownership import claim, is_output_folder, recording
from specialists.files.sealed import check_file, read_sealed, write_sealed
from specialists.files.tensors import dense, read_tensors, write_tensors
from specialists.files.trust import (
    EVERYTHING,
    NOTHING,
    Trust,
    check_networks,
    check_trusted,
    trusting,
    vouched,
)

__all__ = [
    "CODE_VERSION",
    "EVERYTHING",
    "NOTHING",
    "Trust",
    "atomic_write",
    "check_file",
    "check_networks",
    "check_trusted",
    "claim",
    "copy_file",
    "dense",
    "describe_changes",
    "disk_use",
    "finish",
    "hash_files",
    "is_done",
    "is_output_folder",
    "manifest_key",
    "read_array",
    "read_json",
    "read_sealed",
    "read_tensors",
    "recording",
    "sha256",
    "storage_error",
    "storage_faults",
    "trusting",
    "vouched",
    "write_array",
    "write_array_blocks",
    "write_json",
    "write_sealed",
    "write_tensors",
    "write_text",
]
