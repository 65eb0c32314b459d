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
from specialists.config.fields import Section
from specialists.config.sections import Recipe

if TYPE_CHECKING:
    from specialists.config.configuration import Config

Idle = Iterator[tuple[str, str]]

KIND_OF_MODEL = {defaults["generalist"]["model"]: kind for kind, defaults in DEFAULTS.items()}
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
    "table": OWN | COLUMNS | NGRAMS | {"features", "groups", "standardize"},
    "arrays": OWN | {"keys", "groups", "split_by", "image_size", "standardize"},
    "images": OWN | {"image_size"},
    "factory": {"options"},
    "emoji": OWN | COLUMNS | NGRAMS | {"groups"},
    "languages": CUT | NGRAMS,
    "glyphs": {"image_size"},
    "memory": NGRAMS | {"validation_fraction", "standardize"},
}
KIND_ONLY = {
    **dict.fromkeys((*NGRAMS, "text"), "text"),
    "features": "features",
    "standardize": "features",
    "image_size": "images",
}
OF_SHARED = ("n_shared", "shortlist", "shortlist_of", "shortlist_by", "shared_epochs")
OF_BOTH_KINDS = ("kind", "width", "n_buckets", "label_smoothing")
TABLE_OF_NGRAMS = ("embedding_dim", "n_buckets", "embedding_learning_rate")


def possible_kinds(data: DataConfig) -> tuple[str, ...]:
    """The kinds of input that the data can be of, as far as the configuration tells."""
    if data.reader == "table" and (data.text is None) != (data.features is None):
        return ("features",) if data.text is None else ("text",)
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


def is_set(section: Section, key: str) -> bool:
    """Whether a setting differs from its default."""
    field = type(section).model_fields[key]
    return getattr(section, key) != field.get_default(call_default_factory=True)


def _idle(config: Config, kind: str) -> Idle:
    yield from _data(config.data, kind)
    yield from _generalist(config, kind)
    yield from _specialists(config, kind)
    yield from _clusters_and_combination(config)
    yield from _student(config, kind)
    if config.evaluation.keep_rivals and not config.evaluation.trained_baselines:
        yield "evaluation.keep_rivals", "evaluation.baselines names none to be trained"


def _data(data: DataConfig, kind: str) -> Idle:
    read = READ_BY.get(data.reader, DataConfig.model_fields.keys()) | EVERYWHERE | set(SOURCES)
    for key in DataConfig.model_fields:
        if not is_set(data, key):
            continue
        if key not in read:
            readers = " or ".join(name for name, keys in READ_BY.items() if key in keys)
            yield (
                f"data.{key}",
                f"it is for data from {readers} only, and these are from {data.reader}",
            )
        elif key in KIND_ONLY and kind != KIND_ONLY[key]:
            yield f"data.{key}", f"it is for {KIND_ONLY[key]} only, and these data are {kind}"


def _generalist(config: Config, kind: str) -> Idle:
    settings = config.generalist
    if settings.factory is None:
        if settings.options:
            yield "generalist.options", "only a generalist.factory has options"
        if settings.model is not None and KIND_OF_MODEL[settings.model] != kind:
            wanted = DEFAULTS[kind]["generalist"]["model"]
            yield (
                "generalist.model",
                f"it is for {KIND_OF_MODEL[settings.model]}, and these data are {kind}: {wanted}",
            )
    else:
        for key in ("model", "width", "widths", "dropout", "head_rank"):
            if is_set(settings, key):
                yield f"generalist.{key}", "generalist.factory builds the network, see its options"
    yield from _table_of_ngrams(config, "generalist", kind)
    is_given = settings.predictions is not None or config.data.reader == "memory"
    if settings.inference_flops is not None and not is_given:
        yield "generalist.inference_flops", "a network's operations are counted"
    if settings.width is not None and settings.widths not in (None, (settings.width,)):
        yield "generalist.widths", "generalist.width fixes the width"
    if settings.predictions is not None:
        yield from _of_given_predictions(config)
    elif settings.weights is not None:
        yield from _of_given_weights(config, kind)
    elif settings.classes is not None:
        why = "only generalist.weights and generalist.predictions have outputs to be named"
        yield "generalist.classes", why


def _of_given_weights(config: Config, kind: str) -> Idle:
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


def _of_given_predictions(config: Config) -> Idle:
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
        "student.unlabelled": student.unlabelled is not None,
    }
    return [key for key, needs in needing.items() if needs]


def _specialists(config: Config, kind: str) -> Idle:
    settings, factory = config.specialists, config.generalist.factory
    if settings.width is not None and settings.widen is not None:
        yield "specialists.widen", "specialists.width fixes the width"
    if factory is not None:
        for key in ("width", "widen"):
            if getattr(settings, key) is not None and (key, settings.widen) != ("widen", 1):
                yield f"specialists.{key}", "a network of generalist.factory has one width"
        if settings.n_buckets is not None:
            yield "specialists.n_buckets", "a network of generalist.factory has tables of its own"
    yield from _table_of_ngrams(config, "specialists", kind)
    yield from _shared(config)
    freeze = DEFAULTS[kind]["specialists"]["freeze"] if settings.freeze is None else settings.freeze
    if "embedding" in freeze and factory is None and settings.embedding_learning_rate is not None:
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


def _student(config: Config, kind: str) -> Idle:
    settings = config.student
    if settings.width is not None and is_set(settings, "size"):
        yield "student.size", "student.width fixes the width"
    yield from _table_of_ngrams(config, "student", kind)
    if set(settings.alphas) == {1} and settings.label_smoothing is not None:
        yield "student.label_smoothing", "it is of labels, and student.alphas = [1.0]"
    if set(settings.alphas) == {0}:
        for key in ("temperatures", "teacher", "targets", "unlabelled"):
            if is_set(settings, key):
                yield f"student.{key}", "it is of soft targets, and student.alphas = [0.0]"
    if settings.targets == "dense" and is_set(settings, "n_targets"):
        yield "student.n_targets", "student.targets = dense stores every class"


def _table_of_ngrams(config: Config, name: str, kind: str) -> Idle:
    section, by_factory = getattr(config, name), config.generalist.factory is not None
    for key in TABLE_OF_NGRAMS:
        trains = key == "embedding_learning_rate" and by_factory and name != "student"
        if kind != "text" and not trains and getattr(section, key, None) is not None:
            yield f"{name}.{key}", f"only networks for text have a table of n-grams, not {kind}"
