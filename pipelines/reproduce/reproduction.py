"""What all experiments share: data, seeds, the folder of kept models, and counted errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from specialists.networks import NetworkSpec
from specialists.runtime import map_processes
from specialists.uncertainty import drawn_over_seeds, means_over_seeds, percentile_interval

from .cpu_plan import PaperPlan
from .kept_training import Kept, KeptModel, cpu_seconds, ensure_kept
from .lessons import Lesson
from .paper_data import PaperData

REGULARISED = "specialists.networks.regularised:regularised_mlp"
PLAIN = {"dropout": 0.0, "input_dropout": 0.0}


@dataclass
class Reproduction:
    """One experiment at work.

    Parameters
    ----------
    folder : Path
        Of all experiments; models of a data set lie in ``models/NAME``.
    data : PaperData
    plan : PaperPlan
    seeds : tuple of int
    jobs : int
        Trainings at a time, each with one thread.
    names : mapping
        What classes are called, by their labels, for people.
    """

    folder: Path
    data: PaperData
    plan: PaperPlan
    seeds: tuple[int, ...]
    jobs: int = 1
    names: dict[str, str] = field(default_factory=dict)
    used: list[Path] = field(default_factory=list)

    def train(self, lessons: Sequence[Lesson]) -> list[KeptModel]:
        """The models of some lessons, trained where they do not stand; their teachers stand."""
        models = [KeptModel(self.models, self.data, lesson) for lesson in lessons]
        self.make(models, [model.folder for model in models])
        return models

    def make(
        self, tasks: Sequence[Kept], folders: Sequence[Path], described: str = "reproduce"
    ) -> None:
        """Do tasks in processes, and count the times in their folders as the experiment's."""
        map_processes(ensure_kept, tasks, self.jobs, described)
        self.used += [folder for folder in folders if folder not in self.used]

    @property
    def models(self) -> Path:
        n = self.data.n_classes
        return self.folder / "models" / (self.data.dataset.name + (f"-{n}" if n else ""))

    @property
    def seconds(self) -> dict[str, float]:
        """CPU seconds of the trainings that served, by their folders."""
        root = self.folder / "models"
        return {each.relative_to(root).as_posix(): cpu_seconds(each) for each in self.used}

    @property
    def several_labels(self) -> str:
        """A sentence about test rows with several labels; "" if there are none."""
        test = self.data.dataset.test
        n = 0 if test.valid is None else int((test.valid.lengths > 1).sum())
        about = f"{n:,} of the {len(test):,} test rows have an input that occurs with other labels"
        return f" {about}, too; only a row's own counts as right here." if n else ""

    @property
    def test_labels(self) -> np.ndarray:
        return self.data.dataset.test.labels.numpy()

    def perceptron(self, width: int, regularised: bool = False) -> NetworkSpec:
        """Two layers of ReLU units, plain, or with dropout and bounded weights."""
        options = {"max_norm": self.plan.max_norm} if regularised else PLAIN
        shape = list(self.data.spec_shape())
        return NetworkSpec(
            REGULARISED,
            self.data.dataset.n_classes,
            tuple(shape),
            options={"input_shape": shape, "width": width, **options},
        )

    def interval(self, drawn: np.ndarray) -> tuple[float, float]:
        low, high = percentile_interval(drawn)
        return low, high

    def drawn_means(self, *of_seeds: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Means over seeds and test rows of some scores, in paired resamples of both.

        Each argument holds a score of every test row, (n,), for each seed.
        """
        tables = [
            np.stack(columns, axis=1).astype(float) for columns in zip(*of_seeds, strict=True)
        ]
        units = self.data.dataset.test.groups
        groups = None if units is None else [units.numpy()] * len(tables)
        rows = means_over_seeds(tables, shared=True, groups=groups)
        return [
            drawn_over_seeds([float(np.mean(score)) for score in scores], rows[:, column])
            for column, scores in enumerate(of_seeds)
        ]
