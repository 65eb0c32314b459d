"""Which settings of the student have no effect, and why?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from specialists.config.defaults import DEFAULTS
from specialists.config.fields import is_set
from specialists.config.network_effects import built_settings, table_settings
from specialists.config.search_space import student_candidates
from specialists.config.student import StudentConfig

if TYPE_CHECKING:
    from specialists.config.configuration import Config

Idle = Iterator[tuple[str, str]]


def student_settings(config: Config, kind: str) -> Idle:
    """Settings of the student that have no effect, for none of the candidates of its search."""
    settings = config.student
    if settings.tuning is None:
        yield from _candidate(config, kind)
        return
    candidates = student_candidates(settings, config.seed)
    first, *others = [
        dict(_candidate(config.model_copy(update={"student": each}), kind)) for each in candidates
    ]
    idle = {key: why for key, why in first.items() if all(key in other for other in others)}
    for key in (f"student.{name}" for name in type(settings).model_fields):
        name = key.removeprefix("student.")
        if name in settings.tuning.search:
            if is_set(settings, name):
                yield key, f"student.tuning.search.{name} has its candidates"
            elif key in idle:
                yield "student.tuning.search", f"{name}: {idle[key]}"
        elif is_set(settings, name) and key in idle:
            yield key, idle[key]


def _candidate(config: Config, kind: str) -> Idle:
    settings = config.student
    own = ("width", "size", "embedding_dim", "n_buckets", "dropout")
    yield from built_settings("student", settings, own)
    if settings.width is not None and is_set(settings, "size"):
        yield "student.size", "student.width fixes the width"
    yield from table_settings(config, "student", kind)
    yield from _scheme(settings)
    if settings.targets == "dense" and is_set(settings, "n_targets"):
        yield "student.n_targets", "student.targets = dense stores every class"
    if settings.views and settings.teacher == "online":
        yield "student.views", "student.teacher = online asks about every batch as it is"
    elif settings.views and not _augments(config, kind):
        yield "student.views", "data.augment is off, so all views are the same"
    if settings.transfer_set == "unlabelled" and settings.unlabelled is None:
        yield "student.transfer_set", "student.unlabelled names no file"
    if settings.leave_out and settings.views:
        yield "student.views", "views are stored of all rows, and student.leave_out shows some"
    if settings.terms:
        for key in ("temperatures", "alphas", "label_smoothing"):
            if is_set(settings, key):
                yield f"student.{key}", "student.terms says what is minimised, and has its own"
        return
    if set(settings.alphas) == {1} and settings.label_smoothing is not None:
        yield "student.label_smoothing", "it is of labels, and student.alphas = [1.0]"
    if set(settings.alphas) == {0}:
        for key in ("temperatures", "teacher", "targets", "views", "unlabelled", "transfer_set"):
            if is_set(settings, key):
                yield f"student.{key}", "it is of soft targets, and student.alphas = [0.0]"


def _augments(config: Config, kind: str) -> bool:
    given = config.data.augment
    return DEFAULTS[kind]["data"]["augment"] if given is None else given


def _scheme(settings: StudentConfig) -> Idle:
    why = f"student.scheme = {settings.scheme}"
    if settings.scheme in ("mutual", "exits"):
        for key in ("teacher", "targets", "n_targets", "views", "transfer_set"):
            if is_set(settings, key):
                yield f"student.{key}", f"{why} has no teacher"
    if settings.scheme not in ("born_again", "mutual") and is_set(settings, "n_taught"):
        yield "student.n_taught", f"{why} trains one network"
    if settings.scheme != "exits" and settings.exits:
        yield "student.exits", f"{why} has none"
