"""The specialists of a run that all rows share: their shortlists, their trainings, read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from specialists.distillation import teacher_blocks
from specialists.ensemble import SharedMembers
from specialists.files import read_array, read_json, write_array
from specialists.files.ownership import MANIFEST
from specialists.networks import read_spec
from specialists.runtime import seed_everything
from specialists.shared import (
    Shortlisting,
    load_shared,
    save_shared,
    shared_network,
    shared_recipe,
    train_shared,
)

from .classifiers import DATA, GENERALIST_FILES, Member, TrainingTask, recipe_settings
from .context import RunContext
from .runs import Run, does_not_stand, ensure_result
from .train_generalist import cross_fitted_generalists, read_subsets
from .trunk_files import GENERALIST

STAGE = "train-specialists"
SHORTLISTS = (STAGE, "shortlists")


@dataclass(frozen=True)
class SharedTask(TrainingTask):
    """One shared specialist to be trained.

    Parameters
    ----------
    index : int
    """

    index: int

    def key(self, context: RunContext) -> dict[str, object]:
        settings = context.config.specialists
        recipe = shared_recipe(context.config.generalist, settings)
        network = {"width": settings.width, "n_buckets": settings.n_buckets}
        if settings.factory is not None:
            network |= {"factory": settings.factory, "options": settings.options}
        shortlists = context.below(context.path(*SHORTLISTS) / "manifest.json")
        return {
            "config": {**recipe_settings(recipe), **network, "seed": context.config.seed},
            "conditions": context.conditions | context.source("specialists"),
            "inputs": context.fingerprints(*DATA, *GENERALIST_FILES, shortlists),
        }

    def train(self, context: RunContext, folder: Path) -> None:
        config, dataset = context.config, context.dataset
        seed = context.seed("shared", self.index)
        seed_everything(seed)
        generalist = read_spec(context.path(GENERALIST))
        network, spec = shared_network(generalist, config.specialists, dataset.train.inputs)
        shortlists, validation_shortlists = _read_shortlists(context)
        shared = train_shared(
            network,
            dataset.train,
            dataset.validation,
            shortlists,
            validation_shortlists,
            shared_recipe(config.generalist, config.specialists),
            seed=seed,
            hardware=context.hardware,
            folder=folder,
            augment=context.augment,
            description=folder.name,
        )
        save_shared(shared, spec, folder)


def shared_tasks(context: RunContext) -> list[SharedTask]:
    """Every shared specialist of a run."""
    settings = context.config.specialists
    n = 0 if settings.kind == "clusters" else settings.n_shared
    folder = context.path(STAGE)
    return [SharedTask(context.folder, folder / f"shared-{i:03d}", i) for i in range(n)]


def shortlisting(context: RunContext) -> Shortlisting:
    """Which classes a run's shared specialists are asked about."""
    settings = context.config.specialists
    if settings.shortlist_of == "classes":
        return Shortlisting(settings.shortlist)
    return Shortlisting(max(context.config.combination.n), read_subsets(context))


def prepare_shortlists(context: RunContext) -> None:
    """Write the shortlists of training and validation rows, unless they stand already."""
    clusters = ["cluster-classes/clusters.json"] * (shortlisting(context).subsets is not None)
    by = {"shortlist_by": context.config.specialists.shortlist_by}
    key = {
        "config": {**_settings(context), **by},
        "inputs": context.fingerprints(*DATA, *GENERALIST_FILES, *clusters),
    }
    ensure_result(context.path(*SHORTLISTS), key, partial(_write_shortlists, context))


def _settings(context: RunContext) -> dict[str, object]:
    """Which classes shared specialists are asked about, JSON-able."""
    of = context.config.specialists.shortlist_of
    return {"shortlist_of": of, "n": shortlisting(context).n}


def _write_shortlists(context: RunContext, folder: Path) -> None:
    find, rows = shortlisting(context), context.dataset.train
    if context.config.specialists.shortlist_by == "cross-fitted":
        blocks = [cross_fitted_generalists(Run(context.folder))[0].predictions]
    else:
        generalist = Member(context, context.path(GENERALIST))
        inputs, description = context.asked("train"), "generalist on training data"
        blocks = teacher_blocks(generalist.predict, inputs, description)
    train = find.of_training_rows(blocks, rows.labels)
    stored = torch.from_numpy(
        read_array(context.path(GENERALIST, "validation.log_probs.npy"), mmap=False)
    )
    for name, classes in (("train", train), ("validation", find(stored))):
        write_array(folder / f"{name}.npy", classes.int().numpy())


def _read_shortlists(context: RunContext) -> Iterator[Tensor]:
    for name in ("train", "validation"):
        stored = read_array(context.path(*SHORTLISTS) / f"{name}.npy", mmap=False)
        yield torch.from_numpy(stored).long()


def load_shared_specialists(context: RunContext) -> SharedMembers | None:
    """All shared specialists of a run, on its device; None: it has none.

    Raises
    ------
    InputError
        If they were trained for other shortlists than the configuration names.
    """
    tasks = shared_tasks(context)
    if not tasks:
        return None
    trained_for = read_json(context.path(*SHORTLISTS, MANIFEST))["config"]
    if any(trained_for.get(key) != value for key, value in _settings(context).items()):
        why = "specialists.shortlist or combination.n in config.toml changed"
        raise does_not_stand(context.folder, STAGE, why)
    members = [load_shared(task.folder) for task in tasks]
    for member in members:
        member.network.to(context.device)
    return SharedMembers(members, shortlisting(context))
