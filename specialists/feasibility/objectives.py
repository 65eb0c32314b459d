"""Can a student's objective work? Its terms are read, and their layers looked for.

Layers are those of networks that are built without memory for their weights; those of a
transformer's folder are looked for when it is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from specialists.config import (
    Config,
    ConfigMistakesError,
    StudentConfig,
    student_candidates,
)
from specialists.config.defaults import DEFAULTS
from specialists.distillation import hard_trials, read_terms
from specialists.distillation.objective import layers_of
from specialists.distillation.schemes import FEWEST_PEERS
from specialists.distillation.terms import SoftTargets
from specialists.distillation.terms.term import CLASSES, LABELS, NETWORK, RAW_LOGITS
from specialists.distillation.watching import layer_at
from specialists.errors import InputError
from specialists.networks import ARCHITECTURES, NetworkSpec, outline, own_spec


def impossible_trials(settings: StudentConfig, seed: int) -> Iterator[str]:
    """A line where hard labels of a resolved section cannot have as many candidates."""
    try:
        hard_trials(student_candidates(settings, seed))
    except InputError as error:
        yield f"student.tuning: {error.in_a_line}"


def impossible_objectives(config: Config) -> Iterator[str]:
    """A line for each mistake in the terms and the scheme of any candidate, whatever the data."""
    has_layers = config.generalist.predictions is None
    for candidate in student_candidates(config.student, config.seed):
        yield from impossible_terms(candidate, has_layers)


def impossible_terms(settings: StudentConfig, has_layers: bool) -> Iterator[str]:
    """A line for each mistake in ``student.terms`` and ``student.scheme``, whatever the data."""
    if settings.scheme == "mutual" and settings.n_taught < FEWEST_PEERS:
        yield f"student.n_taught = {settings.n_taught}: at least {FEWEST_PEERS} peers"
    if settings.scheme == "exits" and not settings.exits:
        yield "student.exits = []: student.scheme = exits needs one"
    try:
        terms = read_terms(settings.terms)
    except ConfigMistakesError as error:
        yield from error.lines
        return
    store = f"student.targets = {settings.targets}"
    for i, term in enumerate(terms):
        where = f"student.terms.{i} ({term.kind})"
        if NETWORK in term.needs and settings.scheme != "offline":
            yield f"{where}: it looks at layers of a teacher; only student.scheme = offline has one"
        elif NETWORK in term.needs and not has_layers:
            yield f"{where}: it looks at layers of a teacher; generalist.predictions have none"
        elif RAW_LOGITS in term.needs and settings.scheme in ("offline", "born_again"):
            yield f"{where}: a run's teacher gives probabilities; set exclusive = true"
        elif CLASSES in term.needs and settings.targets != "dense" and settings.teacher != "online":
            yield f"{where}: it needs the probability of every class; {store} keeps a few"
    if terms and settings.transfer_set == "unlabelled" and all(LABELS in t.needs for t in terms):
        yield "student.transfer_set = unlabelled: each of student.terms needs labels"
    temperatures = {term.temperature for term in terms if isinstance(term, SoftTargets)}
    if len(temperatures) > 1 and settings.targets != "dense":
        yield f"student.terms: {store} keeps one temperature, not {sorted(temperatures)}"


def missing_layers(config: Config, generalist: NetworkSpec, kind: str) -> Iterator[str]:
    """A line for each layer, of any candidate's terms, that student or generalist does not have."""
    settings = config.student
    if generalist.model not in ARCHITECTURES:
        return
    model = DEFAULTS[kind]["generalist"]["model"]
    student = own_spec(settings, generalist.n_classes, generalist.input_shape)
    student = student or dataclasses.replace(generalist, model=model, options={})
    candidates = student_candidates(settings, config.seed)
    ours, theirs = layers_of([term for each in candidates for term in read_terms(each.terms)])
    ours = [] if settings.pretrained else [*ours, *settings.exits]
    for spec, paths, whose in ((student, ours, "student"), (generalist, theirs, "generalist")):
        network = outline(spec) if paths else None
        for path in paths:
            assert network is not None
            try:
                layer_at(network, path, whose)
            except InputError as error:
                yield error.in_a_line
