"""The specialists of a run, as resumable results that are trained several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from specialists.errors import InputError
from specialists.networks import load_network
from specialists.runs import clear
from specialists.runtime import map_processes, seed_everything
from specialists.specialist import (
    Specialist,
    check_share,
    load_specialist,
    save_specialist,
    starting_network,
    train_specialist,
)

from .classifiers import DATA, train_classifiers, weights_below
from .context import RunContext
from .generalists import initial_folders, initial_generalists, read_subsets
from .runs import Run, build_unit, check_result, does_not_stand
from .trunk_files import load_predictions, load_trunk, prepare_trunk

STAGE = "train-specialists"


@dataclass(frozen=True)
class SpecialistTask:
    """One specialist to be trained, as plain data.

    Parameters
    ----------
    run : Path
    index : int
        Of its cluster.
    subset : tuple of int
    start : Path
        Folder of the generalist that it starts from.
    """

    run: Path
    index: int
    subset: tuple[int, ...]
    start: Path

    @property
    def folder(self) -> Path:
        return self.run / STAGE / f"specialist-{self.index:03d}"

    def key(self, context: RunContext) -> dict[str, object]:
        """What the result depends on."""
        inputs = context.fingerprints(
            *DATA,
            "train-generalist/weights.safetensors",
            "train-generalist/calibration.json",
            weights_below(self.run, self.start),
        )
        settings = context.config.specialists.model_dump(mode="json")
        return {
            "config": {**settings, "seed": context.config.seed},
            "conditions": context.conditions,
            "subset": self.subset,
            "inputs": inputs,
        }


def train_specialists(run: Run) -> None:
    """Train every specialist that does not yet stand, several at a time.

    Raises
    ------
    DataError
        If a subset has no training example; it names the classes.
    """
    context = RunContext.open(run.folder)
    tasks, trainings = specialist_tasks(context), initial_generalists(context)
    dataset = context.dataset
    for task in tasks:
        subset, where = torch.tensor(task.subset), f"cluster {task.index}"
        check_share(dataset.train.labels, subset, dataset.class_names, where)
    _remove_others(context, [task.folder for task in (*tasks, *trainings)])
    prepare_trunk(context)
    if trainings:
        train_classifiers(trainings, run.jobs, "independent generalists")
    map_processes(train_task, tasks, run.jobs, description="specialists")


def train_task(task: SpecialistTask) -> None:
    """Train one specialist and write it as a resumable result."""
    context = RunContext.open(task.run)
    settings, dataset = context.config.specialists, context.dataset

    def train(folder: Path) -> None:
        seed = context.seed("specialist", task.index)
        seed_everything(seed)
        trunk = load_trunk(context)
        generalist, spec, _ = load_network(task.start)
        subset = torch.tensor(task.subset, dtype=torch.int64)
        network, spec = starting_network(generalist, spec, subset, settings, trunk.lower)
        specialist = train_specialist(
            network,
            subset,
            dataset.train,
            dataset.validation,
            load_predictions(context),
            settings,
            seed=seed,
            trunk=trunk,
            hardware=context.hardware,
            folder=folder,
            augment=context.augment,
            description=folder.name,
        )
        save_specialist(specialist, spec, settings.freeze or (), folder)

    build_unit(task.folder, task.key(context), train)


def load_specialists(context: RunContext) -> list[Specialist]:
    """All trained specialists, in the order of the clusters.

    Raises
    ------
    InputError
        If the stage is not done, one of them is not there, or they were made with other frozen
        parts than the configuration names.
    """
    manifest = check_result(context.folder, STAGE)
    freeze = context.config.specialists.freeze or ()
    if tuple(manifest["config"]["specialists"]["freeze"] or ()) != tuple(freeze):
        reason = "specialists.freeze in config.toml changed"
        raise does_not_stand(context.folder, STAGE, reason)
    folders = [task.folder for task in specialist_tasks(context)]
    missing = [folder.name for folder in folders if not (folder / "model.json").is_file()]
    if missing:
        raise InputError(
            "the ensemble is not complete",
            where=context.path(STAGE),
            got=f"no {', '.join(missing)}",
            fix=f"`specialists run --out {context.folder}` trains what is missing",
        )
    return [load_specialist(folder) for folder in folders]


def specialist_tasks(context: RunContext) -> list[SpecialistTask]:
    """Every specialist of a run, in the order of the clusters."""
    pairs = zip(read_subsets(context), initial_folders(context), strict=True)
    return [
        SpecialistTask(context.folder, index, subset, start)
        for index, (subset, start) in enumerate(pairs)
    ]


def _remove_others(context: RunContext, wanted: Sequence[Path]) -> None:
    for pattern in ("specialist-*", "independent-*"):
        for folder in context.path(STAGE).glob(pattern):
            if folder not in wanted:
                clear(folder)
