"""What an ensemble of specialists cost, which its rivals may cost too."""

from __future__ import annotations

import math
from dataclasses import dataclass

from specialists.training import TrainingCost

SAME_COST = 1.02  # a ratio of costs up to which they count as equal


@dataclass(frozen=True)
class Budget:
    """What an ensemble cost.

    Parameters
    ----------
    generalist, further : TrainingCost
        Of the generalist, and of everything else that the ensemble needed: specialists; generalists
        that found the clusters or that specialists started from; soft targets.
    inference_flops, generalist_flops : float
        Mean of one prediction of `ensemble` over the test inputs, and of its generalist.
    relative_cost : float
        Their ratio over the validation inputs.
    """

    generalist: TrainingCost
    further: TrainingCost
    inference_flops: float
    generalist_flops: float
    relative_cost: float

    @property
    def training_flops(self) -> float:
        """Of the whole ensemble."""
        return self.generalist.flops + self.further.flops

    @property
    def n_generalists(self) -> int:
        """K = ceil(training FLOPs of the whole ensemble / those of one generalist)."""
        return math.ceil(self.training_flops / self.generalist.flops)

    @property
    def n_asked(self) -> int:
        """Generalists that a prediction of `ensemble` would pay for, rounded up; at most K."""
        paid = self.inference_flops / self.generalist_flops
        return min(self.n_generalists, math.ceil(paid / SAME_COST))
