"""Where a model's predictions are there and its weights are not: what makes these?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specialists.errors import InputError
from specialists.files import read_json
from specialists.files.cleaned import removed_digest

WEIGHTS = "weights.safetensors"
PREDICTED = "test.calibrated.npy"
EVALUATION = "evaluate-models"


def keeping_command(folder: Path, command: str = "run") -> str:
    """What makes the weights of the baselines of a run, or of a comparison's runs."""
    return f"specialists {command} --out {folder} --set evaluation.keep_rivals=true"


def is_dropped(folder: Path) -> bool:
    """Whether a trained baseline kept its predictions alone, or nothing."""
    cleaned = any(removed_digest(folder / name) for name in (PREDICTED, WEIGHTS))
    return ((folder / PREDICTED).is_file() or cleaned) and not (folder / WEIGHTS).is_file()


def lacks_weights(run: Path, name: str) -> bool:
    """Whether a model of an evaluated run needs weights of baselines that were not kept.

    Other models keep theirs in their own folders, whatever becomes of the trainings they came from.
    """
    trainings = read_json(run / EVALUATION / "trainings.json").get(name, ())
    baselines = [folder for folder in trainings if Path(folder).parts[0] == EVALUATION]
    return any(is_dropped(run / folder) for folder in baselines)


def refuse_dropped(folders: Sequence[Path], run: Path) -> None:
    """Raise an InputError where a baseline kept its predictions alone; it names the command.

    ``run`` is the run that the folders lie in, or the folder of one of its baselines.
    """
    dropped = [folder for folder in folders if is_dropped(folder)]
    if dropped:
        run = run.absolute().parent.parent.parent if run in dropped else run
        raise InputError(
            "the weights of this baseline were not kept, only its predictions of the run's rows",
            where=dropped[0],
            fix=f"`{keeping_command(run)}` trains it again and keeps them",
        )
