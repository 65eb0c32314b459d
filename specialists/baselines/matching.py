"""How is a baseline matched to what the ensemble costs?

A wide generalist is the widest whose prediction costs at most as much as the ensemble's. Averages
of generalists are chosen on validation rows, as the ensemble's rule is: of all of them
(`generalist_ensemble`), of the first few that the ensemble's inference pays for
(`generalist_ensemble_same_inference`), and of some of which the later ones are asked less
(`generalist_ensemble_deferred`), for at most the ensemble's cost on these rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from specialists.baselines.averages import (
    AverageCandidate,
    AveragingRule,
    deferring_rules,
    everywhere,
    judge_averages,
)
from specialists.catalogue import AVERAGED, DEFERRED, SAME_INFERENCE
from specialists.config import CombinationConfig
from specialists.datasets.base import Inputs
from specialists.ensemble import choose, cost_sample
from specialists.errors import InputError
from specialists.networks import NetworkSpec, build, head_of, inference_flops, largest_width
from specialists.predictions import Predictions
from specialists.training import TrainingCost

SAME_COST = 1.02  # a ratio of costs up to which they count as equal
SCHEDULES = (1.0, 0.5, 0.25)  # parts of the budget; validation chooses one for the wide generalist
N_ROWS = 64  # of the inputs on which widths are compared


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


def widened(spec: NetworkSpec, inputs: Inputs, flops: float) -> NetworkSpec:
    """The network at the largest width that needs at most ``flops`` a prediction of ``inputs``."""
    few = cost_sample(inputs, N_ROWS)
    scale = _flops(spec, cost_sample(inputs)) / _flops(spec, few)

    def fits(candidate: NetworkSpec) -> bool:
        return scale * _flops(candidate, few) <= flops

    return replace(spec, width=largest_width(spec, fits, low=spec.width))


def _flops(spec: NetworkSpec, inputs: Inputs) -> float:
    return inference_flops(build(replace(spec, n_buckets=1)), inputs)


def head_share(network: nn.Module, n_classes: int, inputs: Inputs) -> float:
    """The head's part of one prediction's FLOPs; 0 where there is no head to take rows of."""
    try:
        head = head_of(network, n_classes)
    except InputError:
        return 0.0
    if not isinstance(head, nn.Linear):
        return 0.0
    return 2.0 * head.in_features * head.out_features / inference_flops(network, inputs)


def choose_averages(
    members: Sequence[Predictions],
    labels: Tensor,
    budget: Budget,
    share: float,
    settings: CombinationConfig,
) -> dict[str, tuple[AveragingRule, list[AverageCandidate]]]:
    """The rule of each average that validation prefers, and all its candidates, by name.

    ``members`` are each generalist's predictions of the n validation rows, ``labels`` is int64 of
    shape (n,), and ``share`` the head's part of a prediction's FLOPs (:func:`head_share`).
    """
    tried = {
        AVERAGED: everywhere(len(members)),
        SAME_INFERENCE: everywhere(budget.n_asked),
        DEFERRED: deferring_rules(members[0], len(members), budget.relative_cost, share),
    }
    chosen = {}
    for name, rules in tried.items():
        candidates = judge_averages(rules, members, labels, share)
        chosen[name] = (choose(candidates, settings).rule, candidates)
    return chosen
