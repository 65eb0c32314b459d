"""Of which network is a run's student, and of which are the candidates of its search?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specialists.config import StudentConfig, network_sizes
from specialists.datasets.tokens import check_tokenizer
from specialists.distillation import student_spec
from specialists.networks import NetworkSpec, read_spec

from .context import RunContext


def spec_of_size(
    context: RunContext,
    size: float | None = None,
    generalist: Path | None = None,
    settings: StudentConfig | None = None,
) -> NetworkSpec:
    """The student's network beside a generalist, the run's if not another; see ``student_spec``."""
    beside = read_spec(generalist or context.path("train-generalist"))
    dataset, settings = context.dataset, settings or context.config.student
    if settings.pretrained is not None:
        check_tokenizer(settings.pretrained, dataset.preprocessing)
    return student_spec(beside, settings, dataset.kind, size, dataset.class_names)


def candidate_specs(
    context: RunContext,
    spec: NetworkSpec,
    candidates: Sequence[StudentConfig],
    generalist: Path | None = None,
) -> list[NetworkSpec]:
    """The network of each candidate; ``spec`` is the one that they have without a search."""
    if context.config.student.tuning is None:
        return [spec] * len(candidates)
    specs: dict[tuple[object, ...], NetworkSpec] = {}
    found = []
    for candidate in candidates:
        keys = (*network_sizes(candidate), candidate.dropout)
        if keys not in specs:
            specs[keys] = spec_of_size(context, generalist=generalist, settings=candidate)
        found.append(specs[keys])
    return found
