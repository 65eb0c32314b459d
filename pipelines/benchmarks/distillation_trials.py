"""Which rate, temperature and weights does a method get? Those of its best trial.

Every method has as many trials as hard labels, of a share of its epochs, with the first seed.
Validation rows judge them, and test rows are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from specialists.datasets import Split
from specialists.distillation import best_first
from specialists.errors import DivergedError
from specialists.files import read_json, write_json
from specialists.networks import build
from specialists.runtime import seed_everything
from specialists.training import FitResult

from ..reproduce.kept_training import KEPT_RESULT, cpu_seconds_kept
from .distillation_methods import Method
from .distillation_students import TaughtStudent

DIVERGED = "diverged"


@dataclass(frozen=True)
class TrialSettings:
    """What a trial multiplies of a method's usual settings.

    Parameters
    ----------
    rate : float
        The learning rate.
    strength : float
        Weights of what teaches, beside the labels'; of label smoothing its fraction.
    heat : float
        Temperatures.
    """

    rate: float = 1.0
    strength: float = 1.0
    heat: float = 1.0

    def of(self, method: Method) -> Method:
        """The method as it is tried, which says so."""
        changes = {"rate": self.rate, "weights": self.strength, "T": self.heat}
        words = [f"{name} x {value:.2g}" for name, value in changes.items() if value != 1]
        return method.scaled(
            self.strength, self.heat, "; ".join(filter(None, [method.setting, *words]))
        )


USUAL = TrialSettings()
RATES = (USUAL, TrialSettings(rate=0.5), TrialSettings(rate=2.0))


def trials_of(method: Method) -> tuple[TrialSettings, ...]:
    """The usual settings first, then other rates, then what the method has beside: five in all.

    Lower temperatures if it has one above 1; other weights if not; further rates of labels alone.
    """
    if method.is_hot:
        return (*RATES, TrialSettings(heat=0.5), TrialSettings(heat=0.25))
    if method.is_plain:
        return (*RATES, TrialSettings(rate=0.25), TrialSettings(rate=4.0))
    return (*RATES, TrialSettings(strength=1 / 3), TrialSettings(strength=3.0))


@dataclass(frozen=True)
class TriedStudent(TaughtStudent):
    """A student of a trial: only its validation scores are kept."""

    def train(self, folder: Path) -> None:
        with cpu_seconds_kept(folder):
            train = self.training_rows()
            seed_everything(self.seed)
            write_json(folder / KEPT_RESULT, self._judged(build(self.lesson.spec), train, folder))

    def _judged(self, network: nn.Module, train: Split, folder: Path) -> dict[str, object]:
        try:
            student, *_ = self.distilled(network, train, folder)
        except DivergedError as error:  # other trials may do better
            return {DIVERGED: str(error)}
        return {**student.to_dict()}

    def result(self) -> FitResult | None:
        """What validation says; None of one whose loss did not stay finite."""
        values = read_json(self.folder / KEPT_RESULT)
        return None if DIVERGED in values else FitResult.from_dict(values)


def best_settings(method: Method, tried: Sequence[TriedStudent]) -> TrialSettings:
    """Those of the trial with the highest validation top-1; of equal ones the least loss decides.

    A trial whose loss did not stay finite does not count; if none is left, the usual settings.
    """
    results = [each.result() for each in tried]
    finite = {i: result for i, result in enumerate(results) if result is not None}
    if not finite:
        return USUAL
    return trials_of(method)[list(finite)[best_first(list(finite.values()))[0]]]
