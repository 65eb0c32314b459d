"""Which of the models that were tried should be used, and what does each cost?

One of them counts as clearly better than the generalist if its interval of the difference lies
above 0, at the level that is corrected for their number. The cheapest in inference of those that
are not clearly worse than the best is recommended; of equal costs the simplest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from specialists.baselines import SAME_COST
from specialists.catalogue import (
    ALTERNATIVES,
    BASELINES,
    BY_SIMPLICITY,
    CONTINUED,
    ENSEMBLE,
    GENERALIST,
    STUDENT,
    TRAINED,
    WIDE,
    WORDS,
)
from specialists.evaluation import Comparison
from specialists.evaluation.several_seeds import MeanDifference

KEEP = "keep the generalist"
PREDICTING = (ENSEMBLE, *BASELINES, STUDENT)  # that `predict` has a name for
ALWAYS_TOLD = (*TRAINED, ENSEMBLE, STUDENT)


@dataclass(frozen=True)
class Option:
    """One thing that could be done, with what it gains over the generalist and what it costs.

    Parameters
    ----------
    name : str
        Of the model.
    advice : str
        As an imperative.
    gain : MeanDifference, optional
        In top-1; None of the generalist itself, and of specialists that stay out.
    milliseconds : float, optional
        For the large batch of rows, or times the generalist's where machines differ; None: not
        timed.
    inference : float
        FLOPs of one prediction over the generalist's.
    seconds : float
        Of training; a student's includes its teacher's.
    is_advised : bool
    """

    name: str
    advice: str
    top1: float
    gain: MeanDifference | None
    milliseconds: float | None
    inference: float
    seconds: float
    is_advised: bool

    @property
    def noun(self) -> str:
        """What the model is called in a sentence."""
        return WORDS[self.name].noun or self.name

    @property
    def is_refused(self) -> bool:
        """Whether these are specialists that the admission test kept out."""
        return self.name == ENSEMBLE and self.gain is None


def options(comparison: Comparison) -> list[Option]:
    """What could be done, the generalist first: each model a line, in the order of the catalogue.

    Averages of a few generalists and the student's network with hard labels are there if they are
    advised.
    """
    advised = recommended(comparison)
    names = [n for n in ALTERNATIVES if n in comparison.models and n in (*ALWAYS_TOLD, advised)]
    order = (*(n for n in names if n not in (ENSEMBLE, STUDENT)), ENSEMBLE, STUDENT)
    return [_option(comparison, n, advised) for n in (GENERALIST, *order) if n in comparison.models]


def _option(comparison: Comparison, name: str, advised: str | None) -> Option:
    model, times = comparison.models[name], comparison.times
    timed = times.models.get(name) if times else None
    is_out = name == ENSEMBLE and comparison.is_refused
    kept = None if may_train_longer(comparison) else GENERALIST
    return Option(
        name,
        advice_for(comparison, name),
        model.top1.mean,
        None if name == GENERALIST or is_out else comparison.gain(name),
        timed.batch if timed else None,
        model.inference_flops / comparison.models[GENERALIST].inference_flops,
        training_costs(comparison, name)[1],
        name == (advised or kept),
    )


def advice_for(comparison: Comparison, name: str) -> str:
    """What to do in order to have a model."""
    if name == GENERALIST:
        return KEEP
    as_wide = is_as_wide(comparison, name)
    return "train longer from the start" if as_wide else WORDS[name].advice


def may_train_longer(comparison: Comparison) -> bool:
    """Whether the last epoch was the generalist's best in every seed, and none was trained on."""
    improving = comparison.still_improving
    return CONTINUED not in comparison.models and bool(improving) and all(improving)


def training_costs(comparison: Comparison, name: str) -> tuple[float, float]:
    """FLOPs and seconds of all trainings behind a model; a student needs its teacher's too."""
    teacher = GENERALIST if comparison.is_refused else ENSEMBLE
    names = [name, teacher] if name == STUDENT else [name]
    models = [comparison.models[each] for each in names]
    return sum(m.training_flops for m in models), sum(m.training_seconds for m in models)


def is_as_wide(comparison: Comparison, name: str) -> bool:
    """Whether the wide generalist has the generalist's own cost: there was room for no more."""
    costs = [comparison.models[key].inference_flops for key in (name, GENERALIST)]
    return name == WIDE and max(costs) <= SAME_COST * min(costs)


def alternatives(comparison: Comparison) -> list[str]:
    """The models that were tried beside the generalist, without specialists that stay out."""
    tried = [name for name in BY_SIMPLICITY if name in comparison.models]
    return [name for name in tried if name != ENSEMBLE or not comparison.is_refused]


def recommended(comparison: Comparison) -> str | None:
    """The model to use; None: the generalist, since nothing is clearly better.

    Of models of equal cost, too, only those count that are not clearly worse than their best.
    """
    clear = [name for name in alternatives(comparison) if comparison.is_clear(name, GENERALIST)]
    if not clear:
        return None
    good = _not_clearly_worse(comparison, clear)
    costs = {name: comparison.models[name].inference_flops for name in good}
    limit = SAME_COST * min(costs.values())
    cheapest = [name for name in good if not costs[name] > limit]  # unknown costs exclude nobody
    return min(_not_clearly_worse(comparison, cheapest), key=BY_SIMPLICITY.index)


def best_at_hand(comparison: Comparison, can_predict: Callable[[str], bool]) -> str:
    """The model to ask: the recommended one, or without its weights the next that is better."""
    best = recommended(comparison)
    tried = [best, *(n for n in alternatives(comparison) if comparison.is_clear(n, GENERALIST))]
    askable = (name for name in tried if name in PREDICTING and can_predict(name))
    return next(askable, GENERALIST)


def _not_clearly_worse(comparison: Comparison, names: list[str]) -> list[str]:
    """The best by its gain, and those that it does not clearly beat."""
    best = max(names, key=lambda name: comparison.gain(name).value)
    return [name for name in names if name == best or not comparison.is_clear(best, name)]


def largest_gain(comparison: Comparison, than: str | None) -> str | None:
    """The model with the largest gain: of all, or of those that cost no more than ``than``.

    Beside ``than`` it has to gain more, and ensemble and student, always named, do not count.
    """
    names, least = alternatives(comparison), 0.0
    if than is not None:
        least = comparison.gain(than).value
        limit = SAME_COST * comparison.models[than].inference_flops
        cheap = [name for name in names if comparison.models[name].inference_flops <= limit]
        names = [name for name in cheap if name not in (ENSEMBLE, STUDENT)]
    gains = {name: gain for name in names if (gain := comparison.gain(name).value) > least}
    return max(gains, key=gains.__getitem__, default=None)
