"""What of a finished run does the report show? What is None is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specialists.catalogue import ENSEMBLE, STUDENT
from specialists.clustering import ClassClusters
from specialists.datasets.fetched_rows import FetchedRows
from specialists.ensemble import Choice
from specialists.escaping import one_line
from specialists.evaluation import Comparison, Details, Evaluation
from specialists.figures.models import History

MAX_EXAMPLE = 80


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
    images: np.ndarray | FetchedRows | None  # uint8 (n_test, channels, height, width)

    @property
    def training_seconds(self) -> dict[str, float]:
        """Seconds of training of each model."""
        return {name: model.training_seconds for name, model in self.comparison.models.items()}

    @property
    def is_silent(self) -> bool:
        """Whether no specialist answers, so that the ensemble is its generalist."""
        return not (self.evaluation.n_answering or self.choice.chosen.n_shared)

    @property
    def told_models(self) -> list[str]:
        """Ensemble and student, where they were tried and differ from the generalist."""
        models = [STUDENT] if self.is_silent else [ENSEMBLE, STUDENT]
        return [name for name in models if name in self.evaluation.models]

    @property
    def example_text(self) -> str | None:
        """A short text of a test example on one line, to try the models with; None without texts.

        Where specialists changed an answer, it is one of those.
        """
        pairs, details = self.details.pairs, self.details
        of_pairs = [example for pair in pairs.most for example in pair.examples] if pairs else []
        others = (*details.fixed.examples, *details.broken.examples, *details.label_errors.examples)
        texts = [one_line(e.text) for e in (*of_pairs, *others) if e.text is not None]
        short = [text for text in texts if 0 < len(text) <= MAX_EXAMPLE]
        return next((text for text in short if text.isascii()), short[0] if short else None)
