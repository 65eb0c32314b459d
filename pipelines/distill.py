"""Teachers and one student, no specialist: ``specialists distill --teacher RUN-or-FOLDER ...``.

A teacher is a run's ensemble, its generalist or a rival of theirs, a model's folder, or nothing but
a file of predictions, which are taken as they are. Several are joined
(:mod:`specialists.distillation.several_teachers`), their classes matched by name. The configuration
gives the student's size beside the first teacher's. The student learns from the soft
targets at each temperature and weight, and lies in ``OUT/distill/student``. Beside it lies
``student_hard_labels``: the same network, trained as long and with as many trials, without teacher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from specialists.config import Recipe, asks_online
from specialists.datasets.base import Dataset, Inputs
from specialists.distillation import (
    JoinedTeachers,
    NamedTeacher,
    OnlineTeacher,
    teacher_predictions,
)
from specialists.distillation.several_teachers import Mean
from specialists.ensemble import score
from specialists.errors import InputError
from specialists.files import EVERYTHING, NOTHING, hash_files, sha256, trusting
from specialists.networks import GivenInputs, plain_inputs
from specialists.predictions import Predictions
from specialists.predictor import Predictor

from .context import RunContext
from .distill_student import student_tasks
from .options import Model
from .run_settings import source_and_folder
from .runs import RUN, Run, kind_of, refuse_missing
from .soft_targets import online_teacher, write_targets
from .stage import Stage, run_stage
from .stages import DATA, find_stage
from .student_networks import spec_of_size
from .student_search import train_and_choose
from .terminal import log
from .trained_models import load

NAME = "distill"
NO_TEST_OF_SPECIALISTS = ("data.admission_fraction=0",)  # all validation rows judge the student
IDLE_BESIDE_A_FILE = (
    *("specialists.start", "specialists.freeze", "evaluation.baselines", "evaluation.keep_rivals"),
    *("generalist.weights", *(f"generalist.{key}" for key in Recipe.model_fields)),
)
MODEL_FILES = ("weights.safetensors", "model.json")
RUN_FILES = (
    "prepare-data/*.predictions.npy",
    "train-generalist/weights.safetensors",
    "train-generalist/model.json",
    "train-generalist/calibration.json",
    "train-specialists/specialist-*/weights.safetensors",
    "train-specialists/specialist-*/model.json",
    "combine-predictions/choice.json",
)
RIVAL_FILES = (
    "evaluate-models/baselines.json",
    "evaluate-models/baselines/*/weights.safetensors",
    "distill-student/student*/weights.safetensors",
)


@dataclass(frozen=True)
class TeacherSource:
    """Where a teacher lies.

    Parameters
    ----------
    path : Path
        A run, the folder of a model, or a file of predictions.
    model : str
        Of a run, by its name in the report.
    trust_code : bool
        See :func:`specialists.load`.
    weight : float
        Beside other teachers.
    """

    path: Path
    model: Model = "ensemble"
    trust_code: bool = False
    weight: float = 1.0

    @property
    def is_model(self) -> bool:
        """Whether the folder holds a single model."""
        return (self.path / "model.json").is_file()

    @property
    def is_file(self) -> bool:
        """Whether it is nothing but a file of predictions."""
        return self.path.is_file()

    def digests(self) -> dict[str, str]:
        """sha256 of the files that say what the teacher predicts, by name."""
        if self.is_file:
            files = {"file": sha256(self.path)}
        elif self.is_model:
            files = {name: sha256(self.path / name) for name in MODEL_FILES}
        else:
            rival = self.model not in ("ensemble", "generalist")
            files = hash_files(self.path, (*RUN_FILES, *(RIVAL_FILES if rival else ())))
        return {f"teacher/{name}": digest for name, digest in files.items()}

    @property
    def network(self) -> Path | None:
        """Folder of the network that a student is like, and whose layers terms look at, if any."""
        if self.is_file:
            return None
        return self.path if self.is_model else self.path / "train-generalist"

    def load(self) -> Predictor:
        """The trained model; an InputError if there is none."""
        return load(self.path, "generalist" if self.is_model else self.model, self.trust_code)

    def open(self, dataset: Dataset) -> NamedTeacher:
        """Who can be asked; an InputError if it takes inputs that are encoded otherwise."""
        if self.is_file:
            return NamedTeacher(as_given, dataset.class_names, self.weight, str(self.path))
        predictor = self.load()
        if dict(predictor.preprocessing) != dict(dataset.preprocessing):
            raise InputError(
                "the teacher takes inputs that are encoded otherwise than these data",
                where=self.path,
                fix="--set data... and seed to those that the teacher was trained with",
            )
        ask = predictor.predictions
        if self.model == "ensemble" and not self.is_model:
            ask = online_teacher(RunContext.open(self.path), "ensemble")  # about every row
        if not predictor.asks:
            ask = partial(_of_plain_inputs, ask)
        predictor.beside(dataset.validation.inputs, dataset.validation.predictions)  # or an error
        return NamedTeacher(ask, predictor.class_names, self.weight, str(self.path))


def teacher_sources(
    folders: Sequence[Path], model: Model, trust_code: bool, weights: Sequence[float]
) -> list[TeacherSource]:
    """Teachers with their weights; an InputError if these are not as many, or make no sense."""
    weights = weights or [1.0] * len(folders)
    if len(weights) != len(folders):
        raise InputError(
            "each teacher has one weight, or none has",
            where="--weight",
            got=f"{len(weights)} weights for {len(folders)} teachers",
        )
    if wrong := [weight for weight in weights if not 0 < weight < math.inf]:
        raise InputError("the weight of a teacher is > 0", where="--weight", got=wrong[0])
    pairs = zip(folders, weights, strict=True)
    return [TeacherSource(folder, model, trust_code, weight) for folder, weight in pairs]


def distill_source(
    teachers: Sequence[TeacherSource], out: Path | None, overrides: list[str]
) -> tuple[str | Path | None, Path]:
    """Settings and folder of the student: the first teacher's own settings, changed by ``--set``.

    Raises
    ------
    InputError
        If there is no such teacher, or one would lie in the folder of the other.
    """
    for teacher in teachers:
        refuse_missing(teacher.path)
    teacher = teachers[0]
    if not teacher.is_model and kind_of(teacher.path) == RUN:
        source, folder = Run(teacher.path).config_file, Path("runs", teacher.path.resolve().name)
    else:
        source, folder = source_and_folder(None, None, overrides)
    folder = out or folder.with_name(f"{NAME}-{folder.name}")
    ours = folder.resolve()
    for theirs in (teacher.path.resolve() for teacher in teachers):
        if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            what, fix = "student and teacher would share a folder", "--out of another folder"
            raise InputError(what, where=folder, fix=fix)
    return source, folder


def distill_settings(teachers: Sequence[TeacherSource], overrides: Sequence[str]) -> list[str]:
    """``--set`` with what distillation sets itself; an InputError if several teachers are files."""
    files = [teacher.path for teacher in teachers if teacher.is_file]
    if len(files) > 1:
        raise InputError(
            "one teacher at most is a file of predictions",
            where="--teacher",
            got=" and ".join(map(str, files)),
            fix="average their probabilities into one file",
        )
    idle = [f"{key}=" for key in IDLE_BESIDE_A_FILE] if files else []  # a run's settings may be set
    of_file = [f"generalist.predictions={file}" for file in files]
    return [*NO_TEST_OF_SPECIALISTS, *idle, *overrides, *of_file]


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
                    teacher.load()
        run_stage(run, find_stage("prepare-data"))
        if any(teacher.is_file for teacher in teachers):
            run_stage(run, find_stage("train-generalist"))
        run_stage(run, _stage(teachers, mean))
    return run.path(NAME, "student")


def _stage(teachers: Sequence[TeacherSource], mean: Mean) -> Stage:
    return Stage(
        name=NAME,
        sections=("seed", "device", "precision", "data", "student"),
        inputs=DATA,
        execute=partial(_execute, teachers=teachers, mean=mean),
        files=("student.unlabelled", "student.factory"),
        elsewhere=_digests(teachers, mean),
    )


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
    ask = _joined([teacher.open(dataset) for teacher in teachers], dataset, mean)
    inputs = context.fingerprints("prepare-data/train.inputs.npy") | _digests(teachers, mean)
    write_targets(context, run.path(NAME, "targets"), inputs, lambda: ask)
    network = teachers[0].network or context.path("train-generalist")
    spec = spec_of_size(context, generalist=network)
    validation = context.asked("validation")
    top1 = score(teacher_predictions(ask, validation), dataset.validation.labels)
    log.info(f"{NAME}: teacher, validation top-1 {top1['top1']:.3f}")
    tasks = student_tasks(context, spec, NAME, network)
    train_and_choose(context, tasks, run.jobs, NAME)


def as_given(inputs: Inputs) -> Tensor:
    """What a file says of inputs beside which its rows stand."""
    assert isinstance(inputs, GivenInputs)
    return inputs.log_probs


def _of_plain_inputs(ask: OnlineTeacher, inputs: Inputs) -> Predictions | Tensor:
    """What a teacher says that asks no given generalist, although the data may bring one's."""
    return ask(plain_inputs(inputs))


def _joined(teachers: Sequence[NamedTeacher], dataset: Dataset, mean: Mean) -> OnlineTeacher:
    joined = JoinedTeachers(teachers, dataset.class_names, mean)
    for note in joined.notes:
        log.info(f"{NAME}: {note}")
    alone = len(teachers) == 1 and teachers[0].class_names == dataset.class_names
    return teachers[0].ask if alone else joined
