"""Which students are trained: of what size, taught by whom, by which recipe?

Soft targets are tried at each temperature T and weight alpha of a small grid; students without
them at as many learning rates and label smoothings. Validation picks one of each.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specialists.classifier import DATA
from specialists.config import Recipe, StudentConfig
from specialists.config.defaults import DEFAULTS
from specialists.distillation.live import LiveTeacher
from specialists.networks import (
    NetworkSpec,
    largest_width,
    load_network,
    n_parameters,
    outline,
    with_allowed_rank,
)
from specialists.runs import sha256
from specialists.workspace import Workspace

STAGE = "distill-student"
STUDENTS = ("student", "student_hard_labels")
HARD_RATES = (1.0, 0.5, 2.0, 0.7, 1.4, 0.25, 4.0, 0.35, 2.8)
HARD_TRIALS = tuple(itertools.product(HARD_RATES, (0.0, 0.1, 0.2)))  # MOST_TRIALS of the config


@dataclass(frozen=True)
class StudentTask:
    """One tuning trial of a student, as plain data.

    Parameters
    ----------
    run, folder : Path
        Run folder, and where the result goes.
    model : str
        What it is a trial of, for instance "student" or "student_hard_labels".
    spec : NetworkSpec
    recipe : Recipe
    temperature, alpha : float or None
        Of the soft targets; None without them.
    targets : Path, optional
        Folder of the teacher's log-probabilities, a row a training input; None: hard labels only.
    unlabelled : str, optional
        File of more inputs; their targets go on where those of the training inputs end.
    labelled_share : float
        Share of the training rows whose labels are known, in (0, 1].
    transfer : bool
        Whether the other rows are learned from as well, by their soft targets alone.
    live : {"ensemble", "generalist"}, optional
        Who is asked about every batch instead; ``targets`` are what that model says as well.
    """

    run: Path
    folder: Path
    model: str
    spec: NetworkSpec
    recipe: Recipe
    temperature: float | None = None
    alpha: float | None = None
    targets: Path | None = None
    unlabelled: str | None = None
    labelled_share: float = 1.0
    transfer: bool = False
    live: LiveTeacher | None = None

    def settings(self) -> dict[str, Any]:
        """What tells trials apart."""
        settings = {
            "model": self.model,
            "temperature": self.temperature,
            "alpha": self.alpha,
            "learning_rate": self.recipe.learning_rate,
            "label_smoothing": self.recipe.label_smoothing,
        }
        if self.live is not None:
            settings["teacher"] = "live"
        if self.labelled_share == 1:
            return settings
        return {**settings, "labelled_share": self.labelled_share, "transfer": self.transfer}

    def key(self, workspace: Workspace) -> dict[str, Any]:
        """What the result depends on."""
        inputs = workspace.fingerprints(*DATA)
        if self.targets is not None:
            inputs["targets"] = sha256(self.targets / "manifest.json")
        if self.unlabelled is not None:
            inputs["unlabelled"] = sha256(self.unlabelled)
        config = {
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.model_dump(mode="json", include=set(Recipe.model_fields)),
            "seed": workspace.config.seed,
            **self.settings(),
        }
        return {"config": config, "conditions": workspace.conditions, "inputs": inputs}


def student_tasks(workspace: Workspace) -> list[StudentTask]:
    """Every trial: T times alpha with soft targets, and as many without."""
    settings, spec = workspace.config.student, student_spec(workspace)
    trials = workspace.path(STAGE, "trials")
    targets = workspace.path(STAGE, "targets")
    grid = list(itertools.product(settings.temperatures, settings.alphas))
    soft = [
        StudentTask(
            workspace.folder,
            trials / f"soft-{i}",
            STUDENTS[0],
            spec,
            settings,
            temperature,
            alpha,
            targets,
            settings.unlabelled,
            live="ensemble" if settings.teacher == "live" else None,
        )
        for i, (temperature, alpha) in enumerate(grid)
    ]
    hard = []
    for i, (rate, smoothing) in enumerate(itertools.islice(HARD_TRIALS, len(grid))):
        recipe = changed_recipe(settings, rate=rate, smoothing=smoothing)
        hard.append(StudentTask(workspace.folder, trials / f"hard-{i}", STUDENTS[1], spec, recipe))
    return [*soft, *hard]


def changed_recipe(
    recipe: Recipe, *, rate: float = 1.0, smoothing: float | None = None, passes: float = 1.0
) -> Recipe:
    """The same at ``rate`` times its learning rates, for ``passes`` times as many epochs.

    Parameters
    ----------
    recipe : Recipe
        Resolved.
    rate : float
    smoothing : float, optional
        Label smoothing instead of the recipe's own.
    passes : float
        Patience, which is counted in epochs, changes alike.
    """
    changes: dict[str, Any] = {
        name: rate * value
        for name in ("learning_rate", "embedding_learning_rate")
        if (value := getattr(recipe, name)) is not None
    }
    if smoothing is not None:
        changes["label_smoothing"] = smoothing
    if passes != 1:
        changes["epochs"] = max(1, round(passes * (recipe.epochs or 1)))
        if recipe.patience is not None:
            changes["patience"] = math.ceil(passes * recipe.patience)
    return recipe.model_copy(update=changes)


def student_spec(workspace: Workspace, size: float | None = None) -> NetworkSpec:
    """The student's network, of the model that ships for its kind of input.

    Parameters
    ----------
    workspace : Workspace
    size : float, optional
        Parameters over the generalist's, the n-gram table and all others alike. None: the
        configuration's ``student.width``, or its ``student.size``, which leaves the table out, and
        its table.

    Returns
    -------
    NetworkSpec
        A cheap head keeps the generalist's ``head_rank`` in a student of a given width. In one of
        a given size the rank shrinks as the size does, since rank times classes would else be more
        than the whole. It goes where it makes no head cheaper.
    """
    _, generalist, _ = load_network(workspace.path("train-generalist"))
    return spec_beside(generalist, workspace.config.student, workspace.dataset.kind, size)


def spec_beside(
    generalist: NetworkSpec, settings: StudentConfig, kind: str, size: float | None = None
) -> NetworkSpec:
    """The student's network beside this generalist, for a kind of input; see above."""
    table = {
        "embedding_dim": settings.embedding_dim or generalist.embedding_dim,
        "n_buckets": settings.n_buckets or generalist.n_buckets,
    }
    spec = dataclasses.replace(
        generalist,
        model=DEFAULTS[kind]["generalist"]["model"],
        dropout=settings.dropout or 0.0,
        options={},
        **(table if size is None else _table(generalist, size)),
    )
    if size is None and settings.width is not None:
        return with_allowed_rank(dataclasses.replace(spec, width=settings.width))
    share = settings.size if size is None else size
    if spec.head_rank is not None:
        rank = max(1, round(min(1.0, share) * spec.head_rank))
        spec = dataclasses.replace(spec, head_rank=rank)
    limit = share * _trained_parameters(generalist)
    width = largest_width(spec, lambda candidate: _trained_parameters(candidate) <= limit)
    return with_allowed_rank(dataclasses.replace(spec, width=width))


def _table(generalist: NetworkSpec, size: float) -> dict[str, int]:
    """An n-gram table of ``size`` times the numbers of the generalist's.

    Small ones have half the rows, and the rest comes from their columns: a table with a sixteenth
    of the columns and all rows would starve the layers above.
    """
    n_buckets = max(1, generalist.n_buckets // 2) if size <= 0.5 else generalist.n_buckets
    columns = size * generalist.embedding_dim * generalist.n_buckets / n_buckets
    return {"embedding_dim": max(1, round(columns)), "n_buckets": n_buckets}


def _trained_parameters(spec: NetworkSpec) -> int:
    network = outline(with_allowed_rank(dataclasses.replace(spec, n_buckets=1)))
    return n_parameters(network, tables=False)
