"""Which candidates are trained for how long? Successive halving, METHOD.md (44).

All candidates are trained for a small share of their epochs. The best of them by validation are
trained anew for a share that is ``eta`` times as large, and so on, until the last rung trains in
full. They start again, since within each training the learning rate falls to zero: a network that
is compared half-way, at a high rate, says little about its end. So the winner is the network that
its settings alone would have made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from specialists.config import StudentConfig
from specialists.errors import InputError
from specialists.training import FitResult


@dataclass(frozen=True)
class Rung:
    """``n`` candidates, each trained for ``share`` of its whole training; ``number`` is from 1."""

    number: int
    n: int
    share: float


def halving_rungs(n: int, eta: int = 3, most: int | None = None) -> list[Rung]:
    """The rungs of ``n`` candidates, ``most`` of them at the most.

    Raises an InputError unless there are candidates, and ``eta`` is at least 2.

    >>> [(rung.n, round(1 / rung.share)) for rung in halving_rungs(10, eta=3)]
    [(10, 9), (3, 3), (1, 1)]
    """
    if n < 1 or eta < 2:
        got, expected = f"n={n}, eta={eta}", "n >= 1 candidates, one of eta >= 2 goes on"
        raise InputError("candidates cannot be halved", got=got, expected=expected)
    last = 0
    while eta ** (last + 1) <= n and last + 1 != most:
        last += 1
    return [Rung(k + 1, n // eta**k, 1 / eta ** (last - k)) for k in range(last + 1)]


def rungs_of(settings: StudentConfig, n: int) -> list[Rung]:
    """Those of a section [student] with ``n`` candidates; without a search all train in full."""
    tuning = settings.tuning
    return [Rung(1, n, 1.0)] if tuning is None else halving_rungs(n, tuning.eta, tuning.rungs)


def best_first(
    results: Sequence[FitResult], select_by: Literal["top1", "loss"] = "top1"
) -> list[int]:
    """Indices of validation results, the best first; of equal ones the other score decides.

    Those with a score that is not finite come last.
    """

    def key(i: int) -> tuple[float, float]:
        top1, loss = results[i].top1, results[i].loss
        if not math.isfinite(top1 + loss):
            return math.inf, math.inf
        return (-top1, loss) if select_by == "top1" else (loss, -top1)

    return sorted(range(len(results)), key=key)
