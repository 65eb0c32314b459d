"""Which stages are there, in which order do they run, and how far has a run come?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from specialists.errors import InputError
from specialists.feasibility import check_settings
from specialists.files.cleaned import removed_files

from .run_settings import check_run
from .runs import Run, forget_removed
from .stage import MISSING, Stage, run_stage, what_changed, why_not_done
from .terminal import log


def _stage(
    name: str,
    summary: str,
    sections: tuple[str, ...],
    inputs: tuple[str, ...],
    check: Callable[[Run], None] | None = check_run,
    files: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
) -> Stage:
    """The stage of a module, which is imported when it is executed, since PyTorch takes long."""

    def execute(run: Run) -> None:
        import_module(f".{name.replace('-', '_')}", __package__).execute(run)

    return Stage(name, sections, inputs, execute, files, outputs, check, summary=summary)


LEAST_OF_A_NAME = 4  # letters by which a stage may be meant
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
    _stage(
        "prepare-data",
        "Load, split and encode the data set.",
        ("seed", "data", "generalist.classes"),
        (),
        check=lambda run: check_settings(run.config),
        files=(
            *("data.table", "data.arrays", "data.images", "data.factory", "data.tokenizer"),
            *("generalist.predictions", "generalist.classes"),
        ),
    ),
    _stage(
        "train-generalist",
        "Train the generalist, or take your own. Validation chooses among widths.",
        TRAINED,
        DATA,
        files=(
            *("generalist.weights", "generalist.classes", "generalist.factory"),
            "generalist.pretrained",
        ),
    ),
    _stage(
        "cluster-classes",
        "Find which classes the generalist confuses.",
        (*TRAINED, "clusters"),
        (*DATA, "train-generalist/*"),
        files=("clusters.file",),
    ),
    _stage(
        "train-specialists",
        "Train one specialist for each cluster of classes.",
        (*TRAINED, "specialists"),
        (*DATA, "train-generalist/*", "cluster-classes/clusters.json"),
        files=("specialists.factory",),
    ),
    _stage(
        "combine-predictions",
        "Choose how generalist and specialists are combined.",
        (*TRAINED, "specialists", "combination"),
        (
            "prepare-data/dataset.json",
            "prepare-data/validation.*",
            "prepare-data/admission.*",
            "prepare-data/test.inputs*",
            "train-generalist/*",
            "cluster-classes/clusters.json",
            "cluster-classes/costs.json",
            "train-specialists/specialist-*/*",
            "train-specialists/independent-*/*",
        ),
    ),
    _stage(
        "distill-student",
        "Train a student on the ensemble's predictions.",
        (*TRAINED, "specialists", "student"),
        (
            *DATA,
            "train-generalist/*",
            "cluster-classes/clusters.json",
            "train-specialists/specialist-*/*",
            "combine-predictions/choice.json",
            "combine-predictions/validation.*",
        ),
        files=("student.unlabelled", "student.factory", "student.pretrained"),
    ),
    _stage(
        "evaluate-models",
        "Train the baselines and measure all models.",
        EVALUATED,
        ALL_RESULTS,
        check=partial(check_run, unlabelled=False),
        outputs=("evaluation.json",),
    ),
    _stage(
        "write-report",
        "Write one HTML file with the results and figures.",
        (*EVALUATED, "report"),
        (
            *ALL_RESULTS,
            "evaluation.json",
            "evaluate-models/details.json",
            "evaluate-models/baselines/*/*",
        ),
        check=None,
        outputs=("report.html",),
    ),
)


@dataclass(frozen=True)
class StageStatus:
    """How a stage stands: "done", "stale" (then with the reason) or "missing"."""

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
    holding = [stage for stage in known if len(name) >= LEAST_OF_A_NAME and name in stage]
    near = holding or difflib.get_close_matches(name, known, n=1)
    raise InputError(
        "no such stage",
        got=name,
        expected="one of " + ", ".join(known),
        fix=f"did you mean `{near[0]}`?" if near else None,
    )


TAUGHT = _stage(
    "distill",
    "Train students of teachers that lie elsewhere, whom the command names.",
    ("seed", "device", "precision", "data", "student"),
    DATA,
    check=None,
    files=find_stage("distill-student").files,
)  # none of STAGES: it needs the data alone


def run_stages(
    run: Run,
    until: str | None = None,
    force: Collection[str] = (),
    prepared: Callable[[], None] = lambda: None,
) -> None:
    """Make every stage up to ``until`` (None: all), in order, whose result does not hold.

    Stages of ``force`` are made again although their results hold. Once the data are prepared,
    ``prepared`` is called.
    """
    forced = {find_stage(name).name for name in force}
    _restore_needed(run, until, force)
    for i, stage in enumerate(chosen(until, force)):
        run_stage(run, stage, stage.name in forced)
        if i == 0:
            prepared()


def chosen(until: str | None = None, force: Collection[str] = ()) -> tuple[Stage, ...]:
    """The stages up to ``until``, in order.

    Raises
    ------
    InputError
        If a name is that of no stage, or a stage of ``force`` comes after ``until``.
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
    for cleaned in needed_again(run, [stage.name]):
        raise InputError(
            f"{stage.name} needs files of {cleaned.name} that `specialists clean` removed",
            where=run.folder,
            fix=f"`specialists run --out {run.folder} --force {stage.name}` makes them again",
        )
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


def needed_again(run: Run, left: Collection[str]) -> list[Stage]:
    """Stages of which `specialists clean` removed what the stages of ``left`` read."""
    reads = {glob for stage in STAGES[:-1] if stage.name in left for glob in stage.inputs}
    gone = {file for glob in reads for file, _ in removed_files(run.folder, glob)}
    owners = {file.relative_to(run.folder).parts[0] for file in gone}
    return [stage for stage in STAGES if stage.name in owners - set(left)]


def _restore_needed(run: Run, until: str | None, force: Collection[str]) -> None:
    """Say what `specialists clean` removed, and let what is read again be made again."""
    n_removed = sum(1 for _ in removed_files(run.folder))
    if not n_removed:
        return
    log.info(f"`specialists clean` removed {n_removed} files of this run")
    for stage in needed_again(run, [stage.name for stage in remaining(run, until, force)]):
        log.info(f"{stage.name}: what was removed of it is needed now")
        forget_removed(run.path(stage.name))


def remaining(run: Run, until: str | None = None, force: Collection[str] = ()) -> list[StageStatus]:
    """The stages up to ``until`` that have to be made, and those that have to be made again."""
    forced = {find_stage(name).name for name in force}
    wanted = {stage.name for stage in chosen(until, force)}
    left: list[StageStatus] = []
    for stage in status(run):
        if stage.name not in wanted:
            break
        if stage.state != "done" or stage.name in forced:
            left.append(stage)
    return left


def status(run: Run, some: Iterable[Stage] | None = None) -> Iterator[StageStatus]:
    """How every stage, or each of ``some``, stands.

    What comes after a stage that is not done is stale too.
    """
    waits_for = None
    for stage in STAGES if some is None else some:
        reason = why_not_done(run, stage) or (waits_for and f"{waits_for} comes first")
        if reason is None:
            yield StageStatus(stage.name, "done")
            continue
        waits_for = waits_for or stage.name
        missing = reason == MISSING
        yield StageStatus(stage.name, "missing" if missing else "stale", "" if missing else reason)
