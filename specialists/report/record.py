"""What lies in a finished run folder that the report shows?

Reads artifacts only. What a stage did not leave (no covariance, no student, no times) is None or
empty, and the report leaves that part out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specialists.clustering import ClassClusters
from specialists.errors import DamagedError, InputError
from specialists.evaluation.costs import training_seconds
from specialists.runs import Run, read_array, read_json

STAGES = (
    "prepare-data",
    "train-generalist",
    "cluster-classes",
    "train-specialists",
    "combine-predictions",
    "distill-student",
    "evaluate-models",
)
CONTROLS = "evaluate-models/controls/"
HISTORIES = (
    ("generalist", "train-generalist"),
    ("independent generalists", "train-specialists/independent-*"),
    ("specialists", "train-specialists/specialist-*"),
    ("student", "distill-student/student"),
    ("student, hard labels", "distill-student/student_hard_labels"),
    ("generalist continued", CONTROLS + "generalist_continued"),
    ("generalist wide", CONTROLS + "generalist_wide-*"),
    ("generalist ensemble", CONTROLS + "generalist_ensemble-*"),
)

History = list[dict[str, Any]]


@dataclass(frozen=True)
class Record:
    """One finished run.

    Parameters
    ----------
    folder : Path
    title : str, optional
        The configuration's heading.
    n_examples : int
        Mended and broken examples to show, each.
    config_text : str
        ``config.toml`` as it is.
    about : mapping
        ``dataset.json``.
    evaluation, details : mapping
        As :func:`specialists.evaluation.evaluate` and ``details`` give them.
    clusters : ClassClusters
    covariance : array of shape (C, C), optional
    choice : mapping, optional
        ``choice.json`` of combine-predictions.
    histories : mapping of title to training histories
    seconds : mapping of stage to seconds
    training_seconds : mapping of model to seconds
    images : uint8 array of shape (n_test, channels, height, width), optional
    """

    folder: Path
    title: str | None
    n_examples: int
    config_text: str
    about: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    details: Mapping[str, Any]
    clusters: ClassClusters
    covariance: np.ndarray | None
    choice: Mapping[str, Any] | None
    histories: Mapping[str, list[History]]
    seconds: Mapping[str, float]
    training_seconds: Mapping[str, float]
    images: np.ndarray | None

    @property
    def class_names(self) -> list[str]:
        """Name of each class, by index."""
        return self.about["class_names"]


def read_record(run: Run) -> Record:
    """Everything that the report of ``run`` needs.

    Raises
    ------
    InputError
        When the folder is no run, or one that has not been evaluated.
    """
    settings = run.config.report
    if not (run.folder / "evaluation.json").is_file():
        raise InputError(
            "This run has no evaluation to report",
            where=run.folder / "evaluation.json",
            fix=f"specialists evaluate-models {run.folder}",
        )
    about = read_json(run.path("prepare-data", "dataset.json"))
    covariance = run.path("cluster-classes", "covariance.npy")
    choice = run.path("combine-predictions", "choice.json")
    images = run.path("prepare-data", "test.inputs.npy")
    trainings = run.path("evaluate-models", "trainings.json")
    return Record(
        folder=run.folder,
        title=settings.title,
        n_examples=settings.n_examples,
        config_text=(run.folder / "config.toml").read_text(encoding="utf-8"),
        about=about,
        evaluation=read_json(run.folder / "evaluation.json"),
        details=read_json(run.path("evaluate-models", "details.json")),
        clusters=ClassClusters.from_dict(read_json(run.path("cluster-classes", "clusters.json"))),
        covariance=read_array(covariance) if covariance.is_file() else None,
        choice=read_json(choice) if choice.is_file() else None,
        histories=_histories(run.folder),
        seconds=_stage_seconds(run.folder),
        training_seconds=training_seconds(run) if trainings.is_file() else {},
        images=read_array(images) if about["kind"] == "images" and images.is_file() else None,
    )


def _histories(folder: Path) -> dict[str, list[History]]:
    found = {}
    for title, place in HISTORIES:
        files = sorted(folder.glob(f"{place}/metrics.jsonl"))
        if files:
            found[title] = [_json_lines(file.read_text(encoding="utf-8")) for file in files]
    return found


def _stage_seconds(folder: Path) -> dict[str, float]:
    found = {}
    for stage in STAGES:
        with suppress(FileNotFoundError, DamagedError, TypeError, KeyError, ValueError):
            found[stage] = float(read_json(folder / stage / "timing-stage.json")["seconds"])
    return found


def _json_lines(text: str) -> History:
    return [json.loads(line) for line in text.splitlines() if line.strip()]
