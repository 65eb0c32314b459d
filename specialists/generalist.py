"""The model of all classes: trained at the width that validation prefers, or the user's own.

Also the one way in which any classifier over all classes is trained here, which the controls and
the student share.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.calibration import fit_temperature
from specialists.config import Recipe
from specialists.networks import (
    NetworkSpec,
    adopt_weights,
    build,
    check_outputs_are_the_heads,
    inference_flops,
    load_network,
    n_parameters,
    output_order,
    read_foreign,
    save_network,
    warn_if_near_chance,
    warn_of_other_inputs,
)
from specialists.predictions import predict_outputs
from specialists.runs import Run, build_unit, copy_file, read_json, write_array, write_json
from specialists.runtime import map_processes, seed_everything, threads
from specialists.training import Hardware, TensorExamples, Trainer, ValidationLoss
from specialists.workspace import Workspace

log = logging.getLogger(__name__)

COST_SAMPLE = 512
STAGE = "train-generalist"
FLATTERED = (
    "validation and test rows that it was trained on make it look better than it is; its own split "
    "is given by data.split (tables), x_train, x_validation, x_test (arrays) or folders (images)"
)
DATA = (
    "prepare-data/dataset.json",
    "prepare-data/train.labels.npy",
    "prepare-data/train.inputs.npy",
    "prepare-data/validation.labels.npy",
    "prepare-data/validation.inputs.npy",
)


@dataclass(frozen=True)
class ClassifierTask:
    """One classifier to be trained, as plain data that a worker process can take.

    Parameters
    ----------
    run, folder : Path
        Run folder, and where the result goes.
    spec : NetworkSpec
    recipe : Recipe
    seed : int
    start : Path, optional
        Folder of a network whose weights it starts from; its start may then stay the best.
    n_examples : int, optional
        Training examples, instead of the recipe's epochs.
    rows : tuple of int, optional
        (fold, number of folds): train on all rows but those of the fold, as they are dealt out.
    """

    run: Path
    folder: Path
    spec: NetworkSpec
    recipe: Recipe
    seed: int
    start: Path | None = None
    n_examples: int | None = None
    rows: tuple[int, int] | None = None

    def key(self, workspace: Workspace) -> dict[str, Any]:
        """What the result depends on."""
        task = {
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.model_dump(mode="json", include=set(Recipe.model_fields)),
            "seed": self.seed,
            "n_examples": self.n_examples,
            "rows": self.rows,
        }
        files = DATA if self.start is None else (*DATA, _below(self.run, self.start))
        inputs = workspace.fingerprints(*files)
        return {"config": task, "conditions": workspace.conditions, "inputs": inputs}


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
    _publish(workspace, network, spec, results[best]["n_examples"])


def width_task(workspace: Workspace, width: int) -> ClassifierTask:
    """The training of a generalist of one width."""
    return ClassifierTask(
        run=workspace.folder,
        folder=workspace.path(STAGE, "units", f"width-{width}"),
        spec=workspace.network_spec(width=width),
        recipe=workspace.config.generalist,
        seed=workspace.seed("generalist"),
    )


def train_classifiers(tasks: Sequence[ClassifierTask], jobs: int, description: str) -> None:
    """Train what does not yet stand, several at a time; a single one with all threads."""
    if len(tasks) == 1:
        threads(Workspace.open(tasks[0].run).config.threads)
        train_classifier(tasks[0])
    else:
        map_processes(train_classifier, tasks, jobs, description=description)


def train_classifier(task: ClassifierTask) -> None:
    """Train one classifier with hard labels, calibrate it, write it as a unit."""
    workspace = Workspace.open(task.run)

    def run_training(folder: Path) -> None:
        seed_everything(task.seed)
        network = build(task.spec)
        if task.start is not None:
            network.load_state_dict(load_network(task.start)[0].state_dict())
        inputs, labels = _training_rows(workspace, task.rows)
        smoothing = task.recipe.label_smoothing or 0.0

        def loss(logits: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(logits, target, label_smoothing=smoothing)

        examples = TensorExamples(inputs, (labels,), workspace.augment)
        fit_and_save(
            workspace,
            Trainer(
                network,
                examples,
                loss,
                validation_of(workspace),
                task.recipe,
                seed=task.seed,
                folder=folder,
                hardware=hardware_of(workspace),
                n_examples=task.n_examples,
                keep_start=task.start is not None,
                description=folder.name,
            ),
            task.spec,
        )

    build_unit(task.folder, task.key(workspace), run_training)


def fit_and_save(workspace: Workspace, trainer: Trainer, spec: NetworkSpec) -> None:
    """Train, calibrate on validation data, and write network and ``result.json``."""
    result = trainer.fit()
    validation = workspace.dataset.validation
    outputs = predict_outputs(trainer.network, validation.inputs)
    temperature = fit_temperature(outputs, validation.labels)
    save_network(trainer.network, spec, trainer.folder, **describe(workspace, temperature))
    costs = {
        "parameters": n_parameters(trainer.network),
        "inference_flops": sample_flops(workspace, trainer.network),
    }
    result_values = {**dataclasses.asdict(result), "temperature": temperature, **costs}
    write_json(trainer.folder / "result.json", result_values)


def describe(workspace: Workspace, temperature: float) -> dict[str, Any]:
    """What a model's folder holds beside its network, so that it works alone."""
    dataset = workspace.dataset
    return {
        "dataset": dataset.name,
        "kind": dataset.kind,
        "class_names": list(dataset.class_names),
        "preprocessing": dict(dataset.preprocessing),
        "temperature": temperature,
    }


def sample_flops(workspace: Workspace, network: nn.Module) -> float:
    """Mean inference FLOPs over the first validation inputs."""
    inputs = workspace.dataset.validation.inputs
    index = torch.arange(min(COST_SAMPLE, len(inputs)))
    device = next(network.parameters()).device
    return inference_flops(network, inputs[index].to(device))


def validation_of(workspace: Workspace) -> ValidationLoss:
    """How a classifier over all classes is judged after each epoch."""
    validation = workspace.dataset.validation
    return ValidationLoss(validation.inputs, validation.labels)


def hardware_of(workspace: Workspace) -> Hardware:
    """Device and precision of the configuration."""
    return Hardware(workspace.config.device, workspace.config.precision)


def _training_rows(workspace: Workspace, rows: tuple[int, int] | None):
    train = workspace.dataset.train
    if rows is None:
        return train.inputs, train.labels
    fold, n_folds = rows
    index = torch.arange(len(train))
    index = index[index % n_folds != fold]
    return train.inputs[index], train.labels[index]


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
    top1 = _publish(workspace, network, spec, 0)
    warn_if_near_chance(top1, dataset.validation.labels, dataset.n_classes, settings.weights)


def _publish(workspace: Workspace, network: nn.Module, spec: NetworkSpec, n_examples: int) -> float:
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
        "n_examples": n_examples,
        "parameters": n_parameters(network),
        "inference_flops": sample_flops(workspace, network),
    }
    write_json(folder / "result.json", result)
    save_network(network, spec, folder, **describe(workspace, temperature))
    log.info(f"train-generalist: width {spec.width}, validation top-1 {top1:.3f}")
    return top1


def _below(run: Path, folder: Path) -> str:
    return (folder / "weights.safetensors").relative_to(run).as_posix()
