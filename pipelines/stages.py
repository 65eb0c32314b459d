"""In which order do the stages run, and how far has a run come?"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from specialists.errors import InputError

from . import (
    cluster_classes,
    combine_predictions,
    distill_student,
    evaluate_models,
    prepare_data,
    train_generalist,
    train_specialists,
    write_report,
)
from .runs import Run
from .stage import MISSING, Stage, run_stage, what_changed, why_not_done

STAGES: tuple[Stage, ...] = (
    prepare_data.STAGE,
    train_generalist.STAGE,
    cluster_classes.STAGE,
    train_specialists.STAGE,
    combine_predictions.STAGE,
    distill_student.STAGE,
    evaluate_models.STAGE,
    write_report.STAGE,
)


@dataclass(frozen=True)
class StageStatus:
    """How a stage stands.

    Parameters
    ----------
    name : str
    state : {"done", "stale", "missing"}
    reason : str
        Why it is stale; empty otherwise.
    """

    name: str
    state: str
    reason: str = ""


def find_stage(name: str) -> Stage:
    """The stage called ``name``.

    Raises
    ------
    InputError
        If there is none; it names the nearest.
    """
    known = {stage.name: stage for stage in STAGES}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        "no such stage",
        got=name,
        expected="one of " + ", ".join(known),
        fix=f"did you mean `{near[0]}`?" if near else None,
    )


def run_stages(run: Run, until: str | None = None, force: Collection[str] = ()) -> None:
    """Make every stage up to ``until``, in order, as far as its result does not hold.

    Parameters
    ----------
    run : Run
    until : str, optional
        Last stage; None: all.
    force : collection of str
        Stages that are made again although their result holds.
    """
    forced = {find_stage(name).name for name in force}
    for stage in chosen(until, force):
        run_stage(run, stage, stage.name in forced)


def chosen(until: str | None = None, force: Collection[str] = ()) -> tuple[Stage, ...]:
    """The stages up to ``until``, in order.

    Raises
    ------
    InputError
        A name is that of no stage, or a stage of ``force`` comes after ``until``.
    """
    last = find_stage(until or STAGES[-1].name)
    stages = STAGES[: STAGES.index(last) + 1]
    for name in force:
        if find_stage(name) not in stages:
            raise InputError(
                f"--force {name} asks for a stage after --until {until}",
                fix="force an earlier stage, or leave out --until",
            )
    return stages


def check_earlier(run: Run, stage: Stage) -> None:
    """Check that every stage before ``stage`` is done, wherever the user's own files are now.

    Raises
    ------
    InputError
        For the first that is not; it names the command that makes it.
    """
    for earlier in STAGES[: STAGES.index(stage)]:
        reason = what_changed(run, earlier)
        if reason is not None:
            state = "missing" if reason == MISSING else f"stale: {reason}"
            raise InputError(
                f"{stage.name} needs {earlier.name}, which is {state}",
                where=run.folder,
                fix=f"`specialists {earlier.name} {run.folder}` makes it, "
                f"`specialists run --out {run.folder}` makes everything that is missing",
            )


def status(run: Run) -> Iterator[StageStatus]:
    """How every stage stands, in order; what comes after a stage that is not done is stale too."""
    waits_for = None
    for stage in STAGES:
        reason = why_not_done(run, stage)
        if reason is None and waits_for is not None:
            reason = f"{waits_for} comes first"
        if reason is None:
            yield StageStatus(stage.name, "done")
            continue
        waits_for = waits_for or stage.name
        missing = reason == MISSING
        yield StageStatus(stage.name, "missing" if missing else "stale", "" if missing else reason)
