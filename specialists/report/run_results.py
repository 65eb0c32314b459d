"""What of a finished run does the report show? What is None is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specialists.clustering import ClassClusters
from specialists.ensemble import Choice
from specialists.evaluation import Comparison, Details, Evaluation
from specialists.figures.models import History


@dataclass(frozen=True)
class DataSummary:
    """The data set in a few words."""

    kind: str  # "text", "features" or "images"
    class_names: Sequence[str]  # by class index
    rows: Mapping[str, int]  # examples of each split
    groups: Mapping[str, int]  # units of chance of each split, where these are fewer
    unit: str = "row"  # what a row of the user's file is called
    notes: Sequence[str] = ()  # on what was left out


@dataclass(frozen=True, kw_only=True)
class Results:
    """One finished run."""

    title: str | None  # the configuration's heading
    n_examples: int  # number of fixed and of broken examples to show
    config_text: str  # the configuration as the user wrote it
    data: DataSummary
    evaluation: Evaluation
    details: Details
    comparison: Comparison  # the same run as a comparison of one seed
    clusters: ClassClusters
    covariance: np.ndarray | None  # (C, C)
    choice: Choice  # what validation chose
    histories: Mapping[str, Sequence[History]]  # of training, by title
    seconds: Mapping[str, float]  # of each stage
    images: np.ndarray | None  # uint8 (n_test, channels, height, width)

    @property
    def training_seconds(self) -> dict[str, float]:
        """Seconds of training of each model."""
        return {name: model.training_seconds for name, model in self.comparison.models.items()}
