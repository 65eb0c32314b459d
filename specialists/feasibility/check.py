"""Which settings cannot work? Each is one line of one message.

A configuration can be checked alone, as soon as it is read, and again together with the shape of
its prepared data.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path

from specialists.config import Config, ConfigMistakesError, possible_kinds, without_effect
from specialists.errors import ConfigError, InputError
from specialists.feasibility.shape import DataShape
from specialists.runtime import most_at_once, n_cores, pick_device


def check_settings(config: Config, data: DataShape | None = None) -> None:
    """Check what can be known before anything is trained.

    Parameters
    ----------
    config : Config
        As it was given, not resolved.
    data : DataShape, optional
        Of the prepared data; None while they are not prepared.

    Raises
    ------
    ConfigError
        With every mistake, one a line.
    """
    kinds = possible_kinds(config.data) if data is None else (data.kind,)
    idle = without_effect(config, kinds)
    mistakes = [*_machine(config), *(_useless(config, *setting) for setting in idle.items())]
    if data is None:
        mistakes += [*_missing_files(config), *_missing_libraries(config), *_folders(config)]
        mistakes += _coverage(config)
    terms = _terms(config)
    if len(kinds) == 1:
        mistakes += _with_defaults(config, kinds[0], None if idle or terms else data)
    mistakes += terms
    if mistakes:
        raise ConfigMistakesError(mistakes, "the configuration")


def _with_defaults(config: Config, kind: str, data: DataShape | None) -> list[str]:
    try:
        resolved = config.resolve(kind)
    except ConfigMistakesError as error:
        return error.lines
    if data is None:
        return []
    from specialists.feasibility.plan import impossible

    return list(impossible(resolved, data))


def _coverage(config: Config) -> list[str]:
    if config.clusters.coverage == 1 or config.clusters.file is not None:
        return []
    from specialists.feasibility.cluster_numbers import impossible_coverage

    return list(impossible_coverage(config.clusters))


def _terms(config: Config) -> list[str]:
    if not config.student.terms and config.student.scheme == "offline":
        return []
    from specialists.feasibility.objectives import impossible_objectives

    return list(impossible_objectives(config))


def _machine(config: Config) -> Iterator[str]:
    for name, value in (("threads", config.threads), ("jobs", config.jobs)):
        if value > (most := most_at_once()):
            yield f"{name} = {value}: at most {most}, since this machine has {n_cores()} cores"
    if config.device not in ("auto", "cpu"):
        try:
            pick_device(config.device)
        except ConfigError as error:
            yield error.in_a_line


def _missing_files(config: Config) -> Iterator[str]:
    users = ("weights", "predictions", "classes")
    for name in (*(f"generalist.{key}" for key in users), "clusters.file", "student.unlabelled"):
        path = attrgetter(name)(config)
        if isinstance(path, str) and not Path(path).exists():
            yield f"{name} = {path}: no such file"
    weights = config.generalist.weights
    if weights is not None and Path(weights).is_dir():
        from specialists.networks.foreign import INDICES, WHOLE_FILES, holds_weights

        if not holds_weights(Path(weights)):  # else everything in it would be hashed first
            known = ", ".join((*WHOLE_FILES, *INDICES))
            yield f"generalist.weights = {weights}: a folder without weights, which are in {known}"


def _missing_libraries(config: Config) -> Iterator[str]:
    """Libraries of extras that the settings need; they are not imported."""
    reads_tokens = config.as_trained().data.tokenizer is not None
    needed = [("transformers", "hf", "a transformer's folder")] if reads_tokens else []
    if config.specialists.adapter is not None:
        needed.append(("peft", "peft", "specialists.adapter"))
    for library, extra, what in needed:
        if find_spec(library) is None:
            install = f"pip install 'specialist-distillation[{extra}]'"
            yield f"{what} needs {library}, which is not installed: {install}"


def _folders(config: Config) -> Iterator[str]:
    """What is wrong with folders of transformers and tokenizers."""
    tokenizer = config.as_trained().data.tokenizer
    if tokenizer is None:
        return
    from specialists.datasets.tokens import check_tokenizer_folder
    from specialists.networks import check_pretrained

    try:
        for name in ("generalist", "student"):
            folder = getattr(config, name).pretrained
            if folder is not None:
                check_pretrained(Path(folder), f"{name}.pretrained")
        check_tokenizer_folder(Path(tokenizer))
    except InputError as error:
        yield error.in_a_line


def _useless(config: Config, key: str, why: str) -> str:
    value = attrgetter(key)(config)
    return f"{key} = {list(value) if isinstance(value, tuple) else value!r} is of no use: {why}"
