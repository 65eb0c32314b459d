"""Which settings of transformers, tokens and adapters can have no effect, and why?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from specialists.config.fields import is_set

if TYPE_CHECKING:
    from specialists.config.configuration import Config

Idle = Iterator[tuple[str, str]]

NGRAMS = {"char_ngrams", "word_ngrams", "lowercase"}
TOKENS = {"tokenizer", "max_tokens"}
ONE_WIDTH = ("width", "widen", "n_buckets", "embedding_learning_rate")
OF_OTHERS = {
    "generalist": (
        *("factory", "options", "head", "model", "width", "widths", "depth", "dropout"),
        *("head_rank", "embedding_dim", "n_buckets", "embedding_learning_rate"),
    ),
    "student": (
        *("factory", "options", "size", "width", "dropout"),
        *("embedding_dim", "n_buckets", "embedding_learning_rate"),
    ),
}


def token_settings(config: Config, kind: str, read: Collection[str] | None) -> Idle:
    """Of transformers and of how texts are read; ``read`` are the keys that the data's source has.

    None: it may have any.
    """
    data, tokenizer = config.data, config.as_trained().data.tokenizer
    for name, keys in OF_OTHERS.items():
        section = getattr(config, name)
        if section.pretrained is None:
            continue
        if kind != "text":
            yield f"{name}.pretrained", f"it is for text only, and these data are {kind}"
        elif read is not None and not TOKENS & set(read) and "options" not in read:
            yield f"{name}.pretrained", f"data from {data.reader} are read as n-grams alone"
        for key in keys:
            if is_set(section, key) and (key, getattr(section, key)) != ("widths", (1,)):
                yield f"{name}.{key}", f"{name}.pretrained says what the network is"
    if tokenizer is None:
        if data.max_tokens is not None:
            yield "data.max_tokens", "data.tokenizer is not set: texts are read as n-grams"
        return
    for key in sorted(NGRAMS):
        if getattr(data, key) is not None:
            yield f"data.{key}", f"texts are read as tokens ({tokenizer})"
    if data.augment and kind == "text":
        yield "data.augment", "it drops n-grams, and texts are read as tokens"


def adapter_settings(config: Config) -> Idle:
    """Of specialists that are adapters, and of those of a transformer."""
    settings = config.specialists
    if settings.adapter is None:
        for key in ("adapter_rank", "adapter_blocks", "adapter_targets"):
            if is_set(settings, key):
                yield f"specialists.{key}", "specialists.adapter is not set"
    if settings.adapter is not None or config.generalist.pretrained is not None:
        for key in ONE_WIDTH:
            if getattr(settings, key) is not None and (key, settings.widen) != ("widen", 1):
                yield f"specialists.{key}", "specialists keep the network of their generalist"
