"""Which settings can have no effect, and why?

A setting that nothing reads is a mistake: whoever sets it expects something of it. A setting
counts as set if it differs from its default, so that a configuration that was written with all its
defaults reads back without a complaint. What only a run can tell is left alone, for instance
whether a split had to be cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from specialists.config.data import SOURCES, DataConfig
from specialists.config.defaults import DEFAULTS, KINDS
from specialists.config.fields import is_set
from specialists.config.given_effects import (
    of_given_predictions,
    of_given_weights,
)
from specialists.config.network_effects import BUILT, built_settings, table_settings
from specialists.config.optional_effects import TOKENS, adapter_settings, token_settings
from specialists.config.student_effects import student_settings

if TYPE_CHECKING:
    from specialists.config.configuration import Config

Idle = Iterator[tuple[str, str]]

SHIPPED = {kind: of["generalist"]["model"] for kind, of in DEFAULTS.items() if kind != "tensors"}
KIND_OF_MODEL = {model: kind for kind, model in SHIPPED.items()}
KINDS_OF_SOURCE = {
    "table": ("text", "features"),
    "images": ("images",),
    "arrays": ("features", "images"),
    "emoji": ("text",),
    "languages": ("text",),
    "glyphs": ("images",),
}
EVERYWHERE = {"admission_fraction", "max_examples", "augment"}
CUT = {"validation_fraction", "test_fraction"}
NGRAMS = {"char_ngrams", "word_ngrams", "lowercase"}
COLUMNS = {"columns", "text", "label", "split", "splits"}
OWN = {*CUT, "min_examples", "exclude_labels"}
READ_BY = {
    "table": OWN | COLUMNS | NGRAMS | TOKENS | {"features", "groups", "standardize"},
    "arrays": OWN
    | {"keys", "tensors", "groups", "split_by", "image_size", "standardize", "in_place"},
    "images": OWN | {"image_size", "in_place"},
    "factory": OWN | NGRAMS | {"options", "keys", "image_size", "standardize", "in_place"},
    "emoji": OWN | COLUMNS | NGRAMS | TOKENS | {"groups"},
    "languages": CUT | NGRAMS,
    "glyphs": {"image_size"},
    "memory": NGRAMS
    | TOKENS
    | {"validation_fraction", "standardize", "keys", "image_size", "in_place"},
}
KIND_ONLY = {
    **dict.fromkeys((*NGRAMS, *TOKENS, "text"), "text"),
    "features": "features",
    "standardize": "features",
    "image_size": "images",
}
HELD = ("text", "tensors")
OF_SHARED = ("n_shared", "shortlist", "shortlist_of", "shortlist_by", "shared_epochs")
OF_BOTH_KINDS = ("kind", "factory", "options", "width", "n_buckets", "label_smoothing")


def possible_kinds(data: DataConfig) -> tuple[str, ...]:
    """The kinds of input that the data can be of, as far as the configuration tells."""
    if data.reader == "table" and (data.text is None) != (data.features is None):
        return ("features",) if data.text is None else ("text",)
    if data.reader == "arrays" and data.tensors is not None:
        return ("tensors",)
    return KINDS_OF_SOURCE.get(data.reader, KINDS)


def without_effect(config: Config, kinds: Sequence[str]) -> dict[str, str]:
    """Settings that have no effect for data of any of these kinds, each with the reason."""
    first, *others = [dict(_idle(config, kind)) for kind in kinds]
    return {key: why for key, why in first.items() if all(key in other for other in others)}


def left_aside(config: Config) -> list[str]:
    """Settings that are set for specialists of clusters where only shared ones are trained.

    They are no mistake: a configuration may be tried with either kind.
    """
    if config.specialists.kind != "shared":
        return []
    others = set(type(config.specialists).model_fields) - {*OF_SHARED, *OF_BOTH_KINDS}
    return [f"specialists.{key}" for key in sorted(others) if is_set(config.specialists, key)]


def _idle(config: Config, kind: str) -> Idle:
    yield from _data(config.data, kind)
    yield from token_settings(config, kind, READ_BY.get(config.data.reader))
    yield from _generalist(config, kind)
    yield from _specialists(config, kind)
    yield from _clusters_and_combination(config)
    yield from student_settings(config, kind)
    if config.evaluation.keep_rivals and not config.evaluation.trained_baselines:
        yield "evaluation.keep_rivals", "evaluation.baselines names none to be trained"


def _data(data: DataConfig, kind: str) -> Idle:
    read = READ_BY.get(data.reader, DataConfig.model_fields.keys()) | EVERYWHERE | set(SOURCES)
    for key in DataConfig.model_fields:
        if not is_set(data, key):
            continue
        if key not in read:
            named = [name for name, keys in READ_BY.items() if key in keys and name != "memory"]
            readers = " or ".join(named)
            yield (
                f"data.{key}",
                f"it is for data from {readers} only, and these are from {data.reader}",
            )
        elif key in KIND_ONLY and kind != KIND_ONLY[key]:
            yield f"data.{key}", f"it is for {KIND_ONLY[key]} only, and these data are {kind}"
        elif key == "in_place" and data.in_place and kind in HELD:
            yield "data.in_place", f"inputs of the kind {kind} are held in memory"
    if kind == "tensors" and data.augment:
        yield "data.augment", "how to change tensors at random is not known here"


def _generalist(config: Config, kind: str) -> Idle:
    settings = config.generalist
    if settings.pretrained is None:
        yield from _network(config, kind)
    is_given = settings.predictions is not None or config.data.reader == "memory"
    if settings.inference_flops is not None and not is_given:
        yield "generalist.inference_flops", "a network's operations are counted"
    if settings.width is not None and settings.widths not in (None, (settings.width,)):
        yield "generalist.widths", "generalist.width fixes the width"
    if settings.predictions is not None:
        yield from of_given_predictions(config)
    elif settings.weights is not None:
        yield from of_given_weights(config, kind)
    elif settings.classes is not None:
        why = "only generalist.weights and generalist.predictions have outputs to be named"
        yield "generalist.classes", why


def _network(config: Config, kind: str) -> Idle:
    """Of a generalist that ships or is built by a factory."""
    settings = config.generalist
    yield from built_settings("generalist", settings, ("model", "width", "widths", "head_rank"))
    if settings.factory is None:
        if settings.head is not None:
            yield "generalist.head", "only the head of a generalist.factory has to be named"
        if settings.model is not None and KIND_OF_MODEL[settings.model] != kind:
            wanted = SHIPPED.get(kind, "generalist.factory")
            yield (
                "generalist.model",
                f"it is for {KIND_OF_MODEL[settings.model]}, and these data are {kind}: {wanted}",
            )
    elif is_set(settings, "dropout"):
        yield "generalist.dropout", f"generalist.factory {BUILT}"
    yield from table_settings(config, "generalist", kind)


def _specialists(config: Config, kind: str) -> Idle:
    settings, factory = config.specialists, config.generalist.factory
    yield from built_settings("specialists", settings, ("width", "widen", "n_buckets", "dropout"))
    if settings.factory is not None:
        if settings.start not in (None, "fresh"):
            yield "specialists.start", "a network of specialists.factory starts afresh"
        if settings.freeze:
            yield "specialists.freeze", "a network of specialists.factory shares no part"
        factory = None
    if settings.width is not None and settings.widen is not None:
        yield "specialists.widen", "specialists.width fixes the width"
    if factory is not None:
        for key in ("width", "widen"):
            if getattr(settings, key) is not None and (key, settings.widen) != ("widen", 1):
                yield f"specialists.{key}", "a network of generalist.factory has one width"
        if settings.n_buckets is not None:
            yield "specialists.n_buckets", "a network of generalist.factory has tables of its own"
    yield from table_settings(config, "specialists", kind)
    yield from adapter_settings(config)
    yield from _shared(config)
    freeze = DEFAULTS[kind]["specialists"]["freeze"] if settings.freeze is None else settings.freeze
    shipped = factory is None and settings.factory is None
    if "embedding" in freeze and shipped and settings.embedding_learning_rate is not None:
        yield "specialists.embedding_learning_rate", "the table is frozen (specialists.freeze)"
    if settings.soft_targets == 0 and is_set(settings, "temperature"):
        yield "specialists.temperature", "it is of soft targets, and specialists.soft_targets = 0"
    taught = settings.soft_targets == 1 and settings.kind == "clusters"
    if taught and settings.label_smoothing is not None:
        yield "specialists.label_smoothing", "it is of labels, and specialists.soft_targets = 1"


def _shared(config: Config) -> Idle:
    settings, combination = config.specialists, config.combination
    if settings.kind == "clusters":
        why = "specialists.kind = clusters trains no shared specialists"
        yield from ((f"specialists.{key}", why) for key in OF_SHARED if is_set(settings, key))
        if is_set(combination, "whole_heads"):
            yield "combination.whole_heads", why
    elif settings.shortlist_by != "generalist" and config.clusters.predictions == "validation":
        why = "only clusters.predictions = cross-fitted trains the two generalists that find them"
        yield "specialists.shortlist_by", why
    if settings.shortlist_of == "clusters" and is_set(settings, "shortlist"):
        yield "specialists.shortlist", "specialists.shortlist_of = clusters: as long as they are"


def _clusters_and_combination(config: Config) -> Idle:
    clusters, combination = config.clusters, config.combination
    if clusters.file is not None:
        for key in type(clusters).model_fields:
            if key not in ("file", "predictions") and is_set(clusters, key):
                yield f"clusters.{key}", "clusters.file says which clusters there are"
    if clusters.method != "balanced" and is_set(clusters, "max_ratio"):
        yield (
            "clusters.max_ratio",
            f"only clusters.method = balanced keeps it, not {clusters.method}",
        )
    if clusters.method == "correlation" and isinstance(clusters.n_clusters, int):
        yield "clusters.n_clusters", "clusters.method = correlation finds the number itself"
    if clusters.method == "correlation" and clusters.matrix == "confusion":
        yield "clusters.matrix", "clusters.method = correlation needs entries of both signs"
    has_weight = {"kl", "within_subsets"} & set(combination.rules)
    shares = config.specialists.kind != "clusters"
    if not has_weight and not shares and is_set(combination, "weights"):
        yield "combination.weights", "only the rules kl and within_subsets have a weight to choose"
    if combination.rules == ("learned",) and is_set(combination, "deferral"):
        yield "combination.deferral", "learned specialists are asked about every row"
    if combination.admission == "each" and config.data.admission_fraction == 0:
        yield "combination.admission", "data.admission_fraction = 0 keeps no rows for its test"
