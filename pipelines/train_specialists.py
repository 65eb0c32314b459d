"""The specialists of a run: trained several at a time, and read back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from specialists.config.effects import OF_SHARED
from specialists.datasets.base import Ragged
from specialists.errors import InputError
from specialists.networks import NetworkSpec, load_network, read_spec
from specialists.networks.weights import DESCRIPTION
from specialists.predictions import StoredPredictions
from specialists.runtime import seed_everything
from specialists.specialist import (
    Specialist,
    check_share,
    load_specialist,
    save_specialist,
    starting_network,
    train_specialist,
    training_rows,
)
from specialists.trunk import Trunk

from .classifiers import (
    DATA,
    GENERALIST_FILES,
    WEIGHTS,
    TrainingTask,
    train_classifiers,
    train_tasks,
)
from .context import RunContext
from .kept import kept
from .pieces import expect_pieces
from .runs import Run, check_result, clear, does_not_stand
from .shared_specialists import SHORTLISTS, prepare_shortlists, shared_tasks
from .train_generalist import initial_folders, initial_generalists, read_subsets
from .trunk_files import (
    FOLDER,
    GENERALIST,
    generalist_targets,
    load_trunk,
    prepare_trunk,
    split_generalist,
)

STAGE = "train-specialists"


@dataclass(frozen=True)
class SpecialistTask(TrainingTask):
    """One specialist to be trained.

    Parameters
    ----------
    index : int
        Of its cluster.
    subset : tuple of int
    start : Path
        Folder of the generalist that it starts from.
    """

    index: int
    subset: tuple[int, ...]
    start: Path

    def key(self, context: RunContext) -> dict[str, object]:
        settings = context.config.specialists.model_dump(mode="json", exclude={"kind", *OF_SHARED})
        return {
            "config": {**settings, "seed": context.config.seed},
            "conditions": context.conditions | context.source("specialists"),
            "subset": self.subset,
            "inputs": context.fingerprints(
                *DATA, *GENERALIST_FILES, context.below(self.start / WEIGHTS)
            ),
        }

    def train(self, context: RunContext, folder: Path) -> None:
        settings, dataset = context.config.specialists, context.dataset
        generalist, spec, trunk, predictions = self._sources(context)
        subset = torch.tensor(self.subset, dtype=torch.int64)
        seed, read = context.seed("specialist", self.index), dataset.train.inputs
        if isinstance(read, Ragged):
            read = read[training_rows(dataset.train.labels, subset, settings, seed)]
        seed_everything(seed)
        network, spec = starting_network(generalist, spec, subset, settings, trunk.lower, read)
        specialist = train_specialist(
            network,
            subset,
            dataset.train,
            dataset.validation,
            predictions,
            settings,
            seed=seed,
            trunk=trunk,
            hardware=context.hardware,
            folder=folder,
            augment=context.augment,
            description=folder.name,
        )
        save_specialist(specialist, spec, settings.freeze or (), folder)

    def _sources(self, context: RunContext) -> _Sources:
        networks = (self.start, context.path(GENERALIST))
        files = [folder / name for folder in networks for name in (WEIGHTS, DESCRIPTION)]
        files += [context.folder / "config.toml", context.path("prepare-data")]
        files.append(context.path(*FOLDER))
        return kept("specialists", files, partial(_read_sources, context, self.start))


class _Sources(NamedTuple):
    """What all specialists with the same start learn from."""

    generalist: nn.Module | None
    spec: NetworkSpec
    trunk: Trunk
    predictions: StoredPredictions


def _read_sources(context: RunContext, start: Path) -> _Sources:
    settings = context.config.specialists
    if settings.start == "fresh" and not settings.freeze:
        generalist, spec = None, read_spec(start)
    else:
        generalist, spec, _ = load_network(start)
    trunk = load_trunk(context, generalist if start == context.path(GENERALIST) else None)
    return _Sources(generalist, spec, trunk, StoredPredictions(generalist_targets(context)))


def execute(run: Run) -> None:
    """Train every specialist that does not yet stand, several at a time.

    Raises
    ------
    DataError
        If a subset has no training example; it names the classes.
    """
    context = RunContext.open(run.folder)
    context.check_networks()
    expect_pieces(context, STAGE)
    tasks, trainings = specialist_tasks(context), initial_generalists(context)
    sharing = shared_tasks(context)
    dataset = context.dataset
    for task in tasks:
        subset, where = torch.tensor(task.subset), f"cluster {task.index}"
        check_share(dataset.train.labels, subset, dataset.class_names, where)
    wanted = [task.folder for task in (*tasks, *trainings, *sharing)]
    wanted += [context.path(*FOLDER)] * bool(tasks) + [context.path(*SHORTLISTS)] * bool(sharing)
    for pattern in ("specialist-*", "independent-*", "shared-*", FOLDER[1], SHORTLISTS[1]):
        for folder in context.path(STAGE).glob(pattern):
            if folder not in wanted:
                clear(folder)
    if tasks:
        prepare_trunk(context)
    if trainings:
        train_classifiers(trainings, run.jobs, "independent generalists")
    by_start = sorted(tasks, key=lambda task: task.start)  # each generalist is read once
    train_tasks(by_start, run.jobs, "specialists")
    if sharing:
        prepare_shortlists(context)
        train_tasks(sharing, run.jobs, "shared specialists")


def load_specialists(context: RunContext, upper: nn.Module | None = None) -> list[Specialist]:
    """All trained specialists of clusters, in the order of these.

    Those with adapters share the tensors of ``upper``, the generalist above the trunk; it is read
    if it is not given.

    Raises
    ------
    InputError
        If the stage is not done, one of them is not there, or they were made with other frozen
        parts than the configuration names.
    """
    manifest = check_result(context.folder, STAGE)
    settings = context.config.specialists.model_dump(mode="json")
    for name in ("freeze", "adapter", "adapter_blocks", "adapter_targets"):
        if (manifest["config"]["specialists"].get(name) or None) != (settings[name] or None):
            raise does_not_stand(
                context.folder, STAGE, f"specialists.{name} in config.toml changed"
            )
    folders = [task.folder for task in specialist_tasks(context)]
    everyone = [*folders, *(task.folder for task in shared_tasks(context))]
    missing = [folder.name for folder in everyone if not (folder / "model.json").is_file()]
    if missing:
        raise InputError(
            "the ensemble is not complete",
            where=context.path(STAGE),
            got=f"no {', '.join(missing)}",
            fix=f"`specialists run --out {context.folder}` trains what is missing",
        )
    if settings["adapter"] is not None and upper is None:
        upper = split_generalist(context)[1]
    return [load_specialist(folder, upper) for folder in folders]


def specialist_tasks(context: RunContext) -> list[SpecialistTask]:
    """Every specialist of a cluster, in the order of the clusters."""
    if context.config.specialists.kind == "shared":
        return []
    pairs = zip(read_subsets(context), initial_folders(context), strict=True)
    folder = context.path(STAGE)
    return [
        SpecialistTask(context.folder, folder / f"specialist-{i:03d}", i, subset, start)
        for i, (subset, start) in enumerate(pairs)
    ]
