"""The trained models of a run folder, ready to predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from specialists.datasets import check_preprocessing
from specialists.errors import InputError
from specialists.networks import fitting
from specialists.predictor import Predictor, load_model
from specialists.runs import EVERYTHING, NOTHING, trusting

from .context import RunContext
from .ensembles import chosen_rule, open_ensemble
from .runs import check_result, refuse_missing

FOLDERS = {
    "student": "distill-student/student",
    "student_hard_labels": "distill-student/student_hard_labels",
    "generalist": "train-generalist",
}
MODELS = ("student", "ensemble", "generalist", "student_hard_labels")


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
    if model not in MODELS:
        raise InputError("no such model", got=model, expected=", ".join(MODELS))
    if model == "ensemble":
        return _ensemble(path)
    folder = path / FOLDERS[model]
    _check_made(path, model, folder / "model.json")
    check_result(path, FOLDERS[model].partition("/")[0])
    return load_model(folder)


def _check_made(run: Path, model: str, file: Path) -> None:
    if not file.is_file():
        raise InputError(
            f"there is no trained {model} here",
            where=run,
            expected=file,
            fix=f"`specialists run --out {run}` makes it",
        )


def _ensemble(run: Path) -> Predictor:
    choice = run / "combine-predictions" / "choice.json"
    _check_made(run, "ensemble", choice)
    check_result(run, "combine-predictions")
    with fitting(run):
        workspace = RunContext.open(run)
        ensemble = replace(open_ensemble(workspace), rule=chosen_rule(workspace))
        _ = ensemble.members  # an error if the rule names one that there is not
        dataset, preprocessing = workspace.dataset, dict(workspace.dataset.preprocessing)
        check_preprocessing(preprocessing, workspace.network_spec().input_shape)
    return Predictor(dataset.class_names, preprocessing, ensemble.predictions)
