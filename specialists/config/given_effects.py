"""Which settings have no effect where the generalist comes from elsewhere, and why?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from specialists.config.defaults import DEFAULTS
from specialists.config.fields import is_set
from specialists.config.network_sections import Recipe
from specialists.config.search_space import asks_online

if TYPE_CHECKING:
    from specialists.config.configuration import Config

Idle = Iterator[tuple[str, str]]


def of_given_weights(config: Config, kind: str) -> Idle:
    """Given weights are not trained; baselines, other generalists, shared specialists are by it."""
    settings, start = config.generalist, config.specialists.start
    start = start or DEFAULTS[kind]["specialists"]["start"]
    if settings.widths is not None and len(settings.widths) > 1:
        yield "generalist.widths", "generalist.weights are of one width: set generalist.width"
    cross_fitted = config.clusters.predictions == "cross-fitted"
    shared = config.specialists.kind != "clusters"
    if config.evaluation.trained_baselines or start == "independent" or cross_fitted or shared:
        return
    for key in Recipe.model_fields:
        if is_set(settings, key):
            yield f"generalist.{key}", "generalist.weights are taken as they are, not trained"


def of_given_predictions(config: Config) -> Idle:
    """There is no network that others could start from or be compared with."""
    settings, specialists, why = config.generalist, config.specialists, "of the generalist only "
    why += "predictions are known (generalist.predictions), no network"
    if settings.weights is not None:
        yield "generalist.weights", "generalist.predictions come in their place"
    yield from ((key, why) for key in needing_a_network(config))
    if config.evaluation.trained_baselines and config.evaluation.baselines is not None:
        yield "evaluation.baselines", why
    if config.evaluation.keep_rivals:
        yield "evaluation.keep_rivals", why
    if specialists.kind == "clusters":
        for key in Recipe.model_fields:
            if is_set(settings, key):
                yield f"generalist.{key}", "generalist.predictions are taken as they are"


def needing_a_network(config: Config) -> list[str]:
    """Settings that need a network of the generalist, where only its predictions are known."""
    specialists, student = config.specialists, config.student
    needing = {
        "specialists.start": specialists.start not in (None, "fresh"),
        "specialists.freeze": bool(specialists.freeze),
        "student.teacher": student.teacher == "online",
        "student.tuning": student.teacher != "online" and asks_online(student),
        "student.views": student.views > 0,
        "student.unlabelled": student.unlabelled is not None,
    }
    return [key for key, needs in needing.items() if needs]
