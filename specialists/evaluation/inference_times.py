"""How long does a prediction take? All models of a run are timed side by side, in one process.

Rounds alternate over the models, and a model's best round counts: whatever else the machine does
can only make it slower. Fast models have more rounds than slow ones. What is timed leads from
encoded inputs to probabilities, for rows that are asked one at a time and for one large batch.
Times differ from run to run, so no result depends on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch

from specialists.catalogue import GENERALIST
from specialists.datasets.base import Inputs
from specialists.ensemble import cost_sample
from specialists.json_record import JsonRecord
from specialists.predictions import Predictions
from specialists.runtime import progress

TIMING = "times of predictions"  # this work, in a bar
BATCH = 1000  # rows of the large batch, where there are as many
ALONE = 16  # rows that are asked one at a time
GROWING = (1, 32, 256)  # rows that are tried before the large batch
SECONDS = 4.0  # for all models, which have equal parts of them; each has one round at least
MOST_ROUNDS = 30
PATIENCE = 4.0  # seconds; a model that would take longer for the large batch is not timed

Predict = Callable[[Inputs], Predictions]


@dataclass(frozen=True)
class Milliseconds(JsonRecord):
    """Wall time of one row (the mean over rows that were asked alone), and of the large batch."""

    one: float
    batch: float

    def over(self, base: Milliseconds) -> Milliseconds:
        """Both over those of another model."""
        return Milliseconds(self.one / base.one, self.batch / base.batch)


@dataclass(frozen=True, kw_only=True)
class InferenceTimes(JsonRecord):
    """How long the models of a run, or of several, take to predict.

    Parameters
    ----------
    machine : str
        The processor by its name; empty if there were several.
    threads : int
    n_rows : int
        Of the large batch.
    models : mapping of model name to Milliseconds
    not_timed : mapping of model name to the reason why it has no time
    relative : bool
        Whether all times are over the generalist's, since machines or threads differ.
    """

    machine: str
    threads: int
    n_rows: int
    models: Mapping[str, Milliseconds]
    not_timed: Mapping[str, str] = field(default_factory=dict)
    relative: bool = False

    def over_generalist(self, name: str) -> Milliseconds:
        """Times of a model over the generalist's."""
        return self.models[name].over(self.models[GENERALIST])


def measure_times(models: Mapping[str, Predict], inputs: Inputs, machine: str) -> InferenceTimes:
    """Time every model on evenly spaced rows of ``inputs``.

    The rows that are asked alone are evenly spaced by the generalist's confidence: they are handed
    to specialists as often as all rows are. Two names of one function share its time. A model that
    would take too long, or fails, has a reason instead.
    """
    batch = cost_sample(inputs, BATCH)
    order = models[GENERALIST](batch).confidence().argsort()
    picked = order[torch.linspace(0, len(batch) - 1, min(ALONE, len(batch))).long()]
    alone = [batch[row] for row in picked.split(1)]
    distinct = {id(predict): predict for predict in models.values()}
    with progress(TIMING, len(distinct) + MOST_ROUNDS) as bar:
        reasons = {}
        for key, predict in distinct.items():
            reasons[key] = _why_not(predict, batch)
            bar.advance()
        timed = {key: predict for key, predict in distinct.items() if not reasons[key]}
        rounds: dict[int, list[list[float]]] = {key: [] for key in timed}
        for _ in range(MOST_ROUNDS):
            for key, predict in timed.items():
                if np.sum(rounds[key]) <= SECONDS / len(timed):
                    rounds[key].append(_round(predict, alone, batch))
            bar.advance()
    best = {key: np.min(seconds, axis=0) for key, seconds in rounds.items()}
    keys = {name: id(predict) for name, predict in models.items()}
    return InferenceTimes(
        machine=machine,
        threads=torch.get_num_threads(),
        n_rows=len(batch),
        models={
            name: Milliseconds(1e3 * float(best[key][:-1].mean()), 1e3 * float(best[key][-1]))
            for name, key in keys.items()
            if key in best
        },
        not_timed={name: reasons[key] for name, key in keys.items() if reasons[key]},
    )


def _round(predict: Predict, alone: Sequence[Inputs], batch: Inputs) -> list[float]:
    """Seconds of each row alone and, last, of the batch."""
    predict(alone[0])  # what another model has pushed out of the caches comes back
    return [_seconds(predict, some) for some in (*alone, batch)]


def _seconds(predict: Predict, inputs: Inputs) -> float:
    began = time.perf_counter()
    predict(inputs).dense()
    return time.perf_counter() - began


def _why_not(predict: Predict, batch: Inputs) -> str:
    """Why a model cannot be timed, or nothing; it is tried on few rows before on many."""
    n = len(batch)
    try:
        predict(batch[torch.arange(1)])  # what is made on first use
        for few, more in pairwise([*(size for size in GROWING if size < n), n]):
            rows = batch[torch.arange(few)]
            seconds = _seconds(predict, rows)
            if seconds * more / few > PATIENCE:  # or the first of this size loads and compiles
                seconds = _seconds(predict, rows)
            if seconds * more / few > PATIENCE:
                return f"{n:,} rows would take up to {seconds * n / few:.0f} s"
    except (
        Exception
    ) as error:  # of a user's network, say; what was measured before must not be lost
        first = (str(error).strip() or "no reason given").splitlines()[0]
        return f"{type(error).__name__}: {first}"
    return ""


def mean_times(seeds: Sequence[InferenceTimes]) -> InferenceTimes | None:
    """Means over the seeds that were timed; None without any.

    Where these ran on different machines, or with different numbers of threads or rows, what is
    averaged are times over the generalist's.
    """
    same = len({(seed.machine, seed.threads, seed.n_rows) for seed in seeds}) == 1
    known = seeds if same else [seed for seed in seeds if GENERALIST in seed.models]
    if not known:
        return None
    values = [
        {name: ms if same else seed.over_generalist(name) for name, ms in seed.models.items()}
        for seed in known
    ]
    shared = [name for name in values[0] if all(name in each for each in values)]
    reasons = {name: why for seed in known for name, why in seed.not_timed.items()}
    return replace(
        known[0],
        machine=known[0].machine if same else "",
        n_rows=min(seed.n_rows for seed in known),
        models={
            name: Milliseconds(
                float(np.mean([each[name].one for each in values])),
                float(np.mean([each[name].batch for each in values])),
            )
            for name in shared
        },
        not_timed=reasons,
        relative=not same,
    )
