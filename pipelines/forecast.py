"""What will a run take? It is told before anything is trained, or instead (``--dry-run``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from specialists.config import Config
from specialists.datasets import load_dataset
from specialists.datasets.base import Dataset
from specialists.datasets.storage import load_dataset_folder
from specialists.feasibility import check_settings, trainings
from specialists.feasibility.estimate import (
    CLUSTERS,
    COMBINATION,
    DATA,
    EVALUATION,
    Part,
    Planner,
    RunEstimate,
)
from specialists.feasibility.rates import StepRate, measured_rate
from specialists.feasibility.trainings import PlannedTrainings, planned_trainings
from specialists.files import CODE_VERSION, Trust, check_networks, check_trusted, is_done
from specialists.report.numbers import disk_space, enumerated
from specialists.runtime import n_cores, spoken_time, threads

from .baselines import baseline_tasks, budget_of
from .classifiers import TrainingTask
from .context import RunContext
from .distill_student import student_tasks
from .pieces import shape_of
from .runs import Run
from .shared_specialists import shared_tasks
from .stages import chosen, remaining
from .student_networks import spec_of_size
from .student_search import in_any_rung
from .terminal import log
from .train_generalist import initial_generalists, width_task
from .train_specialists import specialist_tasks

PARTS = {
    "prepare-data": (DATA,),
    "train-generalist": (trainings.GENERALIST,),
    "cluster-classes": (trainings.CROSS_FITTED, CLUSTERS),
    "train-specialists": (trainings.INDEPENDENT, trainings.CLUSTERED, trainings.SHARED),
    "combine-predictions": (COMBINATION,),
    "distill-student": (trainings.STUDENTS,),
    "evaluate-models": (trainings.RIVALS, EVALUATION),
}
ALONE = (trainings.GENERALIST, trainings.INDEPENDENT)  # a single one is trained with all threads


def dry_run(
    run: Run, settings: Config, until: str | None = None, force: Collection[str] = ()
) -> Iterator[str]:
    """What `specialists run` would do with these settings; nothing is written in the run folder.

    The caller vouches for the functions that ``settings`` names.
    """
    run.suppose(settings)
    run.trust |= Trust.from_config(settings)
    if settings.threads:
        threads(settings.threads)
    yield f"a dry run of {run.folder}: nothing is written"
    yield from plan_lines(run, until, force)


def log_forecast(run: Run, until: str | None = None, force: Collection[str] = ()) -> None:
    """Log what the stages that are left will take, once the data are prepared."""
    what = "what is left of this run"
    try:
        left = [stage.name for stage in remaining(run, until, force) if stage.name in PARTS]
        if not left or "prepare-data" in left:
            return
        if len(left) == len(PARTS) - 1:
            what = "this run"
        log.info(f"{what} {spoken(RunEstimate.of(_parts(run, left, force)), run.config.clean)}")
    except Exception as error:  # of a user's network, too: training will tell it
        log.info(f"{what}: time, memory and disk cannot be told ({_in_a_line(error)})")


def plan_lines(run: Run, until: str | None = None, force: Collection[str] = ()) -> Iterator[str]:
    """What a run would do, a line a stage, and what it would take."""
    left = {stage.name: stage.reason for stage in remaining(run, until, force)}
    parts, told = [], "nothing is left to be done"
    if left:
        try:
            parts = _parts(run, list(left), force)
            told = f"this {spoken(RunEstimate.of(parts), run.config.clean)}"
        except Exception as error:
            told = f"time, memory and disk cannot be told ({_in_a_line(error)})"
    for stage in chosen(until, force):
        if stage.name not in left:
            yield f"{stage.name:<20} is done already"
            continue
        of_stage = [part for part in parts if part.kind in PARTS.get(stage.name, ()) and part.n]
        work = [f"{part.n} {part.kind}{'s' * (part.n > 1)}" for part in of_stage]
        why = f" ({left[stage.name]})" if left[stage.name] else ""
        yield f"{stage.name:<20} {f'trains {enumerated(work)}' if work else 'is to be made'}{why}"
    yield told


def _parts(run: Run, stages: Sequence[str], force: Collection[str]) -> list[Part]:
    """What each part of these stages takes.

    Raises whatever the data or a user's network raise, and what is wrong with the settings: no
    network that cannot be trained is built to be measured.
    """
    with run.trusting():
        dataset = _dataset(run, "prepare-data" in stages)
        check_settings(run.config, shape_of(dataset))
        config = run.config.resolve(dataset.kind)
        check_networks(config, run.config_file)
        context = RunContext.before_files(run.folder, config, dataset)
        plans = planned_trainings(config, shape_of(dataset))
        single = [kind for kind in ALONE if sum(p.n for p in plans if p.kind == kind) == 1]
        rates = [_rate(context, plan, plan.kind not in single) for plan in plans]
        base = plans[0]
        rival = _rate(context, base, True) if base.kind in single and run.jobs > 1 else rates[0]
        standing = _standing(context, stages[0]) if stages[0] not in force else Counter()
        planner = Planner(config, dataset, run.jobs)
        parts = planner.parts(list(zip(plans, rates, strict=True)), rival, standing)
    wanted = {kind for stage in stages for kind in PARTS.get(stage, ())}
    return [part for part in parts if part.kind in wanted]


def _dataset(run: Run, is_missing: bool) -> Dataset:
    """The prepared data, or what would be prepared; the latter is not written anywhere."""
    if not is_missing:
        return load_dataset_folder(run.path("prepare-data"))
    data = run.config.as_trained().data
    if data.factory:
        check_trusted(data.factory, data.options, run.config_file)
    return load_dataset(data, run.config.seed)


def _rate(context: RunContext, plan: PlannedTrainings, one_thread: bool) -> StepRate:
    train, hardware = context.dataset.train, context.hardware
    return measured_rate(plan, train, hardware, context.augment, one_thread)


def _standing(context: RunContext, stage: str) -> Counter[str]:
    """How many trainings of each kind stand already in the first stage that is to be made."""
    standing = Counter[str]()
    for kind, task in _tasks(context, stage):
        try:
            key = {"code": CODE_VERSION, **task.key(context)}
        except FileNotFoundError:  # of what it depends on
            continue
        standing[kind] += is_done(task.folder, key) is None
    return standing


def _tasks(context: RunContext, stage: str) -> Iterator[tuple[str, TrainingTask]]:
    """The trainings of a stage whose earlier stages are done, each with its kind."""
    settings = context.config
    given = settings.generalist.weights or settings.generalist.predictions
    if stage == "train-generalist" and not given:
        for width in settings.generalist.widths or ():
            yield trainings.GENERALIST, width_task(context, width)
    elif stage == "train-specialists":
        yield from ((trainings.INDEPENDENT, task) for task in initial_generalists(context))
        yield from ((trainings.CLUSTERED, task) for task in specialist_tasks(context))
        yield from ((trainings.SHARED, task) for task in shared_tasks(context))
    elif stage == "distill-student":
        tasks = student_tasks(context, spec_of_size(context))
        yield from ((trainings.STUDENTS, task) for task in in_any_rung(context, tasks))
    elif stage == "evaluate-models" and settings.evaluation.trained_baselines:
        of_name = baseline_tasks(context, budget_of(context))
        yield from ((trainings.RIVALS, task) for tasks in of_name.values() for task in tasks)


def spoken(estimate: RunEstimate, clean: bool = False) -> str:
    """For instance "takes about 2 to 4 minutes, 1.2 GB of memory and 290 MB of disk on 2 cores".

    ``clean``: a part of the disk is free again at the end.
    """
    memory, disk = (disk_space(float(f"{n:.1e}")) for n in (estimate.memory, estimate.disk))
    time = spoken_time(estimate.least, estimate.most)
    about = "" if time.startswith("a ") else "about "
    cores = f"{n_cores()} core{'s' * (n_cores() > 1)}"
    freed = " (less when it is finished)" * clean
    return f"takes {about}{time}, {memory} of memory and {disk} of disk{freed} on {cores}"


def _in_a_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
