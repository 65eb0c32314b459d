"""Combined predictions -> ``RUN/distill-student``: one compact network that works alone.

A student is tried at each temperature and weight of its soft targets, and in what else a search
names; the same network with hard labels has as many trials. Validation keeps the best of both
kinds (:mod:`pipelines.student_search`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from specialists.catalogue import HARD_LABELS, STUDENT, STUDENTS
from specialists.config import Recipe, asks_online, searched_values, student_candidates
from specialists.distillation import (
    Scheme,
    hard_trials,
    labelled_rows,
    needs_network,
    read_terms,
    soft_trials,
)
from specialists.files import read_json
from specialists.networks import NetworkSpec
from specialists.predictions import ModelOutputs

from .classifiers import Member
from .context import RunContext
from .pieces import expect_pieces
from .runs import Run
from .soft_targets import STAGE, write_soft_targets
from .student_networks import candidate_specs, spec_of_size
from .student_search import search_costs, train_and_choose
from .student_task import StudentTask
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
    recipes = hard_trials(candidates, _passes(context, settings.labelled_share))
    for i, recipe in enumerate(recipes):
        of_recipe = {"searched": _of_recipe(searched_values(settings, recipe)), **rows}
        folder = trials / f"hard-{i}"
        hard = StudentTask(context.folder, folder, HARD_LABELS, specs[i], recipe, **of_recipe)
        tasks.append(hard)
    return tasks


def _passes(context: RunContext, labelled_share: float) -> float:
    """How often the rows whose labels are known are seen while all rows are seen once."""
    if labelled_share == 1:
        return 1.0
    labels = context.dataset.train.labels
    return len(labels) / len(labelled_rows(labels, labelled_share, seed=0))  # any seed: as many


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
