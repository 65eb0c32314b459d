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
    """The data set in a few words.

    Parameters
    ----------
    kind : {"text", "features", "images"}
    class_names : sequence of str
        By class index.
    rows, groups : mappings of split to number
        Examples; units of chance, where these are fewer.
    unit : str
        What a row of the user's file is called.
    notes : sequence of str
        What was left out.
    """

    kind: str
    class_names: Sequence[str]
    rows: Mapping[str, int]
    groups: Mapping[str, int]
    unit: str = "row"
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Results:
    """One finished run.

    Parameters
    ----------
    title : str, optional
        The configuration's heading.
    n_examples : int
        Number of fixed and of broken examples to show.
    config_text : str
        The configuration as the user wrote it.
    comparison : Comparison
        The same run as a comparison of one seed.
    covariance : array of shape (C, C), optional
    choice : Choice
        What validation chose.
    histories : mapping of title to training histories
    seconds : mapping of stage to seconds
    images : uint8 array of shape (n_test, channels, height, width), optional
    """

    title: str | None
    n_examples: int
    config_text: str
    data: DataSummary
    evaluation: Evaluation
    details: Details
    comparison: Comparison
    clusters: ClassClusters
    covariance: np.ndarray | None
    choice: Choice
    histories: Mapping[str, Sequence[History]]
    seconds: Mapping[str, float]
    images: np.ndarray | None

    @property
    def training_seconds(self) -> dict[str, float]:
        """Seconds of training of each model."""
        return {name: model.training_seconds for name, model in self.comparison.models.items()}
