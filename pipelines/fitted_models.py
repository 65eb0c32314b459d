"""What a fitted classifier holds: models, clusters, the choice of a rule; and how it is kept."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from specialists.clustering import ClassClusters
from specialists.datasets.base import Kind
from specialists.ensemble import Choice
from specialists.errors import InputError
from specialists.files import read_json
from specialists.networks import fitting
from specialists.predictor import Predictor
from specialists.specialist import Specialist

from .context import RunContext
from .held_run import HeldRun
from .saved_estimator import SavedEstimator, read_estimator, save_estimator
from .terminal import lines_and_bars
from .train_specialists import load_specialists


class FittedModels:
    """The models of a classifier once it is fitted, which it holds as a run."""

    verbose: int
    _held: HeldRun

    @property
    def generalist_(self) -> Predictor:
        return self._fitted.model("generalist")

    @property
    def ensemble_(self) -> Predictor:
        return self._fitted.model("ensemble")

    @property
    def student_(self) -> Predictor:
        return self._fitted.model("student")

    @property
    def specialists_(self) -> list[Specialist]:
        with self._fitted.reading() as folder:
            return load_specialists(RunContext.open(folder))

    def report(self, folder: str | Path) -> Path:
        """Train the baselines, measure every model, and write ``report.html`` into ``folder``.

        No test rows were cut, so the rows of the admission test are measured, where each counts
        once, whatever its weight. Returns the file.
        """
        check_is_fitted(self)
        if Path(folder).exists() and not Path(folder).is_dir():
            raise InputError("a report needs a folder", where=folder, got="a file")
        with self._shown():
            return self._held.report(Path(folder))

    def save(self, folder: str | Path) -> None:
        """Write what prediction needs as plain files, which ``specialists.load(folder)`` reads.

        A ``generalist`` that was given is none of these: after loading, ensemble and generalist
        take its ``generalist_probs``, or ``set_params(generalist=...)`` brings it back.

        Raises
        ------
        InputError
            If the folder holds something else, or no file can hold the labels or the network.
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        state = {
            "kind": self._kind,
            "n_features_in_": getattr(self, "n_features_in_", None),
            "feature_names_in_": None if names is None else list(names),
        }
        parameters = self.get_params(deep=False)  # pyright: ignore[reportAttributeAccessIssue]
        saved = SavedEstimator(parameters, self.classes_, state, self._held)
        save_estimator(saved, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, trust_code: bool = False) -> Self:
        """What :meth:`save` wrote, as ``specialists.load`` gives it."""
        saved = read_estimator(Path(folder), trust_code)
        classifier = cls(**saved.parameters)  # pyright: ignore[reportCallIssue]
        with fitting(Path(folder)):
            classifier._take(saved.held, saved.classes, saved.state["kind"])
            names = saved.state["feature_names_in_"]
            learned = {
                "n_features_in_": saved.state["n_features_in_"],
                "feature_names_in_": names and np.array(names, dtype=object),
            }
        vars(classifier).update({k: v for k, v in learned.items() if v is not None})
        return classifier

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_held")

    @property
    def _fitted(self) -> HeldRun:
        if not hasattr(self, "_held"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet")
        return self._held

    def _take(self, held: HeldRun, classes: np.ndarray, kind: Kind) -> None:
        self._held, self.classes_ = held, classes
        self._kind: Kind = kind
        self.clusters_ = ClassClusters.from_dict(self._json("cluster-classes", "clusters.json"))
        self.choice_ = Choice.from_dict(self._json("combine-predictions", "choice.json"))

    def _json(self, *parts: str) -> Any:
        return read_json(self._held.path(*parts))

    def _shown(self) -> AbstractContextManager[None]:
        return lines_and_bars() if self.verbose else nullcontext()
