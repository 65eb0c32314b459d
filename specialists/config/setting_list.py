"""Every setting with its default for each kind of input, its unit and its meaning."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from specialists.config.configuration import Config
from specialists.config.defaults import DEFAULTS, KINDS
from specialists.config.fields import Section
from specialists.config.student import TuningConfig
from specialists.config.toml import toml_value
from specialists.errors import ConfigError

UNITS = {
    "passes over the data": ("epochs", "shared_epochs"),
    "epochs": ("patience",),
    "examples": ("batch_size", "n_examples"),
    "rows": ("min_examples", "max_examples"),
    "per step": ("learning_rate", "embedding_learning_rate"),
    "times the learning rate, per step": ("weight_decay",),
    "hidden units or channels": ("width", "widths"),
    "layers or blocks": ("depth",),
    "numbers": ("embedding_dim",),
    "dimensions": ("head_rank", "adapter_rank"),
    "blocks": ("adapter_blocks",),
    "tokens": ("max_tokens",),
    "rows of the table": ("n_buckets",),
    "classes": ("overlap", "n", "shortlist"),
    "clusters": ("n_clusters", "coverage"),
    "networks": ("n_shared", "n_taught"),
    "students": ("candidates",),
    "times as many, and as long": ("eta",),
    "rungs": ("rungs",),
    "times the mean size": ("max_ratio",),
    "times the generalist's width": ("widen",),
    "times the generalist's parameters": ("size",),
    "times the generalist's FLOPs": ("max_cost",),
    "FLOPs": ("inference_flops",),
    "times the generalist's weight": ("combination.weights",),
    "of the rows": (
        *("validation_fraction", "test_fraction", "admission_fraction"),
        *("deferral", "whole_heads", "labelled_share"),
    ),
    "of the steps": ("warmup",),
    "of the examples": ("subset_share",),
    "of the loss": ("soft_targets", "alphas"),
    "of the probability": ("label_smoothing",),
    "of the features": ("dropout",),
    "gradient norm": ("clip",),
    "logits are divided by it": ("temperature", "temperatures"),
    "classes a row": ("n_targets",),
    "of each input": ("views",),
    "resamples": ("n_bootstrap",),
    "characters": ("char_ngrams",),
    "words": ("word_ngrams",),
    "pixels": ("image_size",),
    "threads": ("threads",),
    "trainings": ("jobs",),
}
PYTHON = re.compile(r"\b(None|True|False)(?=:\s)")
WORDS = {"None": "Not set", "True": "true", "False": "false"}
BY_KIND = re.compile(r"\s*Not set: by kind of\s+input(?:\.|;\s*(\w))")
UNSET = "not set"  # as a listing calls Python's None
WIDTH = 92
SECTIONS = tuple(
    name
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
)


@dataclass(frozen=True)
class Setting:
    """One key of a configuration.

    Parameters
    ----------
    key : str
        As ``--set`` takes it, for instance "clusters.overlap".
    default : object
        Where it is the same for all kinds of input.
    by_kind : dict
        Otherwise the default of each kind, JSON-able.
    unit : str
        "" for what is not measured.
    meaning : str
    """

    key: str
    default: object
    by_kind: dict[str, object]
    unit: str
    meaning: str

    def to_dict(self) -> dict[str, object]:
        """For JSON: ``default`` is an object with the three kinds where these differ."""
        default = self.by_kind or self.default
        return {"key": self.key, "default": default, "unit": self.unit, "meaning": self.meaning}

    def lines(self) -> Iterator[str]:
        """For people: key, default and unit, then the meaning."""
        if self.by_kind:
            default = ", ".join(f"{kind} {_shown(value)}" for kind, value in self.by_kind.items())
        else:
            default = _shown(self.default)
        yield f"{self.key} = {default}{f'  [{self.unit}]' if self.unit else ''}"
        yield from textwrap.wrap(
            self.meaning, WIDTH, initial_indent="    ", subsequent_indent="    "
        )


def list_settings(section: str | None = None) -> list[Setting]:
    """Every setting, or those of a section, "run" for those of none, in the order of the code.

    Raises a ConfigError if there is no such section; it names the nearest.
    """
    found: dict[str, list[Setting]] = {"run": []}
    defaults = Config()
    for name, field in Config.model_fields.items():
        value = getattr(defaults, name)
        if isinstance(value, Section):
            found[name] = list(_of_section(name, value))
        else:
            found["run"].append(_setting(name, value, {}, _meaning(field)))
    if section is None:
        return [setting for settings in found.values() for setting in settings]
    if section not in found:
        near = difflib.get_close_matches(section, found, n=1)
        raise ConfigError(
            "no such section",
            got=section,
            expected=", ".join(found),
            fix=f"did you mean `specialists settings {near[0]}`?" if near else None,
        )
    return found[section]


def _shown(value: object) -> str:
    return UNSET if value is None else toml_value(value)


def _of_section(name: str, section: Section) -> Iterator[Setting]:
    defaults = section if name != "data" else section.model_copy(update={"name": None})
    for key, field in type(section).model_fields.items():
        by_kind: dict[str, object] = {kind: DEFAULTS[kind].get(name, {}).get(key) for kind in KINDS}
        if not any(value is not None for value in by_kind.values()):
            by_kind = {}
        yield _setting(f"{name}.{key}", getattr(defaults, key), by_kind, _meaning(field))
        if key == "tuning":
            yield from _of_section(f"{name}.{key}", TuningConfig())


def _setting(key: str, default: object, by_kind: dict[str, object], meaning: str) -> Setting:
    last = key.rpartition(".")[2]
    unit = next((unit for unit, keys in UNITS.items() if {key, last} & set(keys)), "")
    if by_kind:  # which stands there already
        meaning = BY_KIND.sub(lambda found: f" {(found[1] or '').upper()}", meaning)
    return Setting(key, default, by_kind, unit, " ".join(meaning.split()))


def _meaning(field: FieldInfo) -> str:
    """What a field means, in the words of TOML, and its choices where they are not all told."""
    told = PYTHON.sub(lambda found: WORDS[found[1]], field.description or "")
    some, choices = _choices(field.annotation)
    if all(choice in told for choice in choices):
        return told
    return f"{told} {'Some' if some else 'One'} of {', '.join(choices)}."


def _choices(annotation: Any) -> tuple[bool, tuple[str, ...]]:
    """Whether several words may be given, and among which; () where other values may be, too."""
    wanted = [annotation]
    if get_origin(annotation) in (Union, UnionType):
        wanted = [part for part in get_args(annotation) if part is not type(None)]
    if len(wanted) > 1:
        return False, ()
    (only,) = wanted
    if get_origin(only) is Annotated:
        only = get_args(only)[0]
    some = get_origin(only) is tuple
    only = get_args(only)[0] if some else only
    return some, get_args(only) if get_origin(only) is Literal else ()
