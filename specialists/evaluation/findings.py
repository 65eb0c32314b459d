"""What is in ``evaluation.json``: every model's metrics and costs, and paired differences.

Fractions are in [0, 1], negative log-likelihoods (NLL) in nats. Intervals are at 95%.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from specialists.json_record import Cost, JsonRecord
from specialists.uncertainty import Interval


@dataclass(frozen=True)
class ModelScores(JsonRecord):
    """What one model reached on the test set, and what it cost.

    Parameters
    ----------
    top1, top5, top1_macro : float
        Accuracy; the last is the mean over classes of that within each.
    top1_any_valid : float, optional
        Accuracy where any valid label counts; None without label sets.
    nll, ece : float
        Negative log-likelihood; expected calibration error.
    agreement : float
        Share of examples that it answers like `ensemble`.
    inference_flops : float
        Mean of one prediction; NaN where it is unknown.
    training_examples : int
        Seen in training, repetitions included.
    tuning_trials : int
        Candidates among which validation chose.
    """

    top1: float
    top1_interval: Interval
    top1_any_valid: float | None
    top1_macro: float
    top5: float
    nll: float
    ece: float
    agreement: float
    parameters: int
    inference_flops: Cost
    training_examples: int
    training_flops: float
    tuning_trials: int

    def mean(self, metric: str) -> float:
        """The mean "top1" or "nll"."""
        return getattr(self, metric)


@dataclass(frozen=True, kw_only=True)
class PairedDifference(JsonRecord):
    """The metric of model ``a`` minus that of ``b``, with its 95% interval."""

    a: str
    b: str
    metric: str
    value: float
    interval: Interval

    @property
    def sign(self) -> int:
        """1, -1 or 0: a is better, worse, or not clearly different."""
        low, high = self.interval
        sign = 1 if low > 0 else -1 if high < 0 else 0
        return sign if self.metric == "top1" else -sign


D = TypeVar("D", bound=PairedDifference)


def find_difference(differences: Iterable[D], a: str, b: str, metric: str = "top1") -> D | None:
    """The difference a - b, or None if it was not taken."""
    wanted = (a, b, metric)
    return next((d for d in differences if (d.a, d.b, d.metric) == wanted), None)


@dataclass(frozen=True, kw_only=True)
class Difference(PairedDifference):
    """A difference of one run; ``p`` is None where the examples are too few groups for a test."""

    p: float | None


@dataclass(frozen=True)
class Retention(JsonRecord):
    """Share of the ensemble's gain over hard labels that the student keeps.

    Parameters
    ----------
    value : float, optional
        (student - student_hard_labels) / (ensemble - student_hard_labels), in top-1.
    reason : str, optional
        Why there is no value.
    """

    value: float | None
    interval: Interval | None
    reason: str | None


@dataclass(frozen=True)
class CoverageGain(JsonRecord):
    """Gain in top-1 on the ``n_test`` examples whose class so many specialists know."""

    specialists: int
    n_test: int
    gain: float


@dataclass(frozen=True, kw_only=True)
class Evaluation(JsonRecord):
    """Everything that ``evaluation.json`` holds.

    Parameters
    ----------
    n_classes, n_test, n_groups : int
        Classes, test examples, and the units of chance that these are.
    retention : float, optional
        See :class:`Retention`.
    n_specialists, n_answering : int
        All, and those that may answer.
    conditional : mapping of name to fraction, optional
        Accuracy within the subsets, of `generalist` and `ensemble`; None where nobody may answer.
    retention_reason : str, optional
        Why ``retention`` is None.
    """

    dataset: str
    seed: int
    n_classes: int
    n_test: int
    n_groups: int
    models: Mapping[str, ModelScores]
    differences: tuple[Difference, ...]
    retention: float | None
    n_specialists: int
    n_answering: int
    conditional: Mapping[str, float | None]
    coverage: tuple[CoverageGain, ...]
    retention_reason: str | None = None

    def find(self, a: str, b: str, metric: str = "top1") -> Difference | None:
        """The difference a - b, or None if it was not taken."""
        return find_difference(self.differences, a, b, metric)
