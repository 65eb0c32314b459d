"""Who teaches? A run's model, a model's folder, or nothing but a file of predictions.

A file's predictions are taken as they are: the data bring them beside their rows. So do they for a
model whose generalist was given as its predictions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from torch import Tensor

from specialists.catalogue import BASELINES
from specialists.datasets.base import Dataset, Inputs
from specialists.distillation import NamedTeacher, OnlineTeacher
from specialists.distillation.several_teachers import Mean
from specialists.errors import InputError
from specialists.files import hash_files, sha256
from specialists.files.ownership import MANIFEST, json_object
from specialists.networks import GivenInputs, plain_inputs
from specialists.networks.prediction_rows import KEY
from specialists.predictions import Predictions
from specialists.predictor import Predictor

from .context import RunContext
from .options import Model
from .runs import how_to_have_a_run
from .soft_targets import online_teacher
from .trained_models import load, model_folder

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

    def check_path(self) -> None:
        """Raise an InputError if nothing lies there."""
        if not self.path.exists():
            raise InputError(
                "no such teacher",
                where=self.path,
                expected="a run, the folder of a model, or a file of predictions",
                fix=None if self.path.suffix else how_to_have_a_run(self.path),
            )

    def check_model(self) -> None:
        """Raise an InputError if nothing lies there, or a run without the model that teaches."""
        self.check_path()
        if not (self.is_file or self.is_model or self.model in BASELINES):
            model_folder(self.path, self.model)

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

    @cached_property
    def predictor(self) -> Predictor:
        """The trained model, loaded once; an InputError if there is none."""
        return load(self.path, "generalist" if self.is_model else self.model, self.trust_code)

    def open(self, dataset: Dataset, file: Path | None = None) -> NamedTeacher:
        """Who can be asked; ``file`` is the teacher that is nothing but predictions, if any.

        Raises
        ------
        InputError
            If it takes inputs that are encoded otherwise, or asks a generalist whose predictions
            of these data are not known.
        """
        if self.is_file:
            return NamedTeacher(as_given, dataset.class_names, self.weight, str(self.path))
        predictor = self.predictor
        if dict(predictor.preprocessing) != dict(dataset.preprocessing):
            raise InputError(
                "the teacher takes inputs that are encoded otherwise than these data",
                where=self.path,
                fix="--set data... and seed to those that the teacher was trained with",
            )
        ask = predictor.predictions
        if self.model == "ensemble" and not self.is_model:
            ask = online_teacher(RunContext.open(self.path), "ensemble")  # about every row
        if predictor.asks:
            self._check_asked(dataset, file)
        else:
            ask = partial(_of_plain_inputs, ask)
        return NamedTeacher(ask, predictor.class_names, self.weight, str(self.path))

    def _check_asked(self, dataset: Dataset, file: Path | None) -> None:
        """Raise an InputError unless the data bring what its generalist says of them."""
        known = dataset.validation.predictions is not None
        if known and (file is None or made_from(self.path, file)):
            return
        raise InputError(
            "this teacher asks a generalist of which only predictions are known",
            where=self.path,
            got=f"those of another teacher, {file}" if known else "none of these data",
            fix="--teacher of one of them alone" if known else "--teacher FILE of its predictions",
        )


def teacher_sources(
    folders: Sequence[Path],
    model: Model | None,
    trust_code: bool,
    weights: Sequence[float] = (),
    mean: Mean | None = None,
) -> list[TeacherSource]:
    """Teachers with their weights; ``model``, ``weights`` and ``mean`` are empty if not named.

    Raises
    ------
    InputError
        If an option has no effect, or the weights are not as many as the teachers, or make no
        sense.
    """
    given = weights or [1.0] * len(folders)
    if len(given) != len(folders):
        raise InputError(
            "each teacher has one weight, or none has",
            where="--weight",
            got=f"{len(given)} weights for {len(folders)} teachers",
        )
    if wrong := [weight for weight in given if not 0 < weight < math.inf]:
        raise InputError("the weight of a teacher is > 0", where="--weight", got=wrong[0])
    pairs = zip(folders, given, strict=True)
    sources = [TeacherSource(path, model or "ensemble", trust_code, w) for path, w in pairs]
    idle = {}
    if len(folders) == 1:
        idle = {"--weight": weights, "--mean": mean}
    if all(source.is_model or source.is_file for source in sources):
        idle["--model"] = model
    for option, value in idle.items():
        if value:
            raise _without_effect(option, folders)
    return sources


def _without_effect(option: str, folders: Sequence[Path]) -> InputError:
    """The error of an option that says nothing about these teachers."""
    why, fix = "one teacher is not averaged", f"leave {option} out"
    if option == "--model":
        why, fix = "it is one of a run's models, and no teacher is a run", f"{fix}, or name a run"
    return InputError(f"{option} has no effect: {why}", where=f"--teacher {folders[0]}", fix=fix)


def made_from(run: Path, file: Path) -> bool:
    """Whether the data of a run were prepared beside what this file of predictions holds."""
    inputs = json_object(run / "prepare-data" / MANIFEST).get("inputs")
    return isinstance(inputs, dict) and inputs.get(KEY) == sha256(file)


def as_given(inputs: Inputs) -> Tensor:
    """What a file says of inputs beside which its rows stand."""
    assert isinstance(inputs, GivenInputs)
    return inputs.log_probs


def _of_plain_inputs(ask: OnlineTeacher, inputs: Inputs) -> Predictions | Tensor:
    """What a teacher says that asks no given generalist, although the data may bring one's."""
    return ask(plain_inputs(inputs))
