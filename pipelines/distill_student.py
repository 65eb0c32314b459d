"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone.

A student is tried at each temperature and weight of its soft targets, and in what else a search
names; the same network with hard labels has as many trials. Validation keeps the best of both
kinds (:mod:`pipelines.student_search`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from specialists.catalogue import HARD_LABELS, STUDENT, STUDENTS
from specialists.config import Recipe, asks_online, searched_values, student_candidates
from specialists.config.fields import Tables
from specialists.distillation import (
    OFFLINE,
    Scheme,
    SchemeData,
    hard_trials,
    needs_network,
    read_terms,
    soft_trials,
    with_raised_classes,
)
from specialists.errors import DivergedError
from specialists.files import read_json, sha256
from specialists.networks import NetworkSpec, build_for, load_network
from specialists.predictions import ModelOutputs
from specialists.runtime import seed_everything
from specialists.training.loading import without_single

from .classifiers import DATA, Member, TrainingTask, recipe_settings, save_classifier
from .context import RunContext
from .pieces import expect_pieces
from .runs import Run
from .soft_targets import (
    STAGE,
    OnlineName,
    StoreName,
    replayed_views,
    write_soft_targets,
)
from .student_networks import candidate_specs, spec_of_size
from .student_rows import student_data
from .student_search import search_costs, train_and_choose, write_diverged
from .terminal import log


def execute(run: Run) -> None:
    """Store soft targets, train a student of each temperature and weight, keep the best."""
    context = RunContext.open(run.folder)
    expect_pieces(context, STAGE)
    if Scheme.from_config(context.config.student).has_teacher:
        write_soft_targets(context)
    if asks_online(context.config.student) and context.augment is None:
        log.info(f"{STAGE}: student.teacher = online changes nothing, since data.augment is off")
    train_and_choose(context, student_tasks(context, spec_of_size(context)), run.jobs)


@dataclass(frozen=True)
class StudentTask(TrainingTask):
    """One tuning trial of a student.

    Parameters
    ----------
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
    alone : bool
        Whether nothing but the unlabelled inputs is learned from.
    leave_out : tuple of str
        Classes of which there are no rows; validation rows tell how frequent they are.
    online : {"ensemble", "generalist"}, optional
        Who is asked about every batch instead; ``targets`` are that model's predictions as well.
    store : {"dense", "top", "sampled"}
        What the targets hold of the predictions.
    terms : tuple of dict
        The objective, as ``student.terms`` has it; (): soft targets and labels.
    network : Path, optional
        Folder of the network whose layers terms look at.
    scheme : Scheme
        Who teaches.
    share : float
        Of the recipe's epochs, in (0, 1]: the whole of its schedule is passed through in this part
        of them.
    searched : mapping
        What it has of the keys that are searched; for tables.
    """

    model: str
    spec: NetworkSpec
    recipe: Recipe
    temperature: float | None = None
    alpha: float | None = None
    targets: Path | None = None
    unlabelled: str | None = None
    labelled_share: float = 1.0
    transfer: bool = False
    alone: bool = False
    leave_out: tuple[str, ...] = ()
    online: OnlineName | None = None
    store: StoreName = "dense"
    terms: Tables = ()
    network: Path | None = None
    scheme: Scheme = OFFLINE
    share: float = 1.0
    searched: Mapping[str, object] = field(default_factory=dict)

    def settings(self) -> dict[str, object]:
        """What tells trials apart."""
        settings = {
            "model": self.model,
            "temperature": self.temperature,
            "alpha": self.alpha,
            "learning_rate": self.recipe.learning_rate,
            "label_smoothing": self.recipe.label_smoothing,
        }
        if self.online is not None:
            settings["teacher"] = "online"
        if self.terms:
            settings |= {"temperature": None, "terms": list(self.terms)}
        settings |= self.scheme.to_dict()
        if self.labelled_share < 1:
            settings |= {"labelled_share": self.labelled_share, "transfer": self.transfer}
        if self.alone:
            settings["transfer_set"] = "unlabelled"
        if self.leave_out:
            settings["leave_out"] = list(self.leave_out)
        if self.share < 1:
            settings["share"] = self.share
        return settings

    def key(self, context: RunContext) -> dict[str, object]:
        inputs = context.fingerprints(*DATA)
        if self.targets is not None:
            inputs["targets"] = sha256(self.targets / "manifest.json")
        if self.network is not None:
            inputs["network"] = sha256(self.network / "weights.safetensors")
        if self.unlabelled is not None:
            inputs["unlabelled"] = sha256(self.unlabelled)
        config = {
            "spec": self.spec.to_dict(),
            "recipe": recipe_settings(self.recipe),
            "seed": context.config.seed,
            **self.settings(),
        }
        conditions = context.conditions | context.source("student")
        return {"config": config, "conditions": conditions, "inputs": inputs}

    def train(self, context: RunContext, folder: Path) -> None:
        try:
            self._train(context, folder)
        except DivergedError as error:  # other trials may do better
            write_diverged(folder, error)

    def _train(self, context: RunContext, folder: Path) -> None:
        seed, dataset = context.seed("student"), context.dataset
        train, teacher = student_data(context, self)
        seed_everything(seed)
        n_epoch = min(len(train), len(dataset.train))  # more inputs, no more steps
        n_examples = (self.recipe.epochs or 1) * n_epoch
        if self.share < 1:
            n_examples = without_single(self.share * n_examples, len(train))
        augment = replayed_views(context) or context.augment
        how = seed, context.hardware, folder, augment, n_examples, folder.name
        data = SchemeData(train, dataset.validation, self.recipe, *how)
        student = self.scheme.train(
            lambda _: build_for(self.spec, train.inputs),
            teacher,
            data,
            terms=read_terms(self.terms),
            temperature=self.temperature or 1.0,
            alpha=self.alpha or 0.0,
            teacher_network=None if self.network is None else load_network(self.network)[0],
        )
        if self.leave_out:
            missing = [dataset.class_names.index(name) for name in self.leave_out]
            student = with_raised_classes(student, dataset.validation, missing)
        save_classifier(context, student, self.spec, folder)


def student_tasks(
    context: RunContext, spec: NetworkSpec, stage: str = STAGE, network: Path | None = None
) -> list[StudentTask]:
    """Every candidate's whole training, and as many without soft targets; terms see ``network``.

    ``spec`` is the network of those that ask for no other.
    """
    settings = context.config.student
    candidates = student_candidates(settings, context.config.seed)
    specs = candidate_specs(context, spec, candidates, network)
    watched = network or context.path("train-generalist")
    scheme, trials = Scheme.from_config(settings), context.path(stage, "trials")
    targets = context.path(stage, "targets") if scheme.has_teacher else None
    rows = {"labelled_share": settings.labelled_share, "leave_out": settings.leave_out or ()}
    tasks = [
        StudentTask(
            context.folder,
            trials / f"soft-{i}",
            STUDENT,
            specs[i],
            candidate,
            *soft_trials(candidate)[0],
            targets,
            settings.unlabelled,
            online="ensemble" if candidate.teacher == "online" else None,
            store=settings.targets,
            terms=candidate.terms,
            network=watched if needs_network(read_terms(candidate.terms)) else None,
            transfer=scheme.has_teacher,
            alone=scheme.has_teacher and settings.transfer_set == "unlabelled",
            **rows,
            scheme=scheme,
            searched=searched_values(settings, candidate),
        )
        for i, candidate in enumerate(candidates)
    ]
    recipes = hard_trials(candidates, 1 / settings.labelled_share)  # as many steps, of fewer rows
    for i, recipe in enumerate(recipes):
        of_recipe = {"searched": _of_recipe(searched_values(settings, recipe)), **rows}
        folder = trials / f"hard-{i}"
        hard = StudentTask(context.folder, folder, HARD_LABELS, specs[i], recipe, **of_recipe)
        tasks.append(hard)
    return tasks


def _of_recipe(searched: Mapping[str, object]) -> dict[str, object]:
    """What a search tries that hard labels have as well, and do not choose by themselves."""
    own = Recipe.model_fields.keys() - {"learning_rate", "label_smoothing"}
    return {key: value for key, value in searched.items() if key in own}


def student_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What both students predict for a split, by name; a search counts with all its trainings."""
    context = RunContext.open(run.folder)
    trials = read_json(context.path(STAGE, "trials.json"))
    outputs = {}
    for name in STUDENTS:
        own = [trial for trial in trials if trial["model"] == name]
        student = Member(context, context.path(STAGE, name)).outputs(name, split)
        counted = [trial for trial in own if trial["chosen"]]
        if context.config.student.tuning is not None:
            counted = own
            student = replace(student, **search_costs(own).to_dict())
        outputs[name] = replace(
            student,
            tuning_trials=sum(trial["rung"] == 1 for trial in own),
            trainings=tuple(trial["training"] for trial in counted),
        )
    return outputs
