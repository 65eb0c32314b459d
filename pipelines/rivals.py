"""What remains of a rival, which is there to be compared with: predictions, and weights if wanted.

Its predictions of validation and test rows are written as soon as it is trained. Then its weights
go, unless ``evaluation.keep_rivals`` is set or they take less room. What counts its operations
builds its network from its description.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from specialists.errors import DamagedError
from specialists.files import write_array
from specialists.files.ownership import MANIFEST
from specialists.networks import read_model

from .classifiers import WEIGHTS, ClassifierTask, Member, predictions_file
from .context import RunContext
from .runs import clear, reopen
from .terminal import log

SPLITS = ("validation", "test")
BYTES = 4  # of a number of its predictions


@dataclass(frozen=True)
class RivalTask(ClassifierTask):
    """A classifier that is only there to be compared with.

    Parameters
    ----------
    keep : bool
        Whether its weights stay beside its predictions.
    """

    keep: bool = False

    def train(self, context: RunContext, folder: Path) -> None:
        if not self._is_trained(folder):
            for split in SPLITS:
                predictions_file(folder, split).unlink(missing_ok=True)
            super().train(context, folder)
        if _predictions_are_smaller(context, folder):
            rival = Member(context, folder)
            for split in SPLITS:
                file = predictions_file(folder, split)
                if not file.is_file():
                    predicted = rival.predict(context.split(split).inputs)
                    write_array(file, predicted.dense().numpy())
            if not self.keep:
                (folder / WEIGHTS).unlink(missing_ok=True)

    def _is_trained(self, folder: Path) -> bool:
        """Whether an attempt that was interrupted had nothing left to train."""
        if not (folder / "result.json").is_file():
            return False
        if not self.keep and _has_predictions(folder):
            return True
        with suppress(DamagedError):
            read_model(folder)
            return True
        return False


def settle(context: RunContext, tasks: Iterable[RivalTask]) -> None:
    """Make finished rivals unfinished that have too little or too much, and say what is made again.

    One that lacks its weights, which are now to be kept, is removed, and one that has them too long
    only loses its manifest: what is left of it needs no training.
    """
    lacking = []
    for task in tasks:
        folder = task.folder
        if not (folder / MANIFEST).is_file():
            continue
        has_weights = (folder / WEIGHTS).is_file()
        if task.keep and not has_weights:
            clear(folder)
            lacking.append(folder.name)
        elif not task.keep and has_weights and _predictions_are_smaller(context, folder):
            reopen(folder, task.key(context))
    if lacking:
        log.info(
            f"evaluate-models: the weights of {', '.join(lacking)} were not kept, and "
            "evaluation.keep_rivals asks for them: trained again"
        )


def _has_predictions(folder: Path) -> bool:
    return all(predictions_file(folder, split).is_file() for split in SPLITS)


def _predictions_are_smaller(context: RunContext, folder: Path) -> bool:
    """Than the weights; those are gone only where they were larger."""
    if not (folder / WEIGHTS).is_file():
        return True
    n_rows = sum(len(context.split(split)) for split in SPLITS)
    n_bytes = BYTES * n_rows * context.dataset.n_classes
    return n_bytes < (folder / WEIGHTS).stat().st_size
