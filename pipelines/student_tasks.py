"""Which students does a run train: of what size, taught by whom, by which recipe?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from specialists.config import Recipe
from specialists.distillation import HARD_TRIALS, changed_recipe, student_spec
from specialists.files import sha256
from specialists.networks import NetworkSpec, load_network

from .classifiers import DATA
from .context import RunContext

STAGE = "distill-student"
STUDENTS = ("student", "student_hard_labels")

OnlineName = Literal["ensemble", "generalist"]


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
    online : {"ensemble", "generalist"}, optional
        Who is asked about every batch instead; ``targets`` are that model's predictions as well.
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
    online: OnlineName | None = None

    def settings(self) -> dict[str, Any]:
        """What tells trials apart."""
        settings = {
            "model": self.model,
            "temperature": self.temperature,
            "alpha": self.alpha,
            "learning_rate": self.recipe.learning_rate,
            "label_smoothing": self.recipe.label_smoothing,
        }
        if self.online is not None:
            settings["teacher"] = "live"
        if self.labelled_share == 1:
            return settings
        return {**settings, "labelled_share": self.labelled_share, "transfer": self.transfer}

    def key(self, workspace: RunContext) -> dict[str, Any]:
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


def student_tasks(
    workspace: RunContext, spec: NetworkSpec, stage: str = STAGE
) -> list[StudentTask]:
    """Every trial: T times alpha with soft targets, and as many without."""
    settings = workspace.config.student
    trials, targets = workspace.path(stage, "trials"), workspace.path(stage, "targets")
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
            online="ensemble" if settings.teacher == "live" else None,
        )
        for i, (temperature, alpha) in enumerate(grid)
    ]
    hard = []
    for i, (rate, smoothing) in enumerate(itertools.islice(HARD_TRIALS, len(grid))):
        recipe = changed_recipe(settings, rate=rate, smoothing=smoothing)
        hard.append(StudentTask(workspace.folder, trials / f"hard-{i}", STUDENTS[1], spec, recipe))
    return [*soft, *hard]


def spec_of_size(workspace: RunContext, size: float | None = None) -> NetworkSpec:
    """The student's network beside the run's generalist; see ``student_spec``."""
    _, generalist, _ = load_network(workspace.path("train-generalist"))
    return student_spec(generalist, workspace.config.student, workspace.dataset.kind, size)
