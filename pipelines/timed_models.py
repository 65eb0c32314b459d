"""The models of a run as functions from encoded inputs to predictions, to be timed side by side.

Generalist, ensembles and student predict as they do for ``specialists predict``. The time of a
network does not depend on its weights, and rivals may not have kept theirs. So the continued
generalist has the generalist's time, the wide one that of a fresh network of its width. Averages
run the generalist's network once a member: later ones on those rows only that their rule hands
over, and over all classes, since no network here computes a part of its head.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from specialists.baselines import AveragingRule
from specialists.catalogue import CONTINUED, GENERALIST, HARD_LABELS, STUDENT, WIDE
from specialists.datasets.base import Inputs, Ragged
from specialists.ensemble import Choice
from specialists.evaluation import InferenceTimes, measure_times
from specialists.evaluation.inference_times import Predict
from specialists.files import read_json
from specialists.networks import HashedEmbedding, NetworkSpec, build
from specialists.predictions import DensePredictions, Predictions, network_predictions
from specialists.probability import tempered_log_softmax
from specialists.runtime import processor_name

from .baselines import STAGE, baseline_tasks, budget_of
from .classifiers import Member
from .combine_predictions import open_ensemble
from .context import RunContext
from .distill_student import STAGE as STUDENTS
from .runs import Run

TEMPERATURE = 1.5  # any: every model has one
OTHER_ROWS = 40_503  # how far apart two members read a table


def inference_times(run: Run) -> InferenceTimes:
    """Time every model of an evaluated run on rows of its test split."""
    context = RunContext.open(run.folder)
    inputs, machine = context.dataset.test.inputs, processor_name(context.device)
    return measure_times(timed_models(context), inputs, machine)


def timed_models(context: RunContext) -> dict[str, Predict]:
    """Every model as a function; one that several share stands for networks of one size."""
    ensemble = open_ensemble(context)
    parts = [ensemble.upper] if ensemble.lower is None else [ensemble.lower, ensemble.upper]
    network = parts[0] if len(parts) == 1 else nn.Sequential(*parts)
    generalist = predicting(network, ensemble.temperature)
    choice = Choice.from_dict(read_json(context.path("combine-predictions", "choice.json")))
    student = Member(context, context.path(STUDENTS, STUDENT)).predict
    return {
        GENERALIST: generalist,
        **{
            name: replace(ensemble, rule=rule).predictions if not rule.is_generalist else generalist
            for name, rule in choice.rules.items()
        },
        **_rivals(context, network, generalist),
        STUDENT: student,
        HARD_LABELS: student,
    }


def _rivals(context: RunContext, network: nn.Module, generalist: Predict) -> dict[str, Predict]:
    """The baselines that were trained, by networks of their sizes."""
    record: dict[str, dict[str, Any]] = read_json(context.path(STAGE, "baselines.json"))
    models = {}
    for name, entry in record.items():
        if name == CONTINUED:
            models[name] = generalist
        elif name == WIDE:
            spec = baseline_tasks(context, budget_of(context))[WIDE][0].spec
            models[name] = predicting(fresh_beside(network, spec).to(context.device))
        else:
            models[name] = average_of(network, generalist, AveragingRule(**entry["chosen"]))
    return models


def predicting(network: nn.Module, temperature: float = TEMPERATURE) -> Predict:
    """A network over all classes as a function."""

    def predictions(inputs: Inputs) -> Predictions:
        return network_predictions(network, inputs, temperature)

    return predictions


def fresh_beside(network: nn.Module, spec: NetworkSpec) -> nn.Module:
    """A fresh network of another width, with the table of n-grams of ``network``."""
    fresh = build(replace(spec, n_buckets=1))
    tables = [module for module in network.modules() if isinstance(module, HashedEmbedding)]
    for module in fresh.modules():
        if isinstance(module, HashedEmbedding):
            module.weight, module.mask = tables[0].weight, tables[0].mask
    return fresh.eval()


def average_of(network: nn.Module, generalist: Predict, rule: AveragingRule) -> Predict:
    """The mean of several networks, as plainly as it can be computed.

    Each reads other rows of a table of n-grams, as if it had a table of its own: else it would find
    in the processor's cache what the one before it has read.
    """
    arithmetic = rule.mean == "arithmetic"
    apart = OTHER_ROWS * any(isinstance(module, HashedEmbedding) for module in network.modules())

    def predictions(inputs: Inputs) -> Predictions:
        first = generalist(inputs)
        rows = torch.stack(rule.asked(first)).any(0).nonzero().squeeze(1)
        if not len(rows):
            return first
        log_probs, asked = first.dense(), inputs[rows]
        total = log_probs[rows].exp() if arithmetic else log_probs[rows]
        for i in range(1, rule.n_members):
            own = of_other_rows(asked, i * apart)
            other = network_predictions(network, own, TEMPERATURE).dense()
            total += other.exp() if arithmetic else other
        mean = total.log() if arithmetic else total / rule.n_members
        log_probs[rows] = tempered_log_softmax(mean, rule.temperature)
        return DensePredictions(log_probs)

    return generalist if rule.n_members == 1 else predictions


def of_other_rows(inputs: Inputs, distance: int) -> Inputs:
    """Inputs whose n-grams read rows of a table at this distance."""
    if distance and isinstance(inputs, Ragged):
        return Ragged(inputs.values + distance, inputs.offsets)
    return inputs
