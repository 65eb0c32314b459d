"""Which files does a finished run need no longer, and how is it told what they were?

Needed are the models that predict, the data that describe them, and what report and comparison
read. The rest is there for trainings that are over: soft targets, predictions that were measured,
candidates that lost.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from specialists.errors import InputError
from specialists.files import disk_use
from specialists.report.numbers import disk_space

from .kept_weights import WEIGHTS
from .runs import Run, remove_for_good
from .stages import status
from .terminal import log

RIVALS = f"baselines/*/{WEIGHTS}"
INTERMEDIATE = {
    "train-generalist": (f"units/*/{WEIGHTS}",),
    "train-specialists": ("trunk/*.npy", "trunk/log_probs/*.npy", "shortlists/*.npy"),
    "combine-predictions": ("*.npy",),
    "distill-student": ("targets/*.npy", f"trials/*/{WEIGHTS}"),
    "evaluate-models": ("baselines/*/*.npy", RIVALS),
}


def clean_run(run: Run) -> str:
    """Remove what a finished run needs no longer; what that saved, in words.

    Raises an InputError if a stage is not done: what is left to do may read these files.
    """
    unfinished = [stage.name for stage in status(run) if stage.state != "done"]
    if unfinished:
        raise InputError(
            "this run is not finished, and what is left to do may need its files",
            where=run.folder,
            got=f"{unfinished[0]} is not done",
            fix=f"`specialists run --out {run.folder}` finishes it",
        )
    before, n_files = disk_use(run.folder), 0
    for stage, files in intermediate_files(run).items():
        remove_for_good(run.path(stage), files)
        n_files += len(files)
    after = disk_use(run.folder)
    if not n_files:
        return f"nothing is left to remove: {disk_space(after)} in {run.folder}"
    return (
        f"{n_files} files removed: {disk_space(before)} -> {disk_space(after)} in {run.folder}\n"
        "predict, status, report and comparison work as before; a stage that is to be made again "
        "makes what it needs of these files"
    )


def log_cleaning(run: Run) -> None:
    """Clean a run whose settings ask for it; nothing is said where nothing goes."""
    if any(intermediate_files(run).values()):
        log.info(f"clean = true: {clean_run(run)}")


def intermediate_files(run: Run) -> dict[str, list[Path]]:
    """What can go, by stage; files that have another name in the run save nothing and stay."""
    files = [file for file in run.folder.rglob("*") if file.is_file() and not file.is_symlink()]
    names = Counter(file.stat().st_ino for file in files)
    keeps_rivals = run.config.evaluation.keep_rivals
    return {
        stage: [
            file
            for pattern in patterns
            if not (keeps_rivals and pattern == RIVALS)
            for file in sorted(run.path(stage).glob(pattern))
            if file in files and names[file.stat().st_ino] == 1
        ]
        for stage, patterns in INTERMEDIATE.items()
    }
