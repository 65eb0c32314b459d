"""Which settings of a network have no effect, whichever section it is of, and why?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from specialists.config.fields import is_set
from specialists.config.network_sections import OwnNetwork

if TYPE_CHECKING:
    from specialists.config.configuration import Config

Idle = Iterator[tuple[str, str]]

BUILT = "builds the network, see its options"
TABLE_OF_NGRAMS = ("embedding_dim", "n_buckets", "embedding_learning_rate")


def built_settings(name: str, settings: OwnNetwork, built: Sequence[str]) -> Idle:
    """Settings of a section that its factory has no use for, or that only a factory has."""
    if settings.factory is None and settings.options:
        yield f"{name}.options", f"only a {name}.factory has options"
    for key in built if settings.factory is not None else ():
        if is_set(settings, key):
            yield f"{name}.{key}", f"{name}.factory {BUILT}"


def table_settings(config: Config, name: str, kind: str) -> Idle:
    """Settings of a table of n-grams, where there is none."""
    section, generalist = getattr(config, name), config.generalist
    own = section if name == "student" or section.factory is not None else generalist
    for key in TABLE_OF_NGRAMS:
        trains = key == "embedding_learning_rate" and own.factory is not None
        if kind != "text" and not trains and getattr(section, key, None) is not None:
            yield f"{name}.{key}", f"only networks for text have a table of n-grams, not {kind}"
