"""The trained models of a run folder, ready to predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from specialists.catalogue import AVERAGED, BASELINES, STUDENT, STUDENTS
from specialists.datasets import check_preprocessing
from specialists.datasets.base import Inputs
from specialists.errors import InputError
from specialists.files import EVERYTHING, NOTHING, read_json, trusting
from specialists.networks import GivenGeneralist, fitting, read_spec
from specialists.predictions import Predictions
from specialists.predictor import Predictor, load_model

from .kept_weights import EVALUATION, refuse_dropped
from .runs import check_result, how_to_have_a_run, refuse_missing
from .stages import TAUGHT

FOLDERS = {
    "student": "distill-student/student",
    "ensemble": "combine-predictions",
    "generalist": "train-generalist",
    "student_hard_labels": "distill-student/student_hard_labels",
}
BASELINE = EVALUATION + "/baselines/{}-{}"


def load(path: str | Path, model: str, trust_code: bool) -> Predictor:
    """See :func:`specialists.load`."""
    with trusting(EVERYTHING if trust_code else NOTHING):
        return _load(Path(path), model)


def _load(path: Path, model: str) -> Predictor:
    refuse_missing(path)
    if (path / "model.json").is_file():
        refuse_dropped([path], path)
        if model == "ensemble":
            raise InputError(
                "this folder holds a single model, no ensemble",
                where=path,
                fix="name the run folder, or leave out --model",
            )
        return load_model(path)
    if model in BASELINES:
        return _baseline(path, model)
    if model not in FOLDERS:
        raise InputError("no such model", got=model, expected=", ".join((*FOLDERS, *BASELINES)))
    folder = model_folder(path, model)
    if folder.is_relative_to(path / TAUGHT.name):
        return load_model(folder)
    check_result(path, FOLDERS[model].partition("/")[0])
    return _ensemble(path) if model == "ensemble" else load_model(folder)


def model_folder(run: Path, model: str) -> Path:
    """Where a run's model lies that is no rival.

    Raises an InputError if there is none.
    """
    taught = run / TAUGHT.name  # by `specialists distill`, whose folder may hold no other models
    if model in STUDENTS and (taught / model / "model.json").is_file():
        return taught / model
    folder = run / FOLDERS[model]
    file = folder / ("choice.json" if model == "ensemble" else "model.json")
    if not file.is_file():
        only_students = (taught / STUDENT / "model.json").is_file()
        raise InputError(
            f"there is no trained {model} here",
            where=run,
            expected=file,
            fix="name its student: --model student" if only_students else how_to_have_a_run(run),
        )
    return folder


def _baseline(run: Path, name: str) -> Predictor:
    """A network trained longer or wider, or the mean of several."""
    from specialists.baselines import AveragingRule, averaged

    check_result(run, EVALUATION)
    trainings = read_json(run / EVALUATION / "trainings.json").get(name)
    if trainings is None:
        raise InputError(
            f"there is no trained {name} here",
            where=run,
            fix=f"`specialists run --out {run} --set evaluation.baselines=all "
            "--set evaluation.keep_rivals=true` trains each that the network allows",
        )
    chosen = read_json(run / EVALUATION / "baselines.json")[name]["chosen"]
    if not isinstance(chosen, dict):  # a schedule of one network
        refuse_dropped([run / trainings[-1]], run)
        return load_model(run / trainings[-1])
    rule = AveragingRule(**chosen)
    others = [run / BASELINE.format(AVERAGED, i) for i in range(1, rule.n_members)]
    refuse_dropped(others, run)
    first, *rest = [load_model(folder) for folder in (run / FOLDERS["generalist"], *others)]

    def predictions(inputs: Inputs) -> Predictions:
        return averaged((member.predictions(inputs) for member in (first, *rest)), rule)

    return replace(first, predictions=predictions, network=None)


def _ensemble(run: Path) -> Predictor:
    from .combine_predictions import chosen_rule, open_ensemble
    from .context import RunContext

    with fitting(run):
        context = RunContext.open(run)
        ensemble = replace(open_ensemble(context), rule=chosen_rule(context))
        _ = ensemble.members  # an error if the rule names one that there is not
        names, preprocessing = tuple(context.about["class_names"]), context.about["preprocessing"]
        check_preprocessing(preprocessing, read_spec(run / FOLDERS["generalist"]).input_shape)
    asks = isinstance(ensemble.upper, GivenGeneralist)
    return Predictor(names, preprocessing, ensemble.predictions, asks)
