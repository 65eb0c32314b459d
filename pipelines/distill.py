"""Teachers and one student, no specialist: ``specialists distill --teacher ...``.

A teacher is a run's ensemble, its generalist or a rival of theirs, a model's folder, or nothing but
a file of predictions, which are taken as they are. Several are joined
(:mod:`specialists.distillation.several_teachers`), their classes matched by name. The configuration
gives the student's size beside the first teacher's. The student learns from the soft
targets at each temperature and weight, and lies in ``OUT/distill/student``. Beside it lies
``student_hard_labels``: the same network, trained as long and with as many trials, without teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from specialists.config import Config, Recipe, asks_online
from specialists.datasets.base import Dataset
from specialists.distillation import (
    JoinedTeachers,
    NamedTeacher,
    OnlineTeacher,
    teacher_predictions,
)
from specialists.distillation.several_teachers import Mean
from specialists.ensemble import score
from specialists.errors import InputError, calling
from specialists.files import EVERYTHING, NOTHING, trusting

from .context import RunContext
from .distill_student import student_tasks
from .run_settings import data_of, read_settings, source_and_folder
from .runs import RUN, Run, kind_of
from .soft_targets import write_targets
from .stage import Stage, run_stage
from .stages import STAGES, TAUGHT, find_stage
from .student_networks import spec_of_size
from .student_search import train_and_choose
from .teacher_source import TeacherSource, made_from
from .terminal import log

NAME = TAUGHT.name
NO_TEST_OF_SPECIALISTS = ("data.admission_fraction=0",)  # all validation rows judge the student
OF_A_TRAINING = ("generalist.weights", *(f"generalist.{key}" for key in Recipe.model_fields))
IDLE_BESIDE_A_FILE = (
    *("specialists.start", "specialists.freeze", "evaluation.baselines", "evaluation.keep_rivals"),
    *OF_A_TRAINING,
)
IDLE_BESIDE_A_MODEL = (
    *("generalist.width", "generalist.widths", "generalist.depth", "generalist.embedding_dim"),
    *("generalist.n_buckets", "generalist.head_rank", *OF_A_TRAINING),
)
BEFORE_STUDENTS = ("prepare-data", "train-generalist")  # the latter holds a teacher's file
ANOTHER = "--out of another folder"
OF_A_WHOLE_RUN = ("clusters", "specialists", "combination", "evaluation", "report", "clean")


def distill_settings(
    teachers: Sequence[TeacherSource], out: Path | None, overrides: list[str], trust_code: bool
) -> tuple[Config, Path]:
    """Settings and folder of the student: the first teacher's own settings, changed by ``--set``.

    Raises
    ------
    InputError
        If there is no such teacher, a file of predictions stands without its data or beside
        another, one would lie in the folder of the other or of a whole run, no data are named, or
        the settings cannot work or have no effect.
    """
    for teacher in teachers:
        teacher.check_model()
    _refuse_ignored(overrides, beside_a_file=any(teacher.is_file for teacher in teachers))
    changes = _changes(teachers, overrides)
    source, folder = _source_and_folder(teachers, out, overrides)
    ours, theirs = (" ".join(f"--set {one}" for one in some) for some in (changes, overrides))
    with calling({ours: theirs or "--teacher"}):
        return read_settings(source, changes, trust_code), folder


def _refuse_ignored(overrides: Sequence[str], beside_a_file: bool) -> None:
    """Raise an InputError if ``--set`` gives what the command does not look at a value."""
    given = [key for key, value in _assigned(overrides) if value]
    idle = [key for key in given if key.split(".")[0] in OF_A_WHOLE_RUN]
    what = "distill trains students and no specialists"
    if not (idle or beside_a_file):
        idle = [key for key in given if key in IDLE_BESIDE_A_MODEL]
        what = "the teachers are trained already"
    if idle:
        raise InputError(
            f"these settings have no effect: {what}",
            where="--set",
            got=", ".join(idle),
            fix="leave them out; `specialists run` looks at them",
        )


def _assigned(overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Keys and values of ``--set``; "" restores a default."""
    return [(key.strip(), value) for key, _, value in (each.partition("=") for each in overrides)]


def _source_and_folder(
    teachers: Sequence[TeacherSource], out: Path | None, overrides: list[str]
) -> tuple[str | Path | None, Path]:
    teacher = teachers[0]
    if not teacher.is_model and kind_of(teacher.path) == RUN:
        source, folder = Run(teacher.path).config_file, Path("runs", teacher.path.resolve().name)
    else:
        if data_of(overrides) == ("", ""):
            what = "a model does not say which data its student learns from"
            if any(one.is_file for one in teachers):
                what = "a file of predictions does not say of which data they are"
            raise InputError(
                what,
                where="--teacher",
                got="no data",
                fix="name the data with --set, for instance --set data.arrays=FILE, "
                "or --set data.table=FILE with data.text and data.label",
            )
        source, folder = source_and_folder(None, None, overrides)
    folder = out or folder.with_name(f"{NAME}-{folder.name}")
    ours = folder.resolve()
    for theirs in (teacher.path.resolve() for teacher in teachers):
        if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            what = "student and teacher would share a folder"
            raise InputError(what, where=folder, fix=ANOTHER)
    if any((folder / stage.name).is_dir() for stage in STAGES if stage.name not in BEFORE_STUDENTS):
        what = "this is the folder of a whole run, whose settings a student would replace"
        raise InputError(what, where=folder, fix=ANOTHER)
    return source, folder


