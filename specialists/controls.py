"""What else the same computing could have bought: the fair rivals of an ensemble of specialists.

Counted are the examples of the generalist, of the specialists, and of generalists that were trained
only to find the clusters or for specialists to start from. `generalist_continued` is trained on for
as many examples as all but the generalist saw; `generalist_wide` has at most the ensemble's mean
inference FLOPs and is trained on as many examples as all of them; both to the end of their schedule
(best epoch by validation, but no early end, which noise would cause while the learning rate is
still high). `generalist_ensemble` averages k generalists that differ in their seeds, k the number
of generalists that those examples would train; `generalist_ensemble_same_inference` the first few
of them, as many as a prediction of the ensemble would pay for, rounded up (so that it may cost
more; two per cent above a whole number do not count), but no more than there are.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from specialists.combination import arithmetic_mean
from specialists.ensemble import cost_sample
from specialists.generalist import ClassifierTask, train_classifiers
from specialists.networks import (
    ARCHITECTURES,
    NetworkSpec,
    build,
    inference_flops,
    largest_width,
    load_network,
    n_parameters,
)
from specialists.predictions import ModelOutputs, predict_log_probs
from specialists.runs import Run, read_json
from specialists.workspace import Workspace

log = logging.getLogger(__name__)

STAGE = "evaluate-models"
GENERALIST = "train-generalist"
SAME_INFERENCE = "generalist_ensemble_same_inference"
SAME_COST = 1.02  # a ratio of costs up to which they count as equal


@dataclass(frozen=True)
class Budget:
    """What an ensemble cost.

    Parameters
    ----------
    generalist_examples, further_examples : int
        Seen in training by the generalist, and by everything else that the ensemble needed
        (specialists; generalists that found the clusters or that specialists started from);
        repetitions included.
    inference_flops, generalist_flops : float
        Mean of one prediction of `ensemble`, and of its generalist.
    """

    generalist_examples: int
    further_examples: int
    inference_flops: float
    generalist_flops: float

    @property
    def n_generalists(self) -> int:
        """K = ceil(examples of the whole ensemble / examples of one generalist)."""
        total = self.generalist_examples + self.further_examples
        return math.ceil(total / self.generalist_examples)

    @property
    def n_asked(self) -> int:
        """Generalists that a prediction of `ensemble` would pay for, rounded up; at most K."""
        paid = self.inference_flops / self.generalist_flops
        return min(self.n_generalists, math.ceil(paid / SAME_COST))


def control_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """Train the controls that do not yet stand; what each says of a split, by name."""
    workspace = Workspace.open(run.folder)
    budget = budget_of(workspace)
    tasks = control_tasks(workspace, budget)
    every = [task for group in tasks.values() for task in group]
    train_classifiers(every, run.jobs, "controls")
    outputs = {}
    for name, group in tasks.items():
        folders, sizes = [task.folder for task in group], {name: len(group)}
        if name == "generalist_ensemble":
            folders.insert(0, workspace.path(GENERALIST))
            sizes = {name: len(folders), SAME_INFERENCE: budget.n_asked}
        outputs |= _averaged(workspace, folders, sizes, split)
    return outputs


def control_tasks(workspace: Workspace, budget: Budget) -> dict[str, list[ClassifierTask]]:
    """The trainings of each control that the configuration asks for, by name."""
    _, spec, _ = load_network(workspace.path(GENERALIST))
    recipe = workspace.config.generalist
    folder = workspace.path(STAGE, "controls")

    def task(name: str, spec: NetworkSpec = spec, **changes) -> ClassifierTask:
        values = {"recipe": recipe, "seed": workspace.seed(name), **changes}
        return ClassifierTask(workspace.folder, folder / name, spec, **values)

    patient = recipe.model_copy(update={"patience": 10**6})
    makers = {
        "generalist_continued": lambda: [
            task(
                "generalist_continued",
                recipe=patient,
                start=workspace.path(GENERALIST),
                n_examples=budget.further_examples,
            )
        ],
        "generalist_wide": lambda: [
            task(
                "generalist_wide",
                wide_spec(workspace, spec, budget.inference_flops),
                recipe=patient,
                n_examples=budget.generalist_examples + budget.further_examples,
            )
        ],
        "generalist_ensemble": lambda: [
            task(f"generalist_ensemble-{i}") for i in range(1, budget.n_generalists)
        ],
    }
    wanted = list(workspace.config.evaluation.controls)
    if "generalist_wide" in wanted and spec.model not in ARCHITECTURES:
        log.info(f"evaluate-models: no generalist_wide, since {spec.model} does not come in widths")
        wanted.remove("generalist_wide")
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


def budget_of(workspace: Workspace) -> Budget:
    """What the ensemble of a run cost; a generalist that was given counts as if trained here."""
    costs = read_json(workspace.path("combine-predictions", "costs.json"))
    seen = costs["generalist"]["training_examples"]
    settings, n_train = workspace.config.generalist, len(workspace.dataset.train)
    return Budget(
        seen or (settings.epochs or 1) * n_train,
        costs["ensemble"]["training_examples"] - seen,
        costs["ensemble"]["inference_flops"],
        costs["generalist"]["inference_flops"],
    )


def _averaged(
    workspace: Workspace, folders: Sequence[Path], sizes: Mapping[str, int], split: str
) -> dict[str, ModelOutputs]:
    """Mean of the first few members' calibrated probabilities, and what they cost together.

    ``sizes`` names each such mean and says of how many it is.
    """
    inputs = workspace.split(split).inputs
    mean = torch.empty(0)
    parameters, flops, n_examples = 0, 0.0, 0
    if "generalist_continued" in sizes:
        n_examples += read_json(workspace.path(GENERALIST, "result.json"))["n_examples"]
    found = {}
    for i, folder in enumerate(folders):
        network, _, about = load_network(folder)
        network.to(workspace.device)
        log_probs = predict_log_probs(network, inputs, about["temperature"])
        mean = log_probs if i == 0 else arithmetic_mean([mean, log_probs], [i, 1])
        parameters += n_parameters(network)
        flops += inference_flops(network, cost_sample(inputs).to(workspace.device))
        n_examples += read_json(folder / "result.json")["n_examples"]
        for name, size in sizes.items():
            if size == i + 1:
                found[name] = ModelOutputs(name, mean.numpy(), parameters, flops, n_examples)
    return {name: found[name] for name in sizes}
