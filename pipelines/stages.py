"""Which stages are there, in which order do they run, and how far has a run come?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from specialists.errors import InputError
from specialists.feasibility import check_settings

from .checks import check_run
from .runs import Run
from .stage import MISSING, Stage, run_stage, what_changed, why_not_done


def _lazily(module: str) -> Callable[[Run], None]:
    """``execute`` of a module that is imported when it is called, since PyTorch takes long."""

    def execute(run: Run) -> None:
        import_module(f".{module}", __package__).execute(run)

    return execute


TRAINED = ("seed", "device", "precision", "data", "generalist")
EVALUATED = (*TRAINED, "clusters", "specialists", "combination", "student", "evaluation")
DATA = ("prepare-data/dataset.json", "prepare-data/train.*", "prepare-data/validation.*")
ALL_RESULTS = (
    "prepare-data/*",
    "train-generalist/*",
    "cluster-classes/*",
    "train-specialists/specialist-*/*",
    "train-specialists/independent-*/*",
    "combine-predictions/*",
    "distill-student/*",
    "distill-student/student/*",
    "distill-student/student_hard_labels/*",
)
STAGES: tuple[Stage, ...] = (
    Stage(
        name="prepare-data",
        summary="Load, split and encode the data set.",
        sections=("seed", "data"),
        inputs=(),
        execute=_lazily("prepare_data"),
        check=lambda run: check_settings(run.config),
        files=("data.table", "data.arrays", "data.images", "data.factory"),
    ),
    Stage(
        name="train-generalist",
        summary="Train a generalist of each candidate width and keep the best.",
        sections=TRAINED,
        inputs=DATA,
        execute=_lazily("train_generalist"),
        check=check_run,
        files=("generalist.weights", "generalist.classes", "generalist.factory"),
    ),
    Stage(
        name="cluster-classes",
        summary="Find the classes that the generalist confuses with each other.",
        sections=(*TRAINED, "clusters"),
        inputs=(*DATA, "train-generalist/*"),
        execute=_lazily("cluster_classes"),
        check=check_run,
    ),
    Stage(
        name="train-specialists",
        summary="Train one specialist for each cluster of classes.",
        sections=(*TRAINED, "specialists"),
        inputs=(*DATA, "train-generalist/*", "cluster-classes/clusters.json"),
        execute=_lazily("train_specialists"),
        check=check_run,
    ),
    Stage(
        name="combine-predictions",
        summary="Choose how generalist and specialists are combined.",
        sections=(*TRAINED, "specialists", "combination"),
        inputs=(
            "prepare-data/dataset.json",
            "prepare-data/validation.*",
            "prepare-data/gate.*",
            "prepare-data/test.inputs*",
            "train-generalist/*",
            "cluster-classes/clusters.json",
            "cluster-classes/costs.json",
            "train-specialists/specialist-*/*",
            "train-specialists/independent-*/*",
        ),
        execute=_lazily("combine_predictions"),
        check=check_run,
    ),
    Stage(
        name="distill-student",
        summary="Train a student on the ensemble's predictions.",
        sections=(*TRAINED, "specialists", "student"),
        inputs=(
            *DATA,
            "train-generalist/*",
            "cluster-classes/clusters.json",
            "train-specialists/specialist-*/*",
            "combine-predictions/choice.json",
            "combine-predictions/validation.*",
        ),
        execute=_lazily("distill_student"),
        check=check_run,
        files=("student.unlabelled",),
    ),
    Stage(
        name="evaluate-models",
        summary="Train the baselines and measure all models.",
        sections=EVALUATED,
        inputs=ALL_RESULTS,
        execute=_lazily("evaluate_models"),
        check=partial(check_run, unlabelled=False),
        outputs=("evaluation.json",),
    ),
    Stage(
        name="write-report",
        summary="Write one HTML file with the results and figures.",
        sections=(*EVALUATED, "report"),
        inputs=(
            *ALL_RESULTS,
            "evaluation.json",
            "evaluate-models/details.json",
            "evaluate-models/controls/*/*",
        ),
        execute=_lazily("write_report"),
        outputs=("report.html",),
    ),
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
