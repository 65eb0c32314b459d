"""The trained models of a run folder, ready to predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from specialists.catalogue import HARD_LABELS, STUDENT
from specialists.datasets import check_preprocessing
from specialists.errors import InputError
from specialists.files import EVERYTHING, NOTHING, trusting
from specialists.networks import fitting
from specialists.predictor import Predictor, load_model

from .runs import check_result, refuse_missing

FOLDERS = {
    "student": "distill-student/student",
    "ensemble": "combine-predictions",
    "generalist": "train-generalist",
    "student_hard_labels": "distill-student/student_hard_labels",
}
STUDENTS = (STUDENT, HARD_LABELS)  # also of `specialists distill`, whose folder holds no other


def load(path: str | Path, model: str, trust_code: bool) -> Predictor:
    """See :func:`specialists.load`."""
    with trusting(EVERYTHING if trust_code else NOTHING):
        return _load(Path(path), model)


def _load(path: Path, model: str) -> Predictor:
    refuse_missing(path)
    if (path / "model.json").is_file():
        if model == "ensemble":
            raise InputError(
                "this folder holds a single model, no ensemble",
                where=path,
                fix="name the run folder, or leave out --model",
            )
        return load_model(path)
    if model not in FOLDERS:
        raise InputError("no such model", got=model, expected=", ".join(FOLDERS))
    if model in STUDENTS and (path / "distill" / model / "model.json").is_file():
        return load_model(path / "distill" / model)
    folder = path / FOLDERS[model]
    file = folder / ("choice.json" if model == "ensemble" else "model.json")
    if not file.is_file():
        raise InputError(
            f"there is no trained {model} here",
            where=path,
            expected=file,
            fix=f"`specialists run --out {path}` makes it",
        )
    check_result(path, FOLDERS[model].partition("/")[0])
    return _ensemble(path) if model == "ensemble" else load_model(folder)


def _ensemble(run: Path) -> Predictor:
    from .combine_predictions import chosen_rule, open_ensemble
    from .context import RunContext

    with fitting(run):
        context = RunContext.open(run)
        ensemble = replace(open_ensemble(context), rule=chosen_rule(context))
        _ = ensemble.members  # an error if the rule names one that there is not
        dataset, preprocessing = context.dataset, dict(context.dataset.preprocessing)
        check_preprocessing(preprocessing, context.network_spec().input_shape)
    return Predictor(dataset.class_names, preprocessing, ensemble.predictions)
