"""The trainings of the rivals, all matched to the ensemble by floating-point operations.

Counted is what the whole ensemble took: its generalist, its specialists, and generalists that were
trained only to find the clusters or for specialists to start from. All but the averaged generalists
are trained to the end of their schedule: the best epoch by validation counts, but there is no early
end, which noise would cause while the learning rate is still high.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from specialists.baselines.budget import Budget
from specialists.classifier import ClassifierTask
from specialists.ensemble import cost_sample
from specialists.generalist import STAGE as GENERALIST
from specialists.networks import (
    ARCHITECTURES,
    NetworkSpec,
    build,
    inference_flops,
    largest_width,
    load_network,
)
from specialists.workspace import Workspace

log = logging.getLogger(__name__)

STAGE = "evaluate-models"
CONTINUED = "generalist_continued"
WIDE = "generalist_wide"
AVERAGED = "generalist_ensemble"
SCHEDULES = (1.0, 0.5, 0.25)  # parts of the budget; validation chooses one for the wide generalist


def baseline_tasks(workspace: Workspace, budget: Budget) -> dict[str, list[ClassifierTask]]:
    """The trainings of each rival that the configuration asks for, by name."""
    _, spec, _ = load_network(workspace.path(GENERALIST))
    recipe = workspace.config.generalist
    patient = recipe.model_copy(update={"patience": 10**6})
    folder = workspace.path(STAGE, "controls")

    def task(name: str, spec: NetworkSpec = spec, **changes) -> ClassifierTask:
        values = {"recipe": recipe, "seed": workspace.seed(name), **changes}
        return ClassifierTask(workspace.folder, folder / name, spec, **values)

    def continued() -> list[ClassifierTask]:
        start, flops = workspace.path(GENERALIST), budget.further.flops
        return [task(CONTINUED, recipe=patient, start=start, flops=flops)]

    def wide() -> list[ClassifierTask]:
        wider = wide_spec(workspace, spec, budget.inference_flops)
        return [
            task(f"{WIDE}-{i}", wider, recipe=patient, flops=part * budget.training_flops)
            for i, part in enumerate(SCHEDULES)
        ]

    def averaged() -> list[ClassifierTask]:
        return [task(f"{AVERAGED}-{i}") for i in range(1, budget.n_generalists)]

    makers: dict[str, Callable[[], list[ClassifierTask]]]
    makers = {CONTINUED: continued, WIDE: wide, AVERAGED: averaged}
    wanted = list(workspace.config.evaluation.controls)
    if WIDE in wanted and spec.model not in ARCHITECTURES:
        log.info(f"{STAGE}: no {WIDE}, since {spec.model} does not come in widths")
        wanted.remove(WIDE)
    return {name: makers[name]() for name in wanted}


def wide_spec(workspace: Workspace, spec: NetworkSpec, flops: float) -> NetworkSpec:
    """The generalist at the largest width that needs at most ``flops`` a prediction."""
    inputs = cost_sample(workspace.dataset.test.inputs, 64)
    reference = _flops(spec, cost_sample(workspace.dataset.test.inputs))
    scale = reference / _flops(spec, inputs)

    def fits(candidate: NetworkSpec) -> bool:
        return scale * _flops(candidate, inputs) <= flops

    width = largest_width(spec, fits, low=spec.width)
    return dataclasses.replace(spec, width=width)


def _flops(spec: NetworkSpec, inputs) -> float:
    return inference_flops(build(dataclasses.replace(spec, n_buckets=1)), inputs)
