"""How is a baseline matched to what the ensemble costs?

A wide generalist is the widest whose prediction costs at most as much as the ensemble's. Averages
of generalists are chosen on validation rows, as the ensemble's rule is: of all of them
(`generalist_ensemble`), of the first few that the ensemble's inference pays for
(`generalist_ensemble_same_inference`), and of some of which the later ones are asked less
(`generalist_ensemble_deferred`), for at most the ensemble's cost on these rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor, nn

from specialists.baselines.averages import (
    AverageCandidate,
    AveragingRule,
    deferring_rules,
    everywhere,
    judge_averages,
)
from specialists.baselines.budget import Budget
from specialists.catalogue import AVERAGED, DEFERRED, SAME_INFERENCE
from specialists.config import CombinationConfig
from specialists.datasets.base import Inputs
from specialists.ensemble import choose, cost_sample
from specialists.errors import InputError
from specialists.networks import NetworkSpec, build, find_head, inference_flops, largest_width
from specialists.predictions import Predictions

N_ROWS = 64  # of the inputs on which widths are compared


def widened(spec: NetworkSpec, inputs: Inputs, flops: float) -> NetworkSpec:
    """The network at the largest width that needs at most ``flops`` a prediction of ``inputs``."""
    few = cost_sample(inputs, N_ROWS)
    scale = _flops(spec, cost_sample(inputs)) / _flops(spec, few)

    def fits(candidate: NetworkSpec) -> bool:
        return scale * _flops(candidate, few) <= flops

    return dataclasses.replace(spec, width=largest_width(spec, fits, low=spec.width))


def _flops(spec: NetworkSpec, inputs: Inputs) -> float:
    return inference_flops(build(dataclasses.replace(spec, n_buckets=1)), inputs)


def head_share(network: nn.Module, n_classes: int, inputs: Inputs) -> float:
    """The head's part of one prediction's FLOPs; 0 where there is no head to take rows of."""
    try:
        head = network.get_submodule(find_head(network, n_classes))
    except InputError:
        return 0.0
    assert isinstance(head, nn.Linear)
    return 2.0 * head.in_features * head.out_features / inference_flops(network, inputs)


def choose_averages(
    members: Sequence[Predictions],
    labels: Tensor,
    budget: Budget,
    share: float,
    settings: CombinationConfig,
) -> dict[str, tuple[AveragingRule, list[AverageCandidate]]]:
    """The rule of each average that validation prefers, and all its candidates, by name.

    Parameters
    ----------
    members : sequence of Predictions
        Of the validation rows, by each generalist.
    labels : int64 Tensor of shape (n,)
    budget : Budget
    share : float
        The head's part of a prediction's FLOPs (:func:`head_share`).
    settings : CombinationConfig
        How candidates are chosen.
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
