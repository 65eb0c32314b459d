"""How does an unfinished training go on, and what if its checkpoint is damaged?

``checkpoint.json`` beside ``checkpoint.pt`` holds the SHA-256 of the last checkpoints and of the
one that takes their place, so that a kill at any moment leaves one that it knows. One that it
does not know is reported and removed: the training starts again, as if there had been none.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specialists.errors import DamagedError
from specialists.files import atomic_write, read_sealed, sha256, write_sealed

log = logging.getLogger(__name__)

CHECKPOINT, CHECKSUMS = "checkpoint.pt", "checkpoint.json"


def save_checkpoint(folder: Path, state: Mapping[str, object]) -> None:
    """Put ``state`` (tensors, numbers, strings, lists, dicts) in the place of the last one.

    Tensors that stand twice in it are written once.
    """
    file = folder / CHECKPOINT
    with atomic_write(file) as temporary:
        torch.save(state, temporary)
        known = [*_last_checksums(folder), sha256(temporary)]
        write_sealed(folder / CHECKSUMS, {"checkpoints": known})


def load_checkpoint(
    folder: Path, device: torch.device, like: Mapping[str, Tensor]
) -> dict[str, Any] | None:
    """What was saved last, with weights shaped ``like`` these; None if nothing can be used."""
    file = folder / CHECKPOINT
    if not file.is_file():
        return None
    try:
        found = sha256(file)
        if found not in read_sealed(folder / CHECKSUMS)["checkpoints"]:
            raise ValueError("another checksum than the recorded one")
        write_sealed(folder / CHECKSUMS, {"checkpoints": [found]})
        saved = torch.load(file, map_location=device, weights_only=True)
        for weights in (saved["network"], saved["best"]):
            if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in like.items()}:
                raise ValueError("weights of another network")
        return saved
    except (DamagedError, FileNotFoundError) as error:
        reason = f"{CHECKSUMS}: {getattr(error, 'what', 'missing')}"
    except Exception as error:  # whatever torch makes of bytes that are no checkpoint
        reason = str(error).partition("\n")[0] or type(error).__name__
    discard_checkpoint(folder, reason)
    return None


def _last_checksums(folder: Path) -> list[str]:
    """Of the checkpoint that is there, by what was recorded: to read all of it again takes long."""
    if not (folder / CHECKPOINT).is_file():
        return []
    try:
        return list(read_sealed(folder / CHECKSUMS)["checkpoints"])[-2:]
    except (DamagedError, FileNotFoundError, LookupError, TypeError):
        return [sha256(folder / CHECKPOINT)]


def discard_checkpoint(folder: Path, reason: str = "") -> None:
    """Remove the checkpoint of a finished training, or one that cannot be used, saying why."""
    if reason:
        log.warning(f"{folder / CHECKPOINT} is damaged ({reason}): this training starts again")
    for name in (CHECKPOINT, CHECKSUMS):
        (folder / name).unlink(missing_ok=True)
