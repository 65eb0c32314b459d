"""Which settings and which folder does a run work with, and can they work?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from specialists.config import (
    Config,
    ConfigMistakesError,
    find_config,
    left_aside,
    shipped_configs,
)
from specialists.config.renamed import has_old_names
from specialists.config.toml import read_toml
from specialists.errors import ConfigError, DamagedError, InputError, listed
from specialists.feasibility import DataShape, check_settings
from specialists.files import (
    Trust,
    check_networks,
    check_trusted,
    describe_changes,
    read_json,
    write_text,
)
from specialists.files.trust import functions, record
from specialists.runtime import threads

from .runs import RUN, Run, kind_of
from .terminal import log
from .users_data import check_data_files, check_same_data

DEFAULT_CONFIG = "emoji"
RECORDED = {"defaults"}  # by the run, not set by the user
SOURCES = ("data.name", "data.table", "data.arrays", "data.images", "data.factory")


def named_folder(text: str) -> Path:
    """The folder of --out; an empty name would be that of the folder one is in."""
    if not text.strip():
        raise typer.BadParameter("the name of a folder is empty")
    return Path(text)


def source_and_folder(
    config: str | None, out: Path | None, overrides: list[str], command: str = "run"
) -> tuple[str | Path | None, Path]:
    """Settings and run folder; with --out and no CONFIG a run keeps its own settings.

    ``command`` is the one that takes a CONFIG, for messages.
    Without either, data that ``--set`` names start from nothing but defaults (None), or from the
    config that ships with them.
    """
    if config is None and out is not None and kind_of(out) == RUN:
        return Run(out).config_file, out
    if config is not None:
        return config, out or _default_folder(*_config_of(config, command))
    key, name = data_of(overrides)
    if key == "name" and name in shipped_configs():
        return name, out or Path("runs", name)
    if not key:
        return DEFAULT_CONFIG, out or Path("runs", DEFAULT_CONFIG)
    return None, out or _default_folder(name, key)


def read_settings(source: str | Path | None, overrides: list[str], trust_code: bool) -> Config:
    """The settings, checked before any work.

    A CONFIG (a str) and ``--set`` come from the user, who vouches for the functions that they name.
    The config.toml of a run (a Path, see :func:`source_and_folder`) came with its folder, which may
    be a stranger's.

    Raises
    ------
    InputError
        If nobody vouches for a function, or the settings cannot work
        (:func:`specialists.feasibility.check_settings`).
    """
    settings = Config.from_toml(source, overrides)
    if isinstance(source, Path) and not trust_code:
        given = {override.partition("=")[2].strip().strip("\"'") for override in overrides}
        for function, options in functions(settings).values():
            if options or function not in given:
                check_trusted(function, options, source)
    check_settings(settings)
    if aside := left_aside(settings):
        log.info(f"not used, since specialists.kind is shared: {', '.join(aside)}")
    return settings


def check_run(run: Run, unlabelled: bool = True) -> None:
    """Check a run's configuration against its prepared data.

    ``unlabelled`` says whether ``student.unlabelled`` is still to be read.

    Raises
    ------
    ConfigError
        With every mistake, one a line.
    InputError
        If nobody vouches for a function that builds a network.
        Or if ``clusters.file``, where it still lies, holds no clusters of the data's classes.
    DataError
        If ``student.unlabelled`` cannot be read as the training data were.
    """
    check_networks(run.config, run.config_file)
    about = read_json(run.path("prepare-data", "dataset.json"))
    kind, rows, shape = about["kind"], about["rows"], ()
    if kind != "text":
        from specialists.datasets.origins import input_shape

        shape = input_shape(run.path("prepare-data"), "train")[1:]
    n_classes = len(about["class_names"])
    check_settings(run.config, DataShape(kind, n_classes, rows["train"], rows["test"], shape))
    check_left_out(run.config.student.leave_out or (), about["class_names"])
    own = run.config.clusters.file
    if own is not None and Path(own).exists():
        from .own_clusters_file import read_clusters

        read_clusters(Path(own), about["class_names"])
    more = run.config.student.unlabelled
    if unlabelled and more is not None:
        from specialists.datasets import read_unlabelled

        read_unlabelled(more, about["preprocessing"])


def check_left_out(names: Sequence[str], classes: Sequence[str]) -> None:
    """Raise a ConfigError unless ``student.leave_out`` names some of the classes, and not all."""
    unknown = [name for name in names if name not in classes]
    if unknown or len(names) == len(classes):
        raise ConfigError(
            "students cannot do without these classes",
            where="student.leave_out",
            got=f"{listed(unknown)}, which the data do not have" if unknown else "all classes",
            expected="names of some classes of the data",
        )


@contextmanager
def configured(
    folder: Path, settings: Config, jobs: int | None, forced: Collection[str] | None = None
) -> Iterator[Run]:
    """A run with these settings, that this process alone works on.

    Raises
    ------
    InputError
        Before anything is written, if the data are not there, the run's results are of other data
        and ``forced``, the stages of ``--force``, does not say that they may go, or the clusters
        are more than the classes.
    """
    run = Run(folder, jobs)
    check_replaced(run, settings, forced)
    with run.lock():
        write_config(run, settings)
        if settings.threads:
            threads(settings.threads)
        yield run


def check_replaced(run: Run, settings: Config, forced: Collection[str] | None) -> None:
    """See :func:`configured`."""
    try:
        before = run.config.data if run.config_file.is_file() else None
    except InputError:  # the old settings cannot be read
        before = None
    if before != settings.data:  # a finished run does without its data
        check_data_files(settings.data)
    check_same_data(run, settings.data, forced)
    if before != settings.data:
        return
    about = run.path("prepare-data", "dataset.json")
    try:
        n_classes = len(read_json(about)["class_names"]) if about.is_file() else None
    except DamagedError:  # the stage makes it again
        n_classes = None
    if n_classes is None:
        return
    from specialists.feasibility.cluster_numbers import impossible_clusters

    if mistakes := list(impossible_clusters(settings.clusters, n_classes)):
        raise ConfigMistakesError(mistakes, "the configuration")


def write_config(run: Run, settings: Config) -> None:
    """Write config.toml, and say what differs from the one that was there.

    The caller vouches for the functions that ``settings`` names, see :func:`read_settings`.
    """
    changes = _changes(run, settings)
    if changes:
        log.info(f"config.toml of this run is replaced: {changes}")
    if changes != "" or has_old_names(read_toml(run.config_file)):
        write_text(run.config_file, settings.to_toml())
        run.reread_config()
    run.trust |= Trust.from_config(settings)
    if functions(settings):
        record(run.folder)


def _changes(run: Run, settings: Config) -> str | None:
    """What differs from the settings that the run has; None if it has none."""
    if not run.config_file.is_file():
        return None
    try:
        old = run.config.model_dump(mode="json", exclude=RECORDED)
    except InputError:
        return "the old one cannot be read"
    return describe_changes(old, settings.model_dump(mode="json", exclude=RECORDED))


def data_of(overrides: list[str]) -> tuple[str, str]:
    """What ``--set`` names: name, table ..., and the data set's, file's ... or function's name."""
    for override in reversed(overrides):
        key, _, value = override.partition("=")
        value = value.strip().strip("\"'")
        if key.strip() in SOURCES and value:
            if value.startswith("{"):  # a file for each array: named after the first
                value = value.partition("=")[2].partition(",")[0].strip(" \"'}")
            path = Path(value.rpartition(":")[2])
            if path.name in ("", ".."):
                path = path.resolve()
            return key.strip().removeprefix("data."), path.name.strip(".").partition(".")[0]
    return "", ""


def _config_of(config: str, command: str) -> tuple[str, str]:
    """The name of a configuration, and "config" if it is a file of the user's."""
    file = find_config(config, command)
    own = shipped_configs().get(file.stem, file).resolve() != file.resolve()
    return file.stem.strip("."), "config" if own else ""


def _default_folder(name: str, kind: str) -> Path:
    """``runs/NAME``; what is not a shipped configuration does not take the folder of one."""
    name = name or kind or "run"
    if kind and name in shipped_configs():
        folder = Path("runs", f"{name}-{kind}")
        whose = f"that of the shipped configuration {name}"
        log.info(f"run folder: {folder}, since runs/{name} is {whose}")
        return folder
    return Path("runs", name)