def _changes(teachers: Sequence[TeacherSource], overrides: Sequence[str]) -> list[str]:
    """``--set`` with what distillation sets itself; an InputError if several files are named."""
    if not (files := [str(teacher.path.absolute()) for teacher in teachers if teacher.is_file]):
        return [*NO_TEST_OF_SPECIALISTS, *overrides]
    others = [
        value for key, value in _assigned(overrides) if key == "generalist.predictions" and value
    ]
    if len(files) + len(others) > 1:
        raise InputError(
            "one file of predictions at most",
            where="--teacher" + (" and --set generalist.predictions" if others else ""),
            got=" and ".join([*files, *others]),
            fix="average their probabilities into one file",
        )
    idle = [f"{key}=" for key in IDLE_BESIDE_A_FILE]  # a run's settings may be set
    if not made_from(teachers[0].path, Path(files[0])):
        idle.append("generalist.classes=")  # they name other columns
    return [*NO_TEST_OF_SPECIALISTS, *idle, *overrides, f"generalist.predictions={files[0]}"]


def distill(run: Run, teachers: Sequence[TeacherSource], mean: Mean = "arithmetic") -> Path:
    """Prepare the data and train what is missing of the students; returns the student's folder.

    Raises
    ------
    InputError
        If there is no such teacher, none knows all classes, one was trained on other inputs, or
        ``student.teacher`` is "online".
    """
    if asks_online(run.config.student):
        raise InputError(
            "a teacher of another folder is asked once, not about every batch",
            where="student.teacher",
            got="online",
            expected="offline",
            fix="--set student.teacher=offline",
        )
    trusted = any(teacher.trust_code for teacher in teachers)
    with trusting(EVERYTHING if trusted else NOTHING):
        if not run.path("prepare-data").exists():
            for teacher in teachers:  # one that is not there is told before the data are prepared
                if not teacher.is_file:
                    _ = teacher.predictor
        run_stage(run, find_stage("prepare-data"))
        if any(teacher.is_file for teacher in teachers):
            run_stage(run, find_stage("train-generalist"))
        run_stage(run, _stage(teachers, mean))
    return run.path(NAME, "student")


def _stage(teachers: Sequence[TeacherSource], mean: Mean) -> Stage:
    execute = partial(_execute, teachers=teachers, mean=mean)
    return replace(TAUGHT, execute=execute, elsewhere=_digests(teachers, mean))


def _digests(teachers: Sequence[TeacherSource], mean: Mean) -> dict[str, str]:
    """What says what the teachers predict together, by name."""
    first, *others = teachers
    digests = first.digests()
    for i, teacher in enumerate(others, start=2):
        digests |= {f"{i}. {name}": digest for name, digest in teacher.digests().items()}
    if others:
        digests["mean"] = f"{mean}, weights {[teacher.weight for teacher in teachers]}"
    return digests


def _execute(run: Run, teachers: Sequence[TeacherSource], mean: Mean) -> None:
    context = RunContext.open(run.folder)
    dataset = context.dataset
    file = next((teacher.path for teacher in teachers if teacher.is_file), None)
    ask = _joined([teacher.open(dataset, file) for teacher in teachers], dataset, mean)
    inputs = context.fingerprints("prepare-data/train.inputs.npy") | _digests(teachers, mean)
    write_targets(context, run.path(NAME, "targets"), inputs, lambda: ask)
    network = teachers[0].network or context.path("train-generalist")
    spec = spec_of_size(context, generalist=network)
    validation = context.asked("validation")
    top1 = score(teacher_predictions(ask, validation), dataset.validation.labels)
    log.info(f"{NAME}: teacher, validation top-1 {top1['top1']:.3f}")
    tasks = student_tasks(context, spec, NAME, network)
    train_and_choose(context, tasks, run.jobs, NAME)


def _joined(teachers: Sequence[NamedTeacher], dataset: Dataset, mean: Mean) -> OnlineTeacher:
    joined = JoinedTeachers(teachers, dataset.class_names, mean)
    for note in joined.notes:
        log.info(f"{NAME}: {note}")
    alone = len(teachers) == 1 and teachers[0].class_names == dataset.class_names
    return teachers[0].ask if alone else joined
