"""Which settings and which folder does `specialists run` work with?"""

from __future__ import annotations

from pathlib import Path

from specialists.config import Config, find_config, shipped_configs
from specialists.errors import InputError
from specialists.runs import Run, Trust, check_trusted, describe_changes, write_text
from specialists.runs.trust import functions, record
from specialists.runtime import say

DEFAULT_CONFIG = "languages"
SOURCES = ("data.name", "data.table", "data.arrays", "data.images", "data.factory")


def source_and_folder(
    config: str | None, out: Path | None, overrides: list[str]
) -> tuple[str | Path | None, Path]:
    """Settings and run folder; with --out and no CONFIG a run keeps its own settings.

    Without either, data that ``--set`` names start from nothing but defaults (None), or from the
    config that ships with them.
    """
    if config is None and out is not None and Run(out).config_file.is_file():
        return Run(out).config_file, out
    if config is not None:
        return config, out or Path("runs", find_config(config).stem)
    key, name = _data_of(overrides)
    source = name if key == "data.name" and name in shipped_configs() else None
    return (source if key else DEFAULT_CONFIG), out or Path("runs", name or DEFAULT_CONFIG)


def check_functions(
    source: str | Path | None, overrides: list[str], settings: Config, trust_code: bool
) -> None:
    """Check that the user vouches for every function that the settings name.

    A CONFIG (a str) and ``--set`` come from the user. The config.toml of a run (a Path, see
    :func:`source_and_folder`) came with its folder, which may be a stranger's.

    Raises
    ------
    InputError
        If nobody vouches for a function; it is named.
    """
    if trust_code or not isinstance(source, Path):
        return
    given = {override.partition("=")[2].strip().strip("\"'") for override in overrides}
    for function, options in functions(settings).values():
        if options or function not in given:
            check_trusted(function, options, source)


def write_config(run: Run, settings: Config) -> None:
    """Write config.toml, and say what differs from the one that was there.

    The caller vouches for the functions that ``settings`` names, see :func:`check_functions`.
    """
    _replace_config(run, settings)
    run.trust |= Trust.from_config(settings)
    if functions(settings):
        record(run.folder)


def _replace_config(run: Run, settings: Config) -> None:
    if run.config_file.is_file():
        try:
            changes = describe_changes(
                run.config.model_dump(mode="json"), settings.model_dump(mode="json")
            )
        except InputError:
            changes = "the old one cannot be read"
        if not changes:
            return
        say(f"config.toml of this run is replaced: {changes}")
    write_text(run.config_file, settings.to_toml())
    run.reread_config()


def _data_of(overrides: list[str]) -> tuple[str, str]:
    """What ``--set`` names: its key, and the data set's, file's, folder's or function's name."""
    for override in reversed(overrides):
        key, _, value = override.partition("=")
        value = value.strip().strip("\"'")
        if key.strip() in SOURCES and value:
            if value.startswith("{"):  # a file for each array: named after the first
                value = value.partition("=")[2].partition(",")[0].strip(" \"'}")
            return key.strip(), Path(value.rpartition(":")[2]).name.partition(".")[0]
    return "", ""
