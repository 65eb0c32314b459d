"""What does the teacher of a run's students predict: stored once, or asked about every batch?

The ensemble's log-probabilities of the training inputs (and of unlabelled ones, if there are any)
are computed once and stored; the generalist's were already, for the specialists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from specialists.config import StudentConfig
from specialists.datasets import read_unlabelled
from specialists.datasets.base import Inputs, joined_inputs
from specialists.distillation import (
    OnlineTeacher,
    ReplayedViews,
    SparseTargets,
    read_draws,
    read_top,
    store_temperatures,
    teacher_blocks,
    write_draws,
    write_top,
)
from specialists.ensemble import CombinationRule
from specialists.files import disk_use, sha256
from specialists.files.manifests import CODE_VERSION
from specialists.predictions import Predictions, StoredPredictions, write_shards
from specialists.report.numbers import disk_space

from .classifiers import GENERALIST_FILES
from .combine_predictions import chosen_rule, open_ensemble
from .context import RunContext
from .runs import ensure_result
from .terminal import log

STAGE = "distill-student"
BYTES_OF_HALF = 2

OnlineName = Literal["ensemble", "generalist"]
StoreName = Literal["dense", "top", "sampled"]


def teaching_rule(context: RunContext) -> CombinationRule:
    """The rule of `ensemble`, its specialists asked about every row and calibrated over all rows.

    A generalist is sure of most of what it was trained on. A teacher that leaves sure rows to it
    would hand on little of what the specialists know, and its inference is paid for only once. Nor
    are dustbins those that were fitted where the rule asks: these lean on what a generalist says of
    rows that it has not seen.
    """
    rule = replace(chosen_rule(context), defer_above=None, dustbin=None)
    whole = rule.shared and replace(rule.shared, whole_up_to=1.0)
    return replace(rule, shared=whole)


def online_teacher(context: RunContext, name: OnlineName) -> Callable[[Inputs], Predictions]:
    """The run's ensemble, its specialists asked about all of every row, or its generalist."""
    rule = teaching_rule(context)
    if name == "generalist":
        rule = replace(rule, members=(), shared=None)
    return replace(open_ensemble(context), rule=rule).predictions


def write_soft_targets(context: RunContext) -> Path:
    """Write the ensemble's log-probabilities of every transfer input as half-precision shards.

    Specialists are asked about every row (:func:`teaching_rule`). Returns the shards' folder.
    """
    folder = context.path(STAGE, "targets")
    members = sorted(context.path("train-specialists").glob("s*-*/manifest.json"))
    inputs = context.fingerprints(
        "combine-predictions/choice.json",
        "prepare-data/train.inputs.npy",
        *GENERALIST_FILES,
        *map(context.below, members),
    )
    rule = teaching_rule(context).to_dict()
    write_targets(
        context, folder, inputs, lambda: online_teacher(context, "ensemble"), {"rule": rule}
    )
    return folder


def write_targets(
    context: RunContext,
    folder: Path,
    inputs: dict[str, str],
    open_teacher: Callable[[], OnlineTeacher],
    config: dict[str, object] | None = None,
) -> None:
    """Write a teacher's log-probabilities of every transfer input, unless they stand already.

    Parameters
    ----------
    context : RunContext
    folder : Path
    inputs : dict
        sha256 of the files that say what the teacher predicts, and of what, by name.
    open_teacher : callable
        Gives the teacher, if it is to be asked.
    config : dict, optional
        What else the predictions depend on, JSON-able.
    """
    settings = context.config.student
    if settings.unlabelled:
        inputs = inputs | {settings.unlabelled: sha256(settings.unlabelled)}
    views = replayed_views(context)
    replayed = {} if views is None else {"views": views.n_views, "augmentation seed": views.seed}
    alone = {} if settings.transfer_set == "all" else {"transfer_set": settings.transfer_set}
    temperatures = store_temperatures(settings, context.config.seed)
    config = {**(config or {}), **_store(settings, temperatures), **replayed, **alone}
    key = {"inputs": inputs, "config": config, "code": CODE_VERSION}

    def build(folder: Path) -> None:
        teacher, sources = open_teacher(), transfer_sources(context)
        if views is not None:
            whole = joined_inputs(sources)
            sources = (views.view(whole, number) for number in range(views.n_views))
        blocks = (block for source in sources for block in teacher_blocks(teacher, source))
        if settings.targets == "dense":
            write_shards(folder, blocks, context.dataset.n_classes, key)
        elif settings.targets == "top":
            write_top(folder, blocks, temperatures, settings.n_stored)
        else:
            seed = context.seed("soft targets")
            write_draws(folder, blocks, temperatures, settings.n_stored, seed)

    ensure_result(folder, key, build)
    stored = read_soft_targets(folder, settings.targets, temperatures[0])
    several = len(temperatures) > 1 and settings.targets != "dense"
    sets, each = (f" at {len(temperatures)} temperatures", " at each") if several else ("", "")
    sparse = isinstance(stored, SparseTargets)
    n_bytes = stored.bytes_per_example if sparse else BYTES_OF_HALF * stored.n_classes
    space = f"{disk_space(disk_use(folder))} of disk, {n_bytes:,} bytes a row{each}"
    what = f"its teacher's predictions of {len(stored):,} rows{sets}"
    log.info(f"{STAGE}: the student learns from {what}, which take {space}")


def transfer_sources(context: RunContext) -> list[Inputs]:
    """The inputs that a teacher is asked about, as it is asked: of training, then unlabelled."""
    settings = context.config.student
    trained = [context.asked("train")] if settings.transfer_set == "all" else []
    extra = settings.unlabelled
    return [*trained, *([unlabelled_inputs(context, extra)] if extra else [])]


def replayed_views(context: RunContext) -> ReplayedViews | None:
    """The augmented views that stored targets are of; None: they are of the inputs themselves."""
    n_views = context.config.student.views
    if not n_views or context.augment is None or context.config.student.teacher == "online":
        return None
    return ReplayedViews(context.augment, context.seed("replayed views"), n_views)


def _store(settings: StudentConfig, temperatures: tuple[float, ...]) -> dict[str, object]:
    """What soft targets that are not dense depend on, JSON-able."""
    if settings.targets == "dense":
        return {}
    return {
        "targets": settings.targets,
        "n_targets": settings.n_stored,
        "temperatures": temperatures,
    }


def read_soft_targets(
    folder: Path, store: StoreName, temperature: float
) -> StoredPredictions | SparseTargets:
    """What :func:`write_targets` wrote, for a student of this temperature."""
    if store == "dense":
        return StoredPredictions(folder)
    return (read_top if store == "top" else read_draws)(folder, temperature)


def unlabelled_inputs(context: RunContext, file: str) -> Inputs:
    """The inputs of ``student.unlabelled``, encoded as the training data were."""
    return read_unlabelled(file, context.dataset.preprocessing)[0]
