"""The model of all classes: trained at the width that validation prefers, or the user's own."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from specialists.calibration import fit_temperature
from specialists.classifier import (
    COST_SAMPLE,
    ClassifierTask,
    describe,
    sample_flops,
    train_classifiers,
)
from specialists.networks import (
    NetworkSpec,
    adopt_weights,
    build,
    check_outputs_are_the_heads,
    load_network,
    n_parameters,
    output_order,
    read_foreign,
    save_network,
    warn_if_near_chance,
    warn_of_other_inputs,
)
from specialists.predictions import predict_outputs
from specialists.runs import Run, copy_file, read_json, write_array, write_json
from specialists.training import TrainingCost
from specialists.workspace import Workspace

log = logging.getLogger(__name__)

STAGE = "train-generalist"
FLATTERED = (
    "validation and test rows that it was trained on make it look better than it is; its own split "
    "is given by data.split (tables), x_train, x_validation, x_test (arrays) or folders (images)"
)


def train_generalist(run: Run) -> None:
    """Train a generalist of each candidate width, keep the one with the best validation top-1.

    With ``generalist.weights`` the user's network is taken as it is.
    """
    workspace = Workspace.open(run.folder)
    if workspace.config.generalist.weights:
        _adopt(workspace)
        return
    tasks = [width_task(workspace, width) for width in workspace.config.generalist.widths or ()]
    train_classifiers(tasks, run.jobs, "generalist")
    results = [read_json(task.folder / "result.json") for task in tasks]
    best = max(range(len(tasks)), key=lambda i: results[i]["top1"])
    candidates = [
        {
            "width": task.spec.width,
            "validation_loss": result["loss"],
            "validation_top1": result["top1"],
            "parameters": result["parameters"],
            "inference_flops": result["inference_flops"],
            "chosen": i == best,
        }
        for i, (task, result) in enumerate(zip(tasks, results, strict=True))
    ]
    write_json(workspace.path(STAGE, "widths.json"), candidates)
    network, spec, _ = load_network(tasks[best].folder)
    copy_file(tasks[best].folder / "metrics.jsonl", workspace.path(STAGE, "metrics.jsonl"))
    _publish(workspace, network, spec, TrainingCost.from_dict(results[best]))


def chosen_training(workspace: Workspace) -> Path | None:
    """The folder of the chosen generalist's training; None for one that was given."""
    if workspace.config.generalist.weights:
        return None
    widths = read_json(workspace.path(STAGE, "widths.json"))
    width = next(entry["width"] for entry in widths if entry["chosen"])
    return workspace.path(STAGE, "units", f"width-{width}")


def width_task(workspace: Workspace, width: int) -> ClassifierTask:
    """The training of a generalist of one width."""
    return ClassifierTask(
        run=workspace.folder,
        folder=workspace.path(STAGE, "units", f"width-{width}"),
        spec=workspace.network_spec(width=width),
        recipe=workspace.config.generalist,
        seed=workspace.seed("generalist"),
    )


def _adopt(workspace: Workspace) -> None:
    """Take the user's trained network, its outputs in the order of the data's classes."""
    settings, dataset = workspace.config.generalist, workspace.dataset
    weights = read_foreign(Path(str(settings.weights)))
    warn_of_other_inputs(weights.path, dataset.preprocessing)
    order = output_order(weights, settings.classes, dataset.class_names)
    spec = workspace.network_spec()
    network = build(spec).eval()
    notes = adopt_weights(network, weights, order, dataset.n_classes)
    if order.places is not None:
        rows = torch.arange(min(COST_SAMPLE, len(dataset.validation)))
        check_outputs_are_the_heads(network, dataset.n_classes, dataset.validation.inputs[rows])
    log.info(f"train-generalist: took {settings.weights} as it is")
    for note in (order.note, *notes, FLATTERED):
        log.info(f"train-generalist: {note}")
    top1 = _publish(workspace, network, spec, TrainingCost())
    warn_if_near_chance(top1, dataset.validation.labels, dataset.n_classes, settings.weights)


def _publish(
    workspace: Workspace, network: nn.Module, spec: NetworkSpec, cost: TrainingCost
) -> float:
    """Write the chosen generalist with its validation predictions and its temperature.

    Returns
    -------
    float
        Its top-1 on validation rows.
    """
    network.to(workspace.device)
    validation = workspace.dataset.validation
    outputs = predict_outputs(network, validation.inputs)
    temperature = fit_temperature(outputs, validation.labels)
    folder = workspace.path(STAGE)
    log_probs = F.log_softmax(outputs, dim=-1)
    write_array(folder / "validation.log_probs.npy", log_probs.numpy())
    write_json(folder / "calibration.json", {"temperature": temperature})
    top1 = float((log_probs.argmax(-1) == validation.labels).double().mean())
    result = {
        "top1": top1,
        **cost.to_dict(),
        "parameters": n_parameters(network),
        "inference_flops": sample_flops(workspace, network),
    }
    write_json(folder / "result.json", result)
    save_network(network, spec, folder, **describe(workspace, temperature))
    log.info(f"train-generalist: width {spec.width}, validation top-1 {top1:.3f}")
    return top1
