"""What a finished run holds for its report and for a comparison. Only artifacts are read."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from specialists.clustering import ClassClusters
from specialists.datasets import load_dataset_folder
from specialists.datasets.fetched_rows import FetchedRows
from specialists.datasets.origins import origin_file
from specialists.ensemble import Choice
from specialists.errors import DamagedError, InputError
from specialists.evaluation import (
    Details,
    Evaluation,
    InferenceTimes,
    SeedScores,
    compare_seeds,
)
from specialists.evaluation.several_seeds import METRICS
from specialists.figures.models import History
from specialists.files import hash_files, read_array, read_json
from specialists.files.ownership import MANIFEST
from specialists.report import DataSummary, Results
from specialists.training import logged_seconds

from .runs import Run, check_result
from .stage import TIMING
from .stages import STAGES
from .student_search import tuned_candidates

STAGE = "evaluate-models"
TIMES = "timing-inference.json"
BASELINES = "evaluate-models/baselines/"
HISTORIES = (
    ("generalist", "train-generalist"),
    ("independent generalists", "train-specialists/independent-*"),
    ("specialists", "train-specialists/specialist-*"),
    ("student", "distill-student/student"),
    ("student, hard labels", "distill-student/student_hard_labels"),
    ("generalist continued", BASELINES + "generalist_continued"),
    ("generalist wide", BASELINES + "generalist_wide-*"),
    ("generalist ensemble", BASELINES + "generalist_ensemble-*"),
)


def read_seed(run: Run) -> SeedScores:
    """What the models of a finished run did on its test examples.

    Raises
    ------
    InputError
        If a file of its evaluation is damaged.
    """
    if run.path(STAGE, MANIFEST).is_file():
        check_result(run.folder, STAGE, (".json", ".npy"))
    evaluation = Evaluation.from_dict(read_json(run.folder / "evaluation.json"))
    arrays = {metric: read_array(run.path(STAGE, f"{metric}.npy")) for metric in METRICS}
    scores = {
        metric: dict(zip(evaluation.models, values.astype(np.float64), strict=True))
        for metric, values in arrays.items()
    }
    choice = read_json(run.path("combine-predictions", "choice.json"))
    return SeedScores(
        evaluation,
        examples_of(run, "test"),
        scores,
        training_seconds(run),
        choice.get("admission", {}).get("outcome", "not tested"),
        groups_of(run, "test"),
        read_times(run),
        tuned_candidates(run),
        is_still_improving(run),
    )


def is_still_improving(run: Run) -> bool:
    """Whether the generalist's last epoch was its best; False if it was given, or nothing tells."""
    stage, given = run.path("train-generalist"), run.config.generalist
    if given.weights or given.predictions:
        return False
    with suppress(FileNotFoundError):
        width = next(w["width"] for w in read_json(stage / "widths.json") if w["chosen"])
        best = read_json(stage / "units" / f"width-{width}" / "result.json")["best_epoch"]
        return best == _json_lines(stage / "metrics.jsonl")[-1]["epoch"]
    return False


def read_times(run: Run) -> InferenceTimes | None:
    """What predictions of each model took; None where that was not measured, or is damaged."""
    with suppress(FileNotFoundError, DamagedError):
        return InferenceTimes.from_dict(read_json(run.path(STAGE, TIMES)))
    return None


def training_seconds(run: Run) -> dict[str, float]:
    """Wall time of the trainings that made each model of ``evaluation.json``, summed.

    A training that had a part of the cores counts in that part, since others had the rest. Only
    the chosen candidate counts: one width of the generalist, one trial of a student (without its
    teacher); but a search for the student's recipe counts whole. Generalists that found the
    clusters, or that specialists started from, count with the ensembles. A generalist that the user
    gave took no time.
    """
    trainings = read_json(run.path(STAGE, "trainings.json"))
    return {
        name: sum(logged_seconds(run.folder / folder) for folder in folders)
        for name, folders in trainings.items()
    }


def examples_of(run: Run, split: str) -> str:
    """A string that two runs share if and only if they have the same examples in this split."""
    return " ".join(hash_files(run.folder, [f"prepare-data/{split}.*.npy"]).values())


def groups_of(run: Run, split: str) -> NDArray[np.int64] | None:
    """The group of each example, drawn as one, int64 (n,); None if each is one of its own."""
    file = run.path("prepare-data", f"{split}.groups.npy")
    return np.array(read_array(file)) if file.is_file() else None


def read_results(run: Run) -> Results:
    """Everything that the report of ``run`` needs. What a stage did not leave is None or empty.

    Raises
    ------
    InputError
        If the folder is no run, or one that has not been evaluated.
    """
    settings = run.config.report
    if not (run.folder / "evaluation.json").is_file():
        raise InputError(
            "this run has no evaluation to report",
            where=run.folder / "evaluation.json",
            fix=f"specialists evaluate-models {run.folder}",
        )
    data, seed = _data_summary(run), read_seed(run)
    covariance = run.path("cluster-classes", "covariance.npy")
    return Results(
        title=settings.title,
        n_examples=settings.n_examples,
        config_text=run.config_file.read_text(encoding="utf-8"),
        data=data,
        evaluation=seed.evaluation,
        details=Details.from_dict(read_json(run.path(STAGE, "details.json"))),
        comparison=compare_seeds([seed], run.config.evaluation.n_bootstrap),
        clusters=ClassClusters.from_dict(read_json(run.path("cluster-classes", "clusters.json"))),
        covariance=read_array(covariance) if covariance.is_file() else None,
        choice=Choice.from_dict(read_json(run.path("combine-predictions", "choice.json"))),
        histories=_histories(run.folder),
        seconds=_stage_seconds(run.folder),
        images=_test_images(run) if data.kind == "images" else None,
    )


def _test_images(run: Run) -> NDArray[np.uint8] | FetchedRows | None:
    """Those in the run, or where they lie."""
    folder, file = run.path("prepare-data"), run.path("prepare-data", "test.inputs.npy")
    if file.is_file():
        return read_array(file)
    if not origin_file(folder, "test").is_file():
        return None
    inputs = load_dataset_folder(folder).test.inputs
    return inputs if isinstance(inputs, FetchedRows) else None


def _data_summary(run: Run) -> DataSummary:
    about = read_json(run.path("prepare-data", "dataset.json"))
    return DataSummary(
        about["kind"],
        about["class_names"],
        about.get("rows", {}),
        about.get("groups", {}),
        about.get("source", {}).get("rows", "row"),
        about.get("notes", ()),
    )


def _histories(folder: Path) -> dict[str, list[History]]:
    files = {title: sorted(folder.glob(f"{place}/metrics.jsonl")) for title, place in HISTORIES}
    return {title: [_json_lines(file) for file in some] for title, some in files.items() if some}


def _json_lines(file: Path) -> History:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def _stage_seconds(folder: Path) -> dict[str, float]:
    seconds = {}
    for stage in STAGES[:-1]:  # the report is the last
        with suppress(FileNotFoundError, DamagedError, TypeError, KeyError, ValueError):
            timing = read_json(folder / stage.name / TIMING)
            seconds[stage.name] = float(timing["seconds"])
    return seconds
