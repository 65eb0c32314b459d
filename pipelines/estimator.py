"""``specialists.SpecialistClassifier``: the pipeline as scikit-learn's estimators are used.

``fit`` writes a run into a temporary folder that the fitted object owns, and runs the stages of
``specialists run`` there, up to the student. So its results are those of the command.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from specialists.clustering import ClassClusters
from specialists.datasets.base import Kind
from specialists.datasets.in_memory import held_dataset
from specialists.ensemble import Choice
from specialists.errors import ConfigError, DataError, DataWarning
from specialists.files import read_json
from specialists.networks import fitting
from specialists.predictor import Predictor
from specialists.specialist import Specialist
from specialists.uncertainty import MIN_GROUPS

from .context import RunContext
from .estimator_settings import config_of, network_functions, own_clusters
from .given_rows import (
    checked_inputs,
    checked_rows,
    kind_of_input,
    names_of,
    numbered_labels,
    validation_rows,
)
from .held_run import HeldRun
from .saved_estimator import SavedEstimator, read_estimator, save_estimator
from .terminal import lines_and_bars
from .train_specialists import load_specialists

ModelName = Literal["ensemble", "student", "generalist"]
MODELS = ("ensemble", "student", "generalist")


class SpecialistClassifier(ClassifierMixin, BaseEstimator):
    """Generalist, specialists of the classes that it confuses, and a student that learns from them.

    Parameters
    ----------
    network : str or callable, optional
        The generalist's network: "hashed_text", "mlp" or "resnet", "package.module:function", or a
        callable that takes ``n_classes`` and returns an ``nn.Module``. None: by kind of input.
    clusters : int, "auto", ClassClusters, mapping or sequence, optional
        Number of clusters of confusable classes, one specialist each; or the clusters: a mapping of
        class to cluster, or the classes of each. None: about one for every 30 classes, at least
        two.
    model : {"ensemble", "student", "generalist"}
        Who predicts.
    settings : mapping, optional
        Keys of a configuration (``specialists settings`` of a run's config.toml), for instance
        ``{"specialists.epochs": 5}``.
    random_state : int, RandomState or None
        Of everything that is drawn; two fits with one int are equal.
    n_jobs : int, optional
        Models that are trained at a time; None: one, -1: one a core. No result depends on it.
    verbose : int
        0: silent. 1: the lines and bars of the command.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted.
    n_features_in_, feature_names_in_
        Of arrays and DataFrames of numbers.
    clusters_ : ClassClusters
        Which classes the generalist confuses.
    choice_ : Choice
        The rule of the ensemble, and why specialists were admitted or not
        (``choice_.admission.in_words()``).
    generalist_, ensemble_, student_ : Predictor
        The models, which take raw inputs.
    specialists_ : list of Specialist

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> classifier = SpecialistClassifier(random_state=0)
    >>> classifier.fit(digits.data, digits.target).predict(digits.data[:3])  # doctest: +SKIP
    array([0, 1, 2])
    """

    def __init__(
        self,
        network: str | Callable[..., Any] | None = None,
        *,
        clusters: Any = None,
        model: ModelName = "ensemble",
        settings: Mapping[str, object] | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.clusters = clusters
        self.model = model
        self.settings = settings
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        validation_data: Sequence[Any] | None = None,
    ) -> SpecialistClassifier:
        """Train generalist, specialists and student; a test on kept rows decides who answers.

        Parameters
        ----------
        X : array or sparse matrix (n, d), DataFrame of numbers, strings, or uint8 images
        y : labels of shape (n,), of any type
        sample_weight : array of shape (n,), optional
            How many rows each one counts as.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows that train nobody: they choose epochs and rules, and half of them are kept for the
            test. None: such rows are cut from ``X``.

        Raises
        ------
        ValueError
            If inputs, labels or settings cannot be used.

        Warns
        -----
        DataWarning
            If there are too few rows to test the specialists: the generalist answers alone.
        """
        if self.model not in MODELS:
            raise ConfigError("no such model", where="model", got=self.model, expected=MODELS)
        if y is None:
            raise DataError("requires y to be passed, but the target y is None")
        kind = kind_of_input(X)
        rows, labels = checked_rows(self, X, y, sample_weight, kind, reset=True)
        classes, numbers = numbered_labels(labels)
        if len(classes) < 2:
            got = f"1 class: {classes[0]!r}" if len(classes) else "no rows"
            raise DataError("a classifier needs two classes", where="y", got=got)
        validation = validation_rows(self, validation_data, classes, kind)
        config = config_of(self, check_random_state)
        with self._shown():
            dataset = held_dataset(
                rows.with_labels(numbers),
                names_of(classes),
                config.data,
                config.seed,
                validation=validation,
                features=getattr(self, "feature_names_in_", None),
                common_scale=kind == "features" and hasattr(X, "toarray"),
            )
            own = own_clusters(self.clusters, classes)
            held = HeldRun.make(dataset, config, network_functions(self.network), own)
        self._take(held, classes, kind)
        self._warn_if_untested()
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The most probable class of each row, as ``y`` names it."""
        probs = self.predict_proba(X)
        return self.classes_[probs.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Calibrated probabilities (n, n_classes), columns as in ``classes_``."""
        check_is_fitted(self)
        return self._predictor().predict_proba(self._checked(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Their natural logarithms."""
        check_is_fitted(self)
        return self._predictor().predict_log_proba(self._checked(X))

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

        No test rows were cut, so the rows of the admission test are measured. Returns the file.
        """
        check_is_fitted(self)
        with self._shown():
            return self._held.report(Path(folder))

    def save(self, folder: str | Path) -> None:
        """Write what prediction needs as plain files, which ``specialists.load(folder)`` reads.

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
        saved = SavedEstimator(self.get_params(), self.classes_, state, self._held)
        save_estimator(saved, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, trust_code: bool = False) -> SpecialistClassifier:
        """What :meth:`save` wrote, as ``specialists.load`` gives it."""
        saved = read_estimator(Path(folder), trust_code)
        classifier = cls(**saved.parameters)
        with fitting(Path(folder)):
            classifier._take(saved.held, saved.classes, saved.state["kind"])
            names = saved.state["feature_names_in_"]
            learned = {
                "n_features_in_": saved.state["n_features_in_"],
                "feature_names_in_": names and np.array(names, dtype=object),
            }
        vars(classifier).update({k: v for k, v in learned.items() if v is not None})
        return classifier

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        return tags

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

    def _predictor(self) -> Predictor:
        return self._held.model(self.model)

    def _checked(self, x: Any) -> Any:
        return checked_inputs(self, x, self._kind, reset=False)

    def _json(self, *parts: str) -> Any:
        return read_json(self._held.path(*parts))

    def _shown(self) -> AbstractContextManager[None]:
        return lines_and_bars() if self.verbose else nullcontext()

    def _warn_if_untested(self) -> None:
        admission = self.choice_.admission
        if admission.outcome == "refused" and admission.n_groups < MIN_GROUPS:
            warnings.warn(f"specialists were not tested: {admission.reason}", DataWarning, 3)
