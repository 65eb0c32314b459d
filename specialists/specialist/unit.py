"""One small model per cluster of confusable classes, with a dustbin for all the others.

A specialist starts from a generalist, whose outputs of its subset it keeps and whose other classes
it merges into one dustbin, or afresh. Half of its examples come from its subset, half at random
from the rest (Hinton et al. 2015, section 5). What it trains under is a prior of its own, so the
generalist's soft targets are shifted to it, and its dustbin logit is corrected and calibrated
afterwards.

Frozen lower parts are the same in every specialist: their outputs are computed once for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from specialists.calibration import Calibration, dustbin_correction, fit_calibration
from specialists.classifier import DATA, hardware_of, train_classifiers
from specialists.datasets.base import Inputs
from specialists.errors import DataError, InputError
from specialists.losses import SpecialistLoss
from specialists.networks import (
    fitting,
    n_parameters,
    outline,
    read_model,
    save_network,
    split_frozen,
)
from specialists.predictions import predict_outputs
from specialists.runs import Run, build_unit, check_result, clear, does_not_stand, write_json
from specialists.runtime import map_processes, seed_everything
from specialists.specialist.parents import (
    STAGE,
    independent_generalists,
    parents,
    read_subsets,
)
from specialists.specialist.sampling import subset_examples, subset_validation
from specialists.specialist.start import starting_network
from specialists.training import Trainer, TrainingCost
from specialists.trunk import load_trunk, prepare_trunk
from specialists.workspace import Workspace


@dataclass(frozen=True)
class Specialist:
    """A trained specialist.

    Parameters
    ----------
    network : nn.Module
        The part above the shared frozen trunk (all of it, where nothing is frozen).
    subset : int64 Tensor of shape (k,)
    calibration : Calibration
    cost : TrainingCost
        Of its training.
    """

    network: nn.Module
    subset: Tensor
    calibration: Calibration
    cost: TrainingCost

    def log_probs(self, features: Inputs) -> Tensor:
        """Log-probabilities [n, k + 1] of trunk features, dustbin last, natural prior."""
        return self.calibration.log_probs(predict_outputs(self.network, features))


@dataclass(frozen=True)
class SpecialistTask:
    """One specialist to be trained, as plain data."""

    run: Path
    index: int
    subset: tuple[int, ...]
    parent: Path

    @property
    def folder(self) -> Path:
        return self.run / STAGE / f"specialist-{self.index:03d}"


def train_specialists(run: Run) -> None:
    """Train every specialist that does not yet stand, several at a time.

    Raises
    ------
    DataError
        If a subset has no training example; it names the classes.
    """
    workspace = Workspace.open(run.folder)
    tasks, trainings = _tasks(workspace), independent_generalists(workspace)
    _check_subsets(workspace, tasks)
    _remove_others(workspace, [task.folder for task in (*tasks, *trainings)])
    prepare_trunk(workspace)
    if trainings:
        train_classifiers(trainings, run.jobs, "independent generalists")
    map_processes(train_specialist, tasks, run.jobs, description="specialists")


def train_specialist(task: SpecialistTask) -> None:
    """Train, calibrate and write one specialist."""
    workspace = Workspace.open(task.run)
    settings = workspace.config.specialists
    key = {
        "config": {**settings.model_dump(mode="json"), "seed": workspace.config.seed},
        "conditions": workspace.conditions,
        "subset": task.subset,
        "inputs": workspace.fingerprints(
            *DATA,
            "train-generalist/weights.safetensors",
            "train-generalist/calibration.json",
            task.parent.relative_to(task.run).joinpath("weights.safetensors").as_posix(),
        ),
    }
    build_unit(task.folder, key, lambda folder: _train(workspace, task, folder))


def load_specialists(workspace: Workspace) -> list[Specialist]:
    """All trained specialists, in the order of the clusters.

    Raises
    ------
    InputError
        If the stage is not done, one of them is not there, or they were made with other frozen
        parts than the configuration names.
    """
    manifest = check_result(workspace.folder, STAGE)
    freeze = workspace.config.specialists.freeze or ()
    if tuple(manifest["config"]["specialists"]["freeze"] or ()) != tuple(freeze):
        reason = "specialists.freeze in config.toml changed"
        raise does_not_stand(workspace.folder, STAGE, reason)
    tasks = _tasks(workspace)
    missing = [task.folder.name for task in tasks if not (task.folder / "model.json").is_file()]
    if missing:
        raise InputError(
            "the ensemble is not complete",
            where=workspace.path(STAGE),
            got=f"no {', '.join(missing)}",
            fix=f"`specialists run --out {workspace.folder}` trains what is missing",
        )
    return [load_specialist(task.folder) for task in tasks]


def load_specialist(folder: Path) -> Specialist:
    """One trained specialist."""
    spec, about, tensors = read_model(folder)
    with fitting(folder):
        _, upper = split_frozen(outline(spec), about["freeze"])
        upper.load_state_dict(tensors, assign=True)
        calibration = Calibration(
            about["calibration"]["correction"],
            about["calibration"]["temperature"],
            about["calibration"]["dustbin_bias"],
        )
        subset = torch.tensor(about["subset"], dtype=torch.int64)
        return Specialist(upper.eval(), subset, calibration, TrainingCost.from_dict(about))


def folders_of(workspace: Workspace) -> list[Path]:
    """Where each specialist of a run is trained, in the order of the clusters."""
    return [task.folder for task in _tasks(workspace)]


def _tasks(workspace: Workspace) -> list[SpecialistTask]:
    pairs = zip(read_subsets(workspace), parents(workspace), strict=True)
    return [
        SpecialistTask(workspace.folder, index, subset, parent)
        for index, (subset, parent) in enumerate(pairs)
    ]


def _train(workspace: Workspace, task: SpecialistTask, folder: Path) -> None:
    settings = workspace.config.specialists
    seed = workspace.seed("specialist", task.index)
    seed_everything(seed)
    trunk = load_trunk(workspace)
    subset = torch.tensor(task.subset, dtype=torch.int64)
    network, spec = starting_network(workspace, trunk, subset, task.parent)
    examples, natural_share = subset_examples(workspace, trunk, subset)
    validation = subset_validation(workspace, trunk, subset)
    trainer = Trainer(
        trunk.stacked(network),
        examples,
        SpecialistLoss(
            settings.temperature, settings.soft_targets, settings.label_smoothing or 0.0
        ),
        lambda stacked: validation(trunk.unstacked(stacked)),
        settings,
        seed=seed,
        folder=folder,
        hardware=hardware_of(workspace),
        description=folder.name,
    )
    result = trainer.fit()
    outputs = predict_outputs(network, trunk.validation)
    correction = dustbin_correction(settings.subset_share, natural_share, settings.correction)
    calibration = Calibration(correction)
    if settings.calibrate:
        calibration = fit_calibration(outputs, validation.labels, correction)
    shares = {"natural_share": natural_share, "training_share": settings.subset_share}
    write_json(folder / "calibration.json", {**calibration.to_dict(), **shares})
    save_network(
        network,
        spec,
        folder,
        subset=list(task.subset),
        freeze=list(settings.freeze or ()),
        calibration=calibration.to_dict(),
        parameters=n_parameters(network),
        **result.to_dict(),
    )


def _check_subsets(workspace: Workspace, tasks: list[SpecialistTask]) -> None:
    counts = torch.bincount(workspace.dataset.train.labels, minlength=workspace.dataset.n_classes)
    for task in tasks:
        n_inside = int(counts[list(task.subset)].sum())
        names = ", ".join(workspace.dataset.class_names[c] for c in task.subset[:10])
        if n_inside == 0 or n_inside == len(workspace.dataset.train):
            raise DataError(
                "a specialist needs training examples inside and outside of its subset",
                where=f"cluster {task.index}",
                got=f"{n_inside} of {len(workspace.dataset.train)} inside: {names}",
                fix="set clusters.n_clusters or coverage, or give these classes examples",
            )


def _remove_others(workspace: Workspace, wanted: list[Path]) -> None:
    for pattern in ("specialist-*", "independent-*"):
        for folder in workspace.path(STAGE).glob(pattern):
            if folder not in wanted:
                clear(folder)
