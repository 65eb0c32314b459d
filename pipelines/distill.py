"""One teacher, one student, no specialist: ``specialists distill --teacher RUN-or-FOLDER``.

The teacher is a run's ensemble or generalist, or a model's folder. The configuration gives the
student's size beside the teacher's. The student learns from the teacher's soft targets at each
temperature and weight, and lies in ``OUT/distill/student``. Beside it lies ``student_hard_labels``:
the same network, trained as long and with as many trials, without the teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from specialists.datasets.base import Dataset, Inputs
from specialists.distillation import OnlineTeacher, student_spec
from specialists.ensemble import score
from specialists.errors import InputError
from specialists.files import EVERYTHING, NOTHING, hash_files, sha256, trusting
from specialists.networks import plain_inputs, read_spec
from specialists.predictions import Predictions
from specialists.predictor import Predictor

from .context import RunContext
from .distill_student import student_tasks, train_and_choose
from .run_settings import source_and_folder
from .runs import RUN, Run, kind_of, refuse_missing
from .soft_targets import OnlineName, online_teacher, write_targets
from .stage import Stage, run_stage
from .stages import DATA, find_stage
from .terminal import log
from .trained_models import load

NAME = "distill"
NO_TEST_OF_SPECIALISTS = ("data.admission_fraction=0",)  # all validation rows judge the student
MODEL_FILES = ("weights.safetensors", "model.json")
RUN_FILES = (
    "train-generalist/weights.safetensors",
    "train-generalist/model.json",
    "train-generalist/calibration.json",
    "train-specialists/specialist-*/weights.safetensors",
    "train-specialists/specialist-*/model.json",
    "combine-predictions/choice.json",
)


@dataclass(frozen=True)
class TeacherSource:
    """Where a teacher lies.

    Parameters
    ----------
    path : Path
        A run, or the folder of a model.
    model : {"ensemble", "generalist"}
        Of a run.
    trust_code : bool
        See :func:`specialists.load`.
    """

    path: Path
    model: OnlineName = "ensemble"
    trust_code: bool = False

    @property
    def is_model(self) -> bool:
        """Whether the folder holds a single model."""
        return (self.path / "model.json").is_file()

    def digests(self) -> dict[str, str]:
        """sha256 of the files that say what the teacher predicts, by name."""
        if self.is_model:
            files = {name: sha256(self.path / name) for name in MODEL_FILES}
        else:
            files = hash_files(self.path, RUN_FILES)
        return {f"teacher/{name}": digest for name, digest in files.items()}


def distill_source(
    teacher: TeacherSource, out: Path | None, overrides: list[str]
) -> tuple[str | Path | None, Path]:
    """Settings and folder of the student: a run's own settings, changed by ``--set``.

    Raises
    ------
    InputError
        If there is no such teacher, or one would lie in the folder of the other.
    """
    refuse_missing(teacher.path)
    if not teacher.is_model and kind_of(teacher.path) == RUN:
        source, folder = Run(teacher.path).config_file, Path("runs", teacher.path.resolve().name)
    else:
        source, folder = source_and_folder(None, None, overrides)
    folder = out or folder.with_name(f"{NAME}-{folder.name}")
    ours, theirs = folder.resolve(), teacher.path.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise InputError(
            "student and teacher would share a folder", where=folder, fix="--out of another folder"
        )
    return source, folder


def distill(run: Run, teacher: TeacherSource) -> Path:
    """Prepare the data and train what is missing of the students; returns the student's folder.

    Raises
    ------
    InputError
        If there is no such teacher, it was trained on other classes or other inputs, or
        ``student.teacher`` is "online".
    """
    if run.config.student.teacher == "online":
        raise InputError(
            "a teacher of another folder is asked once, not about every batch",
            where="student.teacher",
            got="online",
            expected="offline",
            fix="--set student.teacher=offline",
        )
    model = "generalist" if teacher.is_model else teacher.model
    predictor = load(teacher.path, model, teacher.trust_code)
    stage = Stage(
        name=NAME,
        sections=("seed", "device", "precision", "data", "student"),
        inputs=DATA,
        execute=partial(_execute, teacher=teacher, predictor=predictor),
        files=("student.unlabelled",),
        elsewhere=teacher.digests(),
    )
    with trusting(EVERYTHING if teacher.trust_code else NOTHING):
        run_stage(run, find_stage("prepare-data"))
        run_stage(run, stage)
    return run.path(NAME, "student")


def _execute(run: Run, teacher: TeacherSource, predictor: Predictor) -> None:
    context = RunContext.open(run.folder)
    dataset = context.dataset
    _check_same_task(predictor, dataset, teacher.path)
    validation = predictor.beside(dataset.validation.inputs, dataset.validation.predictions)
    ask = predictor.predictions
    if not teacher.is_model and teacher.model == "ensemble":
        ask = online_teacher(RunContext.open(teacher.path), "ensemble")  # about every row
    if not predictor.asks:
        ask = partial(_of_plain_inputs, ask)
    inputs = context.fingerprints("prepare-data/train.inputs.npy") | teacher.digests()
    write_targets(context, run.path(NAME, "targets"), inputs, lambda: ask)
    network = teacher.path if teacher.is_model else teacher.path / "train-generalist"
    spec = student_spec(read_spec(network), context.config.student, dataset.kind)
    top1 = score(ask(validation), dataset.validation.labels)["top1"]
    log.info(f"{NAME}: teacher, validation top-1 {top1:.3f}")
    train_and_choose(context, student_tasks(context, spec, NAME), run.jobs, NAME)


def _of_plain_inputs(ask: OnlineTeacher, inputs: Inputs) -> Predictions | Tensor:
    """What a teacher says that asks no given generalist, although the data may bring one's."""
    return ask(plain_inputs(inputs))


def _check_same_task(predictor: Predictor, dataset: Dataset, teacher: Path) -> None:
    if predictor.class_names != dataset.class_names:
        ours, theirs = set(dataset.class_names), set(predictor.class_names)
        raise InputError(
            "teacher and data have different classes",
            where=teacher,
            got=f"{len(ours - theirs)} of {len(ours)} classes that the teacher does not know, "
            f"{len(theirs - ours)} of its {len(theirs)} that the data lack",
            fix="--set data... to the data that the teacher was trained on",
        )
    if dict(predictor.preprocessing) != dict(dataset.preprocessing):
        raise InputError(
            "the teacher takes inputs that are encoded otherwise than these data",
            where=teacher,
            fix="--set data... and seed to those that the teacher was trained with",
        )
