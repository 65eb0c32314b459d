"""``specialists.SpecialistClassifier``: the pipeline as scikit-learn's estimators are used.

``fit`` writes a run into a temporary folder that the fitted object owns, and runs the stages of
``specialists run`` there, up to the student. So its results are those of the command.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from specialists.datasets.handed_over import in_numpy
from specialists.datasets.in_memory import held_dataset
from specialists.datasets.raw_rows import mapped_rows
from specialists.errors import ConfigError, DataError, DataWarning, calling
from specialists.uncertainty import MIN_GROUPS

from .estimator_settings import (
    config_of,
    keys_of_settings,
    names_for_errors,
    network_functions,
    own_clusters,
    with_keys,
)
from .fitted_models import FittedModels
from .given_datasets import inputs_of, labels_of, opened
from .given_generalist import AsksGeneralist, warn_if_by_heart
from .given_rows import (
    checked_inputs,
    checked_labels,
    checked_rows,
    kind_of_input,
    known_numbers,
    names_of,
    numbered_labels,
    validation_rows,
    with_predictions,
)
from .held_run import HeldRun

ModelName = Literal["ensemble", "student", "generalist"]
MODELS = ("ensemble", "student", "generalist")
OF_GENERALIST = {"where: generalist_probs": "where: generalist="}


class SpecialistClassifier(AsksGeneralist, FittedModels, ClassifierMixin, BaseEstimator):
    """Generalist, specialists of the classes that it confuses, and a student that learns from them.

    Parameters
    ----------
    network : str or callable, optional
        The generalist's network: "hashed_text", "mlp" or "resnet", "package.module:function", or a
        callable that takes ``n_classes`` and returns an ``nn.Module``. None: by kind of input.
    generalist : estimator or callable, optional
        Its probabilities (``predict_proba``, or what it returns) are the generalist's. A fitted
        estimator stays as it is, and should not have been fitted to ``X``. One that is not fitted,
        as a clone is, is fitted to ``X``, and what it predicts for these rows comes from five
        folds. None: a network is trained, unless ``fit`` is given ``generalist_probs``.
    clusters : int, "auto", ClassClusters, mapping, Series or sequence, optional
        Number of clusters of confusable classes, one specialist each; or the clusters: a mapping or
        Series of class to cluster, or the classes of each. None: about one for every 30 classes,
        at least two.
    model : {"ensemble", "student", "generalist"}
        Who predicts.
    settings : mapping, optional
        Keys of a configuration, which ``specialists settings`` lists, for instance
        ``{"specialists.epochs": 5}``. The factories among them may be callables. A search changes
        one key as ``"settings__specialists.epochs": [2, 5]``.
    random_state : int, RandomState or None
        Of everything that is drawn; two fits with one int are equal.
    n_jobs : int, optional
        Models that are trained at a time; None: one, -1: one a core. No result depends on it.
        With more than one, a script does its work below ``if __name__ == "__main__":``.
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
        generalist: Any = None,
        clusters: Any = None,
        model: ModelName = "ensemble",
        settings: Mapping[str, object] | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.generalist = generalist
        self.clusters = clusters
        self.model = model
        self.settings = settings
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        sample_weight: Any = None,
        validation_data: Sequence[Any] | None = None,
        generalist_probs: Any = None,
    ) -> SpecialistClassifier:
        """Train generalist, specialists and student; a test on kept rows decides who answers.

        Parameters
        ----------
        X : array or sparse matrix (n, d), DataFrame of numbers, strings, or uint8 images
            Or a mapping of names to arrays with n rows each, for a ``network`` that takes them.
            Or a Dataset of PyTorch or Hugging Face, which brings the labels, and their names to
            ``clusters_`` and reports; where it is large, a batch is read when it is needed, as of a
            memory-mapped array from 256 MiB on.
        y : labels of shape (n,), of any type
        sample_weight : array of shape (n,), optional
            How many rows each one counts as. A common factor is more rows of the same: no gradient
            changes, but temperatures and dustbins are fitted with weaker priors, and what is taught
            and chosen with these moves a little. Weights divided by their mean avoid that.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Rows that train nobody: they choose epochs and rules, and half of them are kept for the
            test. A dataset if ``X`` is one. None: such rows are cut from ``X``.
        generalist_probs : array of shape (n, n_classes), optional
            Any model's probabilities of ``X``, best of rows that it was not fitted on; columns as
            in ``classes_``, or a DataFrame whose columns name them. Beside ``validation_data`` a
            pair: of ``X`` and of its rows.

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
        is_given = generalist_probs is not None or self.generalist is not None
        config = config_of(self, check_random_state, is_given)
        data = opened(in_numpy(X), y, validation_data, config.data)
        X, validation_data = data.x, data.validation  # noqa: N806
        if data.y is None:
            raise DataError("requires y to be passed, but the target y is None")
        kind = kind_of_input(X)
        rows, labels = checked_rows(self, X, data.y, sample_weight, kind)
        classes, numbers = numbered_labels(labels)
        if len(classes) < 2:
            got = f"1 class: {classes.tolist()[0]!r}" if len(classes) else "no rows"
            raise DataError("a classifier needs two classes", where="y", got=got)
        names = names_of(classes, data.names)
        own = own_clusters(self.clusters, classes, names)
        given = self._given(data, sample_weight, generalist_probs, classes, names, config.seed)
        with calling(OF_GENERALIST if generalist_probs is None else {}):
            rows = with_predictions(rows, X, given and given[0], len(classes)).with_labels(numbers)
            validation = validation_rows(self, validation_data, classes, kind, given and given[1])
        if rows.predictions is not None and validation_data is None:
            warn_if_by_heart(rows.predictions, numbers)
        functions, called = network_functions(self), names_for_errors(self)
        with self._shown():
            dataset = held_dataset(
                rows,
                names,
                config.as_trained().data,
                config.seed,
                validation=validation,
                features=getattr(self, "feature_names_in_", None),
                common_scale=kind == "features" and hasattr(X, "toarray"),
            )
            held = HeldRun.make(dataset, config, functions, own, data.functions, called)
        self._take(held, classes, kind)
        self._warn_if_untested()
        return self

    def predict(self, X: Any, generalist_probs: Any = None) -> np.ndarray:  # noqa: N803
        """The most probable class of each row, as ``y`` names it."""
        probs = self.predict_proba(X, generalist_probs)
        return self.classes_[probs.argmax(axis=1)]

    def predict_proba(self, X: Any, generalist_probs: Any = None) -> np.ndarray:  # noqa: N803
        """Calibrated probabilities (n, n_classes), columns as in ``classes_``.

        ``generalist_probs`` are those of a given generalist, for the model "ensemble" or
        "generalist"; none where ``generalist`` can be asked.
        """
        return self._predicted("predict_proba", X, generalist_probs)

    def predict_log_proba(self, X: Any, generalist_probs: Any = None) -> np.ndarray:  # noqa: N803
        """Their natural logarithms."""
        return self._predicted("predict_log_proba", X, generalist_probs)

    def score(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        sample_weight: Any = None,
        generalist_probs: Any = None,
    ) -> float:
        """Mean accuracy; a dataset brings the labels."""
        check_is_fitted(self)
        labels = checked_labels(in_numpy(labels_of(X, y, self._held.data_keys)))
        found = self.predict_proba(X, generalist_probs).argmax(axis=1)
        check_consistent_length(found, labels)
        numbers = known_numbers(labels, self.classes_)
        return float(accuracy_score(numbers, found, sample_weight=sample_weight))

    def set_params(self, **params: Any) -> Self:
        """As in scikit-learn; ``settings__KEY`` changes one key of ``settings`` alone.

        ``__`` stands for a dot, too: a search may have ``{"settings__specialists__epochs": [2,
        8]}``.
        """
        settings, others = keys_of_settings(params)
        super().set_params(**others)
        if settings:
            self.settings = with_keys(self.settings, settings)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        return tags

    def _predicted(self, method: str, x: Any, probs: Any) -> np.ndarray:
        check_is_fitted(self)
        predict, asked = getattr(self._held.model(self.model), method), self._asked(x, probs)
        with calling(OF_GENERALIST if probs is None else {}):
            return predict(self._checked(x), asked)

    def _checked(self, x: Any) -> Any:
        x = inputs_of(in_numpy(x), self._held.data_keys)
        rows = mapped_rows(x)
        return checked_inputs(self, x if rows is None else rows, self._kind, reset=False)

    def _warn_if_untested(self) -> None:
        admission = self.choice_.admission
        if admission.outcome == "refused" and admission.n_groups < MIN_GROUPS:
            warnings.warn(f"specialists were not tested: {admission.reason}", DataWarning, 3)
